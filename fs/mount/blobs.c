/* /blobs/sha256: the directory and its lookups. Open blobs are blob_io.c's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "mount/blob_dir.h"
#include "mount/private.h"
#include "mount/remote.h"
#include "store/blob.h"

#define PENDING_TTL 1.0 /* seconds: how much of it is here changes */

static void entry_of(struct mount *m, uint32_t node, const struct stat *st, bool pending,
		     struct fuse_entry_param *e)
{
	*e = (struct fuse_entry_param){
		.ino = INO_KIND_BLOB | node,
		.generation = 1,
		.attr = *st,
		.attr_timeout = pending ? PENDING_TTL : m->blob_ttl,
		.entry_timeout = pending ? PENDING_TTL : m->blob_ttl,
	};
}

static void complete_attr(const struct digest *d, struct stat *st)
{
	st->st_ino = digest_ino(d);
	st->st_mode = S_IFREG | 0444;
	st->st_nlink = 1;
}

static void pending_attr(const struct mount *m, const struct digest *d,
			 const struct blob_info *info, struct stat *st)
{
	*st = (struct stat){
		.st_size = (off_t)info->size,
		.st_blocks = (blkcnt_t)((info->local + 511) / 512),
		.st_blksize = 4096,
		.st_uid = m->root.st_uid,
		.st_gid = m->root.st_gid,
		.st_mtim = m->root.st_mtim,
		.st_atim = m->root.st_mtim,
		.st_ctim = m->root.st_mtim,
	};
	complete_attr(d, st);
}

/* What is known without asking anybody: 0 and *ret_pending, or -ENOENT. */
static int local_attr(struct mount *m, const struct digest *d, struct stat *st, bool *ret_pending)
{
	struct blob_info info = {0};
	int r = blob_stat(m->store, d, st);

	if (r == 0) {
		complete_attr(d, st);
		*ret_pending = false;
		return 0;
	}
	if (r != -ENOENT || m->source == NULL)
		return r;
	r = m->source->ops->describe(m->source, d, &info);
	if (r < 0)
		return r;
	pending_attr(m, d, &info, st);
	*ret_pending = true;
	return 0;
}

static void reply_entry(fuse_req_t req, const struct digest *d, const struct stat *st, bool pending)
{
	struct mount *m = mount_of(req);
	uint32_t node = blob_table_ref(m->blobs, d, pending);
	struct fuse_entry_param e;

	if (node == 0) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	entry_of(m, node, st, pending, &e);
	if (fuse_reply_entry(req, &e) < 0)
		blob_table_forget(m->blobs, node, 1); /* interrupted: the kernel has not counted */
}

static void answer_lookup(struct remote *r)
{
	bool pending = true;
	struct stat st;

	if (r->result < 0) {
		log_debug("lookup", "%s: %s", digest_text(&r->digest).s,
			  err_text(&r->why, r->result));
		fuse_reply_err(r->req, errno_for_kernel(r->result));
		return;
	}
	if (blob_stat(r->m->store, &r->digest, &st) == 0) {
		complete_attr(&r->digest, &st); /* it came while we asked */
		pending = false;
	} else {
		pending_attr(r->m, &r->digest, &r->wait.info, &st);
	}
	reply_entry(r->req, &r->digest, &st, pending);
}

