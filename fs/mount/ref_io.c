/* Open files below /ingest: FUSE requests on top of ingest_file. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "mount/ingest_file.h"
#include "mount/private.h"

#define RELEASE_WAIT_MS 2000

static struct ingest_file *file_of(const struct fuse_file_info *fi)
{
	return (struct ingest_file *)(uintptr_t)fi->fh;
}

/*
 * Open ref for writing. When the last close() of an earlier writer has been answered and its
 * RELEASE is still on its way, wait for that: to the user the file is closed.
 */
static int open_ref(struct mount *m, const char *ref, int flags, pid_t pid,
		    struct ingest_file **ret, struct err *err)
{
	int r;

	for (;;) {
		struct ingest_file *before = ref_tree_writer(m->refs, ref, ingest_file_ref);
		bool again;

		r = ingest_file_open(m->store, ref, flags, ref_ino(m, ref), pid, ret, err);
		again = r == -EBUSY && before != NULL &&
			ingest_file_wait_released(before, RELEASE_WAIT_MS);
		(void)ingest_file_unref(before);
		if (!again)
			return r;
	}
}

static void close_unheard(struct mount *m, struct ingest_file *f, const char *ref)
{
	struct digest d;
	bool committed;

	ref_tree_clear_writer(m->refs, ref, f);
	(void)ingest_file_release(f, &committed, &d, NULL);
	(void)ingest_file_unref(f);
}

/* Writes pass by the page cache: nothing is copied twice, and every byte is seen in order. */
static void reply_opened(struct job *j, const char *ref, struct ingest_file *f, int r)
{
	bool create = (j->fi.flags & O_CREAT) != 0;
	struct fuse_entry_param e;
	uint32_t id = 0;

	if (r == 0)
		r = refs_entry(j->m, ref, &e);
	if (r == 0) {
		id = (uint32_t)e.ino;
		r = ref_tree_set_writer(j->m->refs, id, f);
	}
	if (r < 0) {
		if (id != 0)
			ref_tree_forget(j->m->refs, id, 1);
		if (f != NULL)
			close_unheard(j->m, f, ref);
		fuse_reply_err(j->req, errno_for_kernel(r));
		return;
	}
	j->fi.fh = (uintptr_t)f;
	j->fi.direct_io = 1;
	if (!create)
		ref_tree_forget(j->m->refs, id, 1); /* OPEN is no lookup */
	r = create ? fuse_reply_create(j->req, &e, &j->fi) : fuse_reply_open(j->req, &j->fi);
	if (r == 0)
		return;
	if (create)
		ref_tree_forget(j->m->refs, id, 1);
	close_unheard(j->m, f, ref);
}

static void open_job(struct job *j)
{
	struct ref_info *info = j->arg;
	struct ingest_file *f = NULL;
	struct err err;
	int r = open_ref(j->m, info->ref, j->fi.flags, j->pid, &f, &err);

	if (r < 0)
		log_err("ingest", "open \"%s\": %s", info->ref, err_text(&err, r));
	reply_opened(j, info->ref, f, r);
	free(info);
}

/* With what resolve has told of the ref in *info, which goes to the job. */
static void start_open(fuse_req_t req, const struct fuse_file_info *fi, struct ref_info *info,
		       int r)
{
	/* Bytes that nobody has verified are not for reading. Who writes may read its own back. */
	if (r == 0 && (fi->flags & O_ACCMODE) == O_RDONLY)
		r = -EACCES;
	if (r == 0) {
		job_start(req, 0, fi, open_job, info);
		return;
	}
	free(info);
	fuse_reply_err(req, errno_for_kernel(r));
}

void ref_create(fuse_req_t req, fuse_ino_t parent, const char *name, struct fuse_file_info *fi)
{
	struct ref_info *info = malloc(sizeof(*info));
	int r = info == NULL ? -ENOMEM : refs_resolve(mount_of(req), parent, name, info);

	fi->flags |= O_CREAT;
	start_open(req, fi, info, r);
}

void ref_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct ref_info *info = malloc(sizeof(*info));
	int r = 0;

	if (info == NULL)
		r = -ENOMEM;
	else if (!ref_tree_get(m->refs, (uint32_t)ino, info) || info->is_dir)
		r = -ESTALE;
	fi->flags &= ~O_CREAT;
	start_open(req, fi, info, r);
}

void ref_read(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi)
{
	cleanup_free char *buf = malloc(size > 0 ? size : 1);
	ssize_t n = buf == NULL ? -ENOMEM : ingest_file_read(file_of(fi), buf, size, (uint64_t)off);

	if (n < 0)
		fuse_reply_err(req, errno_for_kernel((int)n));
	else
		fuse_reply_buf(req, buf, (size_t)n);
}

void ref_write(fuse_req_t req, const char *buf, size_t size, off_t off, struct fuse_file_info *fi)
{
	int r = ingest_file_write(file_of(fi), fuse_req_ctx(req)->pid, buf, size, (uint64_t)off,
				  (fi->flags & O_APPEND) != 0);

	if (r < 0)
		fuse_reply_err(req, errno_for_kernel(r));
	else
		fuse_reply_write(req, size);
}

/* A transaction that committed in the middle of what follows, or failed to. */
static void account(struct mount *m, const char *ref, int r, bool committed, const struct digest *d,
		    const struct err *err)
{
	if (committed) {
		atomic_fetch_add(&m->n.commits, 1);
		log_debug("ingest", "\"%s\" committed as %s", ref, digest_text(d).s);
	} else if (r < 0) {
		atomic_fetch_add(&m->n.commit_failures, 1);
		log_err("ingest", "\"%s\": %s", ref, err_text(err, r));
	}
}

/* The ref of an open file: its node is there as long as it has a writer. */
static const char *ref_of(const struct job *j, struct ref_info *info)
{
	return ref_tree_get(j->m->refs, (uint32_t)j->ino, info) ? info->ref : "";
}

static void flush_job(struct job *j)
{
	struct mount *m = j->m;
	struct ref_info info;
	struct digest d;
	struct err err;
	bool committed;
	int r = ingest_file_flush(file_of(&j->fi), j->pid, &committed, &d, &err);

	account(m, ref_of(j, &info), r, committed, &d, &err);
	/* Before the answer: what a manifest describes is known once close() has returned. */
	if (committed)
		blobs_committed(m, &d);
	fuse_reply_err(j->req, errno_for_kernel(r));
	if (committed)
		blobs_appeared(m, &d);
}

static void release_job(struct job *j)
{
	struct ingest_file *f = file_of(&j->fi);
	struct mount *m = j->m;
	struct ref_info info;
	const char *ref = ref_of(j, &info);
	struct digest d;
	struct err err;
	bool committed;
	int r = ingest_file_release(f, &committed, &d, &err);

	account(m, ref, r, committed, &d, &err);
	ref_tree_clear_writer(m->refs, ref, f);
	(void)ingest_file_unref(f);
	fuse_reply_err(j->req, 0);
	if (committed) {
		blobs_appeared(m, &d);
		blobs_committed(m, &d);
	}
}

void ref_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	job_start(req, ino, fi, flush_job, NULL);
}

void ref_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	job_start(req, ino, fi, release_job, NULL);
}

static void fsync_job(struct job *j)
{
	fuse_reply_err(j->req, errno_for_kernel(ingest_file_sync(file_of(&j->fi))));
}

void ref_fsync(fuse_req_t req, struct fuse_file_info *fi)
{
	job_start(req, 0, fi, fsync_job, NULL);
}
