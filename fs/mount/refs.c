/* /ingest: names, directories, attributes. Open files are ref_io.c's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/hex.h"
#include "base/log.h"
#include "mount/ingest_file.h"
#include "mount/private.h"
#include "mount/ref_name.h"

#define PREFERRED_IO (1 << 20) /* cp writes in pieces of this size: one request each */
#define RELEASE_WAIT_MS 2000

static int prefix_of(struct mount *m, fuse_ino_t dir, struct ref_info *ret)
{
	if (dir == INO_INGEST) {
		ret->is_dir = true;
		ret->ref[0] = '\0';
		return 0;
	}
	if (!ref_tree_get(m->refs, (uint32_t)dir, ret))
		return -ESTALE;
	return ret->is_dir ? 0 : -ENOTDIR;
}

int refs_resolve(struct mount *m, fuse_ino_t parent, const char *name, struct ref_info *ret)
{
	size_t n;
	int r = prefix_of(m, parent, ret);

	if (r < 0)
		return r;
	n = strlen(ret->ref);
	if (n > INGEST_REF_MAX)
		return -ENAMETOOLONG;
	return ref_name_decode(name, ret->ref + n, INGEST_REF_MAX + 1 - n);
}

/* The same for a directory: its prefix ends in '/'. */
static int resolve_dir(struct mount *m, fuse_ino_t parent, const char *name, struct ref_info *ret)
{
	int r = refs_resolve(m, parent, name, ret);
	size_t n;

	if (r < 0)
		return r;
	n = strlen(ret->ref);
	if (n >= INGEST_REF_MAX)
		return -ENAMETOOLONG;
	if (ret->ref[n - 1] != '/') {
		ret->ref[n] = '/';
		ret->ref[n + 1] = '\0';
	}
	return 0;
}

/* A name of 64 hex digits may be the hash of a ref that is too long for a name. */
static int resolve_hash(struct mount *m, const char *name, struct ref_info *ret)
{
	cleanup_buf struct buf b;
	struct digest d;
	char path[DIGEST_HEX_LEN + 8];
	int r;

	buf_init(&b, INGEST_REF_MAX);
	if (digest_parse_hex(name, &d) < 0 || store_ingest_fd(m->store) < 0)
		return -ENOENT;
	(void)snprintf(path, sizeof(path), "%s/ref", name);
	r = fd_read_file(store_ingest_fd(m->store), path, &b);
	if (r < 0 || strlen(b.data) != b.len || !ref_name_is_hashed(b.data))
		return -ENOENT;
	memcpy(ret->ref, b.data, b.len + 1);
	return 0;
}

static struct timespec timespec_of(int64_t ns)
{
	return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

static int ref_attr(struct mount *m, const char *ref, struct stat *st)
{
	cleanup_free struct ingest_status *s = malloc(sizeof(*s));
	int r = s == NULL ? -ENOMEM : ingest_stat(m->store, ref, s);

	if (r < 0)
		return r;
	*st = (struct stat){
		.st_ino = ref_ino(m, ref),
		.st_mode = S_IFREG | 0600,
		.st_nlink = 1,
		.st_uid = m->root.st_uid,
		.st_gid = m->root.st_gid,
		.st_size = (off_t)s->size,
		.st_blocks = (blkcnt_t)(s->allocated / 512),
		.st_blksize = PREFERRED_IO,
		.st_mtim = timespec_of(s->updated_ns),
		.st_atim = timespec_of(s->updated_ns),
		.st_ctim = timespec_of(s->updated_ns),
	};
	return 0;
}

static void dir_attr(struct mount *m, const char *prefix, struct stat *st)
{
	(void)fixed_attr(m, INO_INGEST, st);
	st->st_ino = ref_ino(m, prefix);
}

/* Nothing below /ingest is believed for longer than a request: commits remove names. */
static int fill_entry(struct mount *m, const char *ref, bool is_dir, const struct stat *st,
		      struct fuse_entry_param *e)
{
	uint32_t id = ref_tree_ref(m->refs, ref, is_dir);

