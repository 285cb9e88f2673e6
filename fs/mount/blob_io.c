/* Open blobs: passthrough or cached reads of complete ones, reads that wait for the others. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "mount/private.h"
#include "mount/remote.h"
#include "mount/reply_buf.h"
#include "store/blob.h"

struct blob_handle {
	struct digest digest;
	uint32_t node;
	bool pending;
	bool passthrough;
	uint64_t opened_ns;
	atomic_int fd; /* of the complete blob; -1 until it is complete */
};

static struct blob_handle *handle_of(const struct fuse_file_info *fi)
{
	return (struct blob_handle *)(uintptr_t)fi->fh;
}

static void free_handle(struct blob_handle *h)
{
	if (h == NULL)
		return;
	if (atomic_load(&h->fd) >= 0)
		(void)close(atomic_load(&h->fd));
	free(h);
}

/* The date of a use, written on a thread of ours: a journal may be busy. */
struct use {
	struct work work;
	struct mount *m;
	struct digest digest;
};

static void write_use(struct work *w)
{
	struct use *u = list_entry(w, struct use, work);

	blob_used(u->m->store, &u->digest);
	free(u);
}

static void note_use(struct mount *m, const struct digest *d, int fd)
{
	struct stat st;
	struct use *u;

	if (m->read_only || fstat(fd, &st) < 0 || blob_used_lately(&st))
		return;
	u = malloc(sizeof(*u));
	if (u == NULL)
		return;
	*u = (struct use){.work.run = write_use, .m = m, .digest = *d};
	workqueue_add(m->work, &u->work);
}

/* The store is about to grow. */
static void note_remote_read(struct mount *m)
{
	atomic_fetch_add(&m->n.remote_reads, 1);
	if (m->grows != NULL)
		m->grows(m->grows_arg);
}

static void reply_passthrough(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, int id)
{
	struct mount *m = mount_of(req);
	struct blob_handle *h = handle_of(fi);

	h->passthrough = true;
	atomic_fetch_add(&m->n.opens_passthrough, 1);
	if (passthrough_reply_open(m->passthrough, req, fi, id) == 0)
		return;
	passthrough_close(m->passthrough, ino);
	free_handle(h);
}

static void reply_cached(fuse_req_t req, struct fuse_file_info *fi)
{
	atomic_fetch_add(&mount_of(req)->n.opens_cached, 1);
	if (fuse_reply_open(req, fi) != 0)
		free_handle(handle_of(fi));
}

/* The whole blob is behind the handle's descriptor. */
static void reply_complete(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct blob_handle *h = handle_of(fi);
	int id = passthrough_open(m->passthrough, ino, atomic_load(&h->fd));

	if (id > 0) {
		reply_passthrough(req, ino, fi, id);
		return;
	}
	/* For want of something that another open may find: which must not be open the other way.
	 */
	if (id == -ENOMEM || id == -ENFILE || id == -EMFILE || id == -ENOSPC) {
		free_handle(h);
		fuse_reply_err(req, -id);
		return;
	}
	/* e.g. ELOOP: the store lies on a stacked file system */
	log_debug("blob", "%s: passthrough refused: %s", digest_text(&h->digest).s,
		  err_describe(-id));
	reply_cached(req, fi);
}

/*
 * Whether readers of a pending node may have been given wrong bytes: to be asked when the bytes
 * are there, since what spoils the node comes before any other bytes.
 */
static bool is_spoilt(struct mount *m, uint32_t node)
{
	struct digest d;
	bool pending;

	return !blob_table_get(m->blobs, node, &d, &pending);
}

/* An open that waits until the blob is here. */
struct remote_open {
	struct remote r; /* first: remote_ask() demands it */
	fuse_ino_t ino;
	struct fuse_file_info fi;
};

static void answer_open(struct remote *r)
{
	struct remote_open *q = (struct remote_open *)(void *)r;
	struct blob_handle *h = handle_of(&q->fi);
	int fd = r->result == 0 ? blob_reopen(r->wait.fd) : -1;

	if (r->result == 0 && fd < 0)
		r->result = err_errno(&r->why, -fd, "open data");
	atomic_store(&h->fd, fd >= 0 ? fd : -1);
	if (r->result < 0) {
		free_handle(h);
		remote_fail(r);
	} else if (is_spoilt(r->m, h->node)) {
		free_handle(h);
		fuse_reply_err(r->req, ESTALE); /* the kernel looks up what it is now */
	} else {
		note_use(r->m, &h->digest, fd);
		reply_complete(r->req, q->ino, &q->fi);
	}
}

static void start_remote_open(fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi)
{
	struct remote_open *q = calloc(1, sizeof(*q));

	if (q == NULL) {
		free_handle(handle_of(fi));
		fuse_reply_err(req, ENOMEM);
		return;
	}
	q->ino = ino;
	q->fi = *fi;
	remote_init(&q->r, req, &handle_of(fi)->digest, answer_open);
	note_remote_read(q->r.m);
	remote_ask(&q->r, 0, 1);
}

/*
 * Opens that have to wait for a blob, and then go by passthrough as those of complete ones do: when
 * no byte is to be had before the whole is there, nobody is served sooner by an open at once, only
 * slower, by the page cache of a node that has to stay cached.
 */