static void start_remote_lookup(fuse_req_t req, const struct digest *d)
{
	struct remote *r = calloc(1, sizeof(*r));

	if (r == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	remote_init(r, req, d, answer_lookup);
	atomic_fetch_add(&r->m->n.lookups_remote, 1);
	remote_ask(r, 0, 0);
}

void blobs_lookup(fuse_req_t req, const char *name)
{
	struct mount *m = mount_of(req);
	struct digest d;
	struct stat st;
	bool pending;
	int r;

	if (digest_parse_hex(name, &d) < 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	r = local_attr(m, &d, &st, &pending);
	if (r == 0)
		reply_entry(req, &d, &st, pending);
	else if (r == -ENOENT && m->source != NULL)
		start_remote_lookup(req, &d);
	else
		fuse_reply_err(req, errno_for_kernel(r));
}

/*
 * Of a spoilt node: with an open file it is a read(2) that wants to know the size, and hears what
 * any read of it does; without one it is a path, which ESTALE makes the kernel look up again.
 */
void blob_getattr(fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct digest d;
	struct stat st;
	bool pending;
	int r = fi != NULL ? -EBADMSG : -ESTALE;

	if (blob_table_get(m->blobs, (uint32_t)ino, &d, &pending))
		r = local_attr(m, &d, &st, &pending);
	if (r < 0)
		fuse_reply_err(req, errno_for_kernel(r));
	else
		fuse_reply_attr(req, &st, pending ? PENDING_TTL : m->blob_ttl);
}

/*
 * An open directory. Offsets are entry numbers: 0 ".", 1 "..", then what is on disk, then
 * what is known but not here.
 */
struct listing {
	struct blob_dir *dir;
	struct pending_row {
		struct digest digest;
		struct blob_info info;
	} * pending;
	size_t n_pending, cap_pending;
};

static struct listing *listing_free(struct listing *l)
{
	if (l == NULL)
		return NULL;
	(void)blob_dir_free(l->dir);
	free(l->pending);
	free(l);
	return NULL;
}
CLEANUP_DEFINE(struct listing *, listing_free);

static int add_pending(void *arg, const struct digest *d, const struct blob_info *info)
{
	struct listing *l = arg;

	if (l->n_pending == l->cap_pending) {
		size_t cap = l->cap_pending > 0 ? l->cap_pending * 2 : 64;
		struct pending_row *rows = realloc(l->pending, cap * sizeof(*rows));

		if (rows == NULL)
			return -ENOMEM;
		l->pending = rows;
		l->cap_pending = cap;
	}
	l->pending[l->n_pending++] = (struct pending_row){.digest = *d, .info = *info};
	return 0;
}

void blobs_opendir(fuse_req_t req, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	cleanup(listing_freep) struct listing *l = calloc(1, sizeof(*l));
	int r = l == NULL ? -ENOMEM : blob_dir_new(m->store, m->work, &l->dir);

	if (r == 0 && m->source != NULL)
		r = m->source->ops->known(m->source, add_pending, l);
	if (r < 0) {
		fuse_reply_err(req, errno_for_kernel(r));
		return;
	}
	fi->fh = (uintptr_t)l;
	if (fuse_reply_open(req, fi) == 0)
		(void)steal_ptr(l);
}

void blobs_releasedir(fuse_req_t req, struct fuse_file_info *fi)
{
	(void)listing_free((struct listing *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}

struct reply {
	fuse_req_t req;
	char *buf;
	size_t used, size;
	bool plus, full;
};

/* Add one entry; sets full when it does not fit. st NULL: a dot, which is never looked up. */
static void add_entry(struct mount *m, struct reply *out, const char *name, const struct digest *d,
		      const struct stat *st, bool pending, uint64_t next)
{
	struct fuse_entry_param e = {.attr = {.st_ino = INO_SHA256, .st_mode = S_IFDIR}};
	uint32_t node = 0;
	size_t n;

	if (d == NULL || !out->plus) {
		if (d != NULL) {
			e.attr.st_ino = digest_ino(d);
			e.attr.st_mode = S_IFREG;
		}
		n = out->plus
			    ? fuse_add_direntry_plus(out->req, out->buf + out->used,
						     out->size - out->used, name, &e, (off_t)next)
			    : fuse_add_direntry(out->req, out->buf + out->used,
						out->size - out->used, name, &e.attr, (off_t)next);
	} else {
		node = blob_table_ref(m->blobs, d, pending); /* 0: an entry without a lookup */
		entry_of(m, node, st, pending, &e);
		if (node == 0)
			e.ino = 0;
		n = fuse_add_direntry_plus(out->req, out->buf + out->used, out->size - out->used,
					   name, &e, (off_t)next);
	}
	if (n > out->size - out->used) {
		out->full = true;
		if (node != 0)
			blob_table_forget(m->blobs, node, 1);
		return;
	}
	out->used += n;
}

static void add_row(struct mount *m, const struct blob_dir_row *row, struct reply *out,
		    uint64_t next)
{
	char name[DIGEST_HEX_LEN + 1];
	struct stat st = row->st;

	if (row->gone)
		return;
	complete_attr(&row->digest, &st);
	digest_hex(&row->digest, name);
	add_entry(m, out, name, &row->digest, &st, false, next);
}

static void add_pending_row(struct mount *m, const struct pending_row *row, struct reply *out,
			    uint64_t next)
{
	char name[DIGEST_HEX_LEN + 1];
	struct stat st;

	pending_attr(m, &row->digest, &row->info, &st);
	digest_hex(&row->digest, name);
	add_entry(m, out, name, &row->digest, &st, true, next);
}

void blobs_readdir(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi, bool plus)
{
	struct mount *m = mount_of(req);
	struct listing *l = (struct listing *)(uintptr_t)fi->fh;
	struct reply out = {.req = req, .size = size, .plus = plus, .buf = malloc(size)};

	if (out.buf == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	for (uint64_t at = (uint64_t)off; !out.full; at++) {
		const struct blob_dir_row *row;
		uint64_t rows = 0;

		if (at < 2) {
			add_entry(m, &out, at == 0 ? "." : "..", NULL, NULL, false, at + 1);
			continue;
		}
		row = blob_dir_row(l->dir, at - 2, plus, &rows);
		if (row != NULL)
			add_row(m, row, &out, at + 1);
		else if (at - 2 - rows < l->n_pending)
			add_pending_row(m, &l->pending[at - 2 - rows], &out, at + 1);
		else
			break;
	}
	fuse_reply_buf(req, out.buf, out.used);
	free(out.buf);
}

/*
 * Not a job: the kernel holds the directory's lock until we answer, and jobs that have committed a
 * blob wait for that lock in invalidate(). All of them at once would leave none to answer. One of
 * the threads that read requests is held up at most, for the same lock lets one unlink through.
 */
void blobs_unlink(fuse_req_t req, const char *name)
{
	struct mount *m = mount_of(req);
	struct blob_info info;
	struct digest d;
	int r;

	if (digest_parse_hex(name, &d) < 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	r = blob_delete(m->store, &d);
	if (r == -ENOENT && m->source != NULL &&
	    m->source->ops->describe(m->source, &d, &info) == 0)
		r = -EPERM; /* it is not here: there is nothing to remove */
	fuse_reply_err(req, errno_for_kernel(r));
}

static void invalidate(struct mount *m, const struct digest *d)
{
	char name[DIGEST_HEX_LEN + 1];

	digest_hex(d, name);
	(void)fuse_lowlevel_notify_inval_entry(m->session, INO_SHA256, name, DIGEST_HEX_LEN);
}

void blobs_appeared(struct mount *m, const struct digest *d)
{
	if (blob_table_has(m->blobs, d, true))
		invalidate(m, d); /* the next lookup finds the complete node */
	if (m->grows != NULL)
		m->grows(m->grows_arg);
}

void blobs_committed(struct mount *m, const struct digest *d)
{
	if (m->source != NULL)
		m->source->ops->committed(m->source, d);
}

/* The kernel is told by a job: it may wait for pages whose reads wait for the source. */
struct spoilt {
	struct work work;
	struct mount *m;
	struct digest digest;
	uint32_t node;
};

static void spoilt_job(struct work *w)
{
	struct spoilt *s = list_entry(w, struct spoilt, work);

	(void)fuse_lowlevel_notify_inval_inode(s->m->session, INO_KIND_BLOB | s->node, 0, 0);
	invalidate(s->m, &s->digest);
	free(s);
}

/*
 * From here on who has the node open reads nothing but errors from us, and who looks the digest
 * up gets another node, with no page of this one. What the kernel has kept of its pages goes too.
 */
void blobs_spoilt(struct blob_listener *l, const struct digest *d)
{
	struct mount *m = list_entry(l, struct mount, listener);
	uint32_t node = blob_table_spoil(m->blobs, d);
	struct spoilt *s = node != 0 ? calloc(1, sizeof(*s)) : NULL;

	if (s == NULL)
		return;
	s->work.run = spoilt_job;
	s->m = m;
	s->digest = *d;
	s->node = node;
	workqueue_add(m->work, &s->work);
}

void blobs_gone(struct mount *m, const struct digest *d)
{
	if (blob_table_has(m->blobs, d, false))
		invalidate(m, d);
}