	if (id == 0)
		return -ENOMEM;
	*e = (struct fuse_entry_param){.ino = INO_KIND_REF | id, .generation = 1, .attr = *st};
	return 0;
}

int refs_entry(struct mount *m, const char *ref, struct fuse_entry_param *e)
{
	struct stat st;
	int r = ref_attr(m, ref, &st);

	return r < 0 ? r : fill_entry(m, ref, false, &st, e);
}

static void reply_entry(fuse_req_t req, int r, const struct fuse_entry_param *e)
{
	struct mount *m = mount_of(req);

	if (r < 0)
		fuse_reply_err(req, errno_for_kernel(r));
	else if (fuse_reply_entry(req, e) < 0)
		ref_tree_forget(m->refs, (uint32_t)e->ino, 1);
}

void refs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct mount *m = mount_of(req);
	struct fuse_entry_param e = {0};
	struct ref_info dir, ref;
	struct stat st;
	int r = resolve_dir(m, parent, name, &dir);

	if (r == 0 && ref_tree_is_dir(m->refs, dir.ref)) {
		dir_attr(m, dir.ref, &st);
		reply_entry(req, fill_entry(m, dir.ref, true, &st, &e), &e);
		return;
	}
	r = refs_resolve(m, parent, name, &ref);
	if (r == 0)
		r = refs_entry(m, ref.ref, &e);
	if (r == -ENOENT && resolve_hash(m, name, &ref) == 0)
		r = refs_entry(m, ref.ref, &e);
	reply_entry(req, r, &e);
}

void refs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct ref_info info;
	struct stat st;
	int r = 0;

	if (!ref_tree_get(m->refs, (uint32_t)ino, &info)) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	if (info.is_dir)
		dir_attr(m, info.ref, &st);
	else
		r = ref_attr(m, info.ref, &st);
	if (r == -ENOENT && fi != NULL) {
		/* fstat(2) of a file whose ref has been committed or removed meanwhile */
		dir_attr(m, info.ref, &st);
		st.st_mode = S_IFREG | 0600;
		st.st_nlink = 0;
		st.st_size = (off_t)ingest_file_size((void *)(uintptr_t)fi->fh);
		r = 0;
	}
	if (r < 0)
		fuse_reply_err(req, errno_for_kernel(r));
	else
		fuse_reply_attr(req, &st, 0);
}

/* Cut or extend a ref that nobody has open through this mount. */
static int truncate_ref(struct mount *m, const char *ref, uint64_t size)
{
	struct ingest *i = NULL;
	int r = ingest_open(m->store, ref, 0, &i, NULL);

	if (r == 0)
		r = ingest_truncate(i, size);
	(void)ingest_close(i);
	return r;
}

void refs_setattr(fuse_req_t req, fuse_ino_t ino, const struct stat *attr, int to_set,
		  struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct ref_info info;
	int r = 0;

	if (!ref_tree_get(m->refs, (uint32_t)ino, &info)) {
		fuse_reply_err(req, ESTALE);
		return;
	}
	/*
	 * cp -p and tar set owner, mode and times of what they write: accepted, and without effect,
	 * since a blob has none of its own.
	 */
	if ((to_set & FUSE_SET_ATTR_SIZE) != 0 && info.is_dir)
		r = -EISDIR;
	else if ((to_set & FUSE_SET_ATTR_SIZE) != 0 && fi != NULL)
		r = ingest_file_truncate((void *)(uintptr_t)fi->fh, (uint64_t)attr->st_size);
	else if ((to_set & FUSE_SET_ATTR_SIZE) != 0)
		r = truncate_ref(m, info.ref, (uint64_t)attr->st_size);
	if (r < 0)
		fuse_reply_err(req, errno_for_kernel(r));
	else
		refs_getattr(req, ino, fi);
}

void refs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct mount *m = mount_of(req);
	struct fuse_entry_param e = {0};
	struct ref_info dir;
	struct stat st;
	int r = resolve_dir(m, parent, name, &dir);

	if (r == 0)
		r = ref_tree_mkdir(m->refs, dir.ref);
	if (r == 0) {
		dir_attr(m, dir.ref, &st);
		r = fill_entry(m, dir.ref, true, &st, &e);
	}
	reply_entry(req, r, &e);
}

static int is_below(void *arg, const struct ingest_status *st)
{
	const char *prefix = arg;

	return strncmp(st->ref, prefix, strlen(prefix)) == 0 ? -ENOTEMPTY : 0;
}

static void rmdir_job(struct job *j)
{
	struct ref_info *dir = j->arg;
	int r = ingest_walk(j->m->store, is_below, dir->ref);

	if (r == 0)
		r = ref_tree_rmdir(j->m->refs, dir->ref);
	free(dir);
	fuse_reply_err(j->req, errno_for_kernel(r));
}