static bool opens_wait(struct mount *m)
{
	return m->source != NULL && m->source->whole_first && passthrough_enabled(m->passthrough);
}

/* Returns 0, -ENOMEM, or -ESTALE: a node that is no more. */
static int new_handle(struct mount *m, fuse_ino_t ino, struct blob_handle **ret)
{
	struct blob_handle *h = calloc(1, sizeof(*h));

	*ret = h;
	if (h == NULL)
		return -ENOMEM;
	h->node = (uint32_t)ino;
	h->opened_ns = clock_mono_ns();
	atomic_init(&h->fd, -1);
	return blob_table_get(m->blobs, h->node, &h->digest, &h->pending) ? 0 : -ESTALE;
}

void blob_open_file(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct blob_handle *h;
	bool waits;
	int fd;

	if ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC) != 0) {
		fuse_reply_err(req, EROFS); /* blobs are immutable, for root too */
		return;
	}
	fd = new_handle(m, ino, &h);
	if (fd == 0)
		fd = blob_open(m->store, &h->digest);
	if (fd < 0 && !(fd == -ENOENT && h->pending)) {
		free_handle(h);
		/* Removed or evicted after its lookup: the kernel looks it up again, and finds what
		 * there is now. */
		fuse_reply_err(req, fd == -ENOENT ? ESTALE : errno_for_kernel(fd));
		return;
	}
	if (fd >= 0)
		note_use(m, &h->digest, fd);
	atomic_store(&h->fd, fd >= 0 ? fd : -1);
	fi->fh = (uintptr_t)h;
	fi->keep_cache = 1; /* what was read once stays right: the name is its digest */
	fi->noflush = 1;    /* close() has nothing to say */
	/*
	 * Where opens do not wait a pending node is cached for as long as the kernel knows it, even
	 * when the blob has become complete: one inode must not be open both ways.
	 */
	waits = opens_wait(m);
	if (waits && fd < 0)
		start_remote_open(req, ino, fi);
	else if (passthrough_enabled(m->passthrough) && (!h->pending || waits))
		reply_complete(req, ino, fi);
	else
		reply_cached(req, fi);
}

void blob_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct blob_handle *h = handle_of(fi);
	int fd = atomic_load(&h->fd);

	if (h->passthrough)
		passthrough_close(m->passthrough, ino);
	if (fd >= 0)
		note_use(m, &h->digest, fd);
	free_handle(h);
	fuse_reply_err(req, 0);
}

static void reply_from(fuse_req_t req, int fd, size_t size, uint64_t off)
{
	void *bytes = reply_buf(size);
	ssize_t n = bytes != NULL ? fd_pread_full(fd, bytes, size, off) : -ENOMEM;

	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_buf(req, bytes, (size_t)n);
}

/* A read that waits for a source. */
struct remote_read {
	struct remote r; /* first: remote_ask() demands it */
	uint32_t node;
	size_t size;
	uint64_t off;
};

static void answer_read(struct remote *r)
{
	struct remote_read *q = (struct remote_read *)(void *)r;

	if (r->result == 0 && is_spoilt(r->m, q->node))
		r->result = err_set(&r->why, EBADMSG, "bytes that were read before were wrong");
	if (r->result == 0) {
		reply_from(r->req, r->wait.fd, q->size, q->off);
		return;
	}
	if (r->result != -EINTR)
		failed_reads_note(&r->m->failed_reads, q->node, q->off, q->size, r->result);
	remote_fail(r);
}

static void start_remote_read(fuse_req_t req, const struct blob_handle *h, size_t size,
			      uint64_t off)
{
	struct remote_read *q = calloc(1, sizeof(*q));

	if (q == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	q->node = h->node;
	q->size = size;
	q->off = off;
	remote_init(&q->r, req, &h->digest, answer_read);
	note_remote_read(q->r.m);
	remote_ask(&q->r, off, size);
}

static void read_remote(fuse_req_t req, const struct blob_handle *h, size_t size, uint64_t off)
{
	int r = failed_reads_find(&mount_of(req)->failed_reads, h->node, off, h->opened_ns);

	if (r < 0)
		fuse_reply_err(req, errno_for_kernel(r));
	else
		start_remote_read(req, h, size, off);
}

void blob_read_file(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct blob_handle *h = handle_of(fi);
	int fd = atomic_load(&h->fd), none = -1;

	if (fd < 0) {
		/* It may have become complete since it was opened, by whatever way. */
		fd = blob_open(m->store, &h->digest);
		if (fd >= 0 && !atomic_compare_exchange_strong(&h->fd, &none, fd)) {
			(void)close(fd);
			fd = none;
		}
	}
	if (size == 0)
		fuse_reply_buf(req, NULL, 0);
	else if (h->pending && is_spoilt(m, h->node))
		fuse_reply_err(req, EBADMSG);
	else if (fd >= 0)
		reply_from(req, fd, size, (uint64_t)off);
	else if (fd == -ENOENT && m->source != NULL)
		read_remote(req, h, size, (uint64_t)off);
	else
		fuse_reply_err(req, errno_for_kernel(fd));
}