static void unlink_job(struct job *j)
{
	struct ref_info *info = j->arg;
	struct ingest_file *f = ref_tree_writer(j->m->refs, info->ref, ingest_file_ref);
	struct err err;
	int r = 0;

	/* The writer of ours, if any, is told by its next call; others' are not ours to end. */
	if (f != NULL && !ingest_file_wait_released(f, RELEASE_WAIT_MS)) {
		ingest_file_abort(f);
		ref_tree_clear_writer(j->m->refs, info->ref, f);
	} else {
		r = ingest_remove(j->m->store, info->ref, &err);
	}
	(void)ingest_file_unref(f);
	if (r < 0 && r != -ENOENT)
		log_err("ingest", "remove \"%s\": %s", info->ref, err_text(&err, r));
	free(info);
	fuse_reply_err(j->req, errno_for_kernel(r));
}

static void mknod_job(struct job *j)
{
	struct ref_info *info = j->arg;
	struct fuse_entry_param e = {0};
	struct ingest *i = NULL;
	int r = ingest_open(j->m->store, info->ref, INGEST_CREATE | INGEST_EXCL, &i, NULL);

	(void)ingest_close(i);
	if (r == 0)
		r = refs_entry(j->m, info->ref, &e);
	free(info);
	reply_entry(j->req, r, &e);
}

/* Start a job on the ref, or the directory, that name in parent is; the job frees its argument. */
static void start_named_job(fuse_req_t req, fuse_ino_t parent, const char *name, bool is_dir,
			    void (*run)(struct job *j))
{
	struct mount *m = mount_of(req);
	struct ref_info *info = malloc(sizeof(*info));
	int r = -ENOMEM;

	if (info != NULL)
		r = is_dir ? resolve_dir(m, parent, name, info)
			   : refs_resolve(m, parent, name, info);
	if (r == 0 && !is_dir) {
		struct stat st;

		/* A long ref's name is its hash. mknod is never asked for one that exists. */
		if (ref_attr(m, info->ref, &st) == -ENOENT)
			(void)resolve_hash(m, name, info);
	}
	if (r < 0) {
		free(info);
		fuse_reply_err(req, errno_for_kernel(r));
		return;
	}
	job_start(req, parent, NULL, run, info);
}

void refs_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	start_named_job(req, parent, name, true, rmdir_job);
}

void refs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	start_named_job(req, parent, name, false, unlink_job);
}

void refs_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	if (!S_ISREG(mode))
		fuse_reply_err(req, EPERM); /* an ingest is a file of bytes */
	else
		start_named_job(req, parent, name, false, mknod_job);
}

struct listing {
	struct mount *m;
	struct dir_list *list;
	const char *prefix;
};

static int list_dir(void *arg, const char *name)
{
	struct listing *l = arg;
	char encoded[REF_NAME_MAX + 1];

	ref_name_encode(name, encoded);
	return dir_list_add(l->list, encoded, 0, S_IFDIR);
}

static int list_ref(void *arg, const struct ingest_status *st)
{
	struct listing *l = arg;
	const char *rest = st->ref + strlen(l->prefix);
	char name[REF_NAME_MAX + 1];

	if (strncmp(st->ref, l->prefix, strlen(l->prefix)) != 0 ||
	    ref_tree_is_deeper(l->m->refs, l->prefix, st->ref))
		return 0;
	ref_name_encode(ref_name_is_hashed(rest) ? st->ref : rest, name);
	return dir_list_add(l->list, name, ref_ino(l->m, st->ref), S_IFREG);
}

static void opendir_job(struct job *j)
{
	struct listing l = {.m = j->m, .list = dir_list_new()};
	struct ref_info *dir = malloc(sizeof(*dir));
	int r = dir == NULL || l.list == NULL ? -ENOMEM : prefix_of(j->m, j->ino, dir);

	if (r == 0) {
		l.prefix = dir->ref;
		r = ref_tree_subdirs(j->m->refs, l.prefix, list_dir, &l);
	}
	if (r == 0)
		r = ingest_walk(j->m->store, list_ref, &l);
	free(dir);
	if (r < 0) {
		fuse_reply_err(j->req, errno_for_kernel(r));
	} else {
		j->fi.fh = (uintptr_t)l.list;
		if (fuse_reply_open(j->req, &j->fi) == 0)
			l.list = NULL;
	}
	(void)dir_list_free(l.list);
}

void refs_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	job_start(req, ino, fi, opendir_job, NULL);
}
