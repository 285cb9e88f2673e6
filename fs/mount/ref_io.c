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

struct open_request {
	struct fuse_file_info fi;
	struct ref_info ref;
};

static void close_unheard(struct mount *m, struct ingest_file *f, uint32_t id)
{
	struct digest d;
	bool committed;

	ref_tree_clear_writer(m->refs, id);
	(void)ingest_file_release(f, &committed, &d, NULL);
	(void)ingest_file_unref(f);
}

/* Writes pass by the page cache: nothing is copied twice, and every byte is seen in order. */
static void reply_opened(struct job *j, struct open_request *q, struct ingest_file *f, int r)
{
	struct fuse_entry_param e;
	uint32_t id = 0;

	if (r == 0)
		r = refs_entry(j->m, q->ref.ref, &e);
	if (r == 0) {
		id = (uint32_t)e.ino;
		r = ref_tree_set_writer(j->m->refs, id, f);
	}
	if (r < 0) {
		if (id != 0)
			ref_tree_forget(j->m->refs, id, 1);
		if (f != NULL)
			close_unheard(j->m, f, 0);
		fuse_reply_err(j->req, errno_for_kernel(r));
		return;
	}
	q->fi.fh = (uintptr_t)f;
	q->fi.direct_io = 1;
	if ((q->fi.flags & O_CREAT) != 0) {
		r = fuse_reply_create(j->req, &e, &q->fi);
	} else {
		ref_tree_forget(j->m->refs, id, 1); /* OPEN is no lookup */
		r = fuse_reply_open(j->req, &q->fi);
	}
	if (r != 0) {
		if ((q->fi.flags & O_CREAT) != 0)
			ref_tree_forget(j->m->refs, id, 1);
		close_unheard(j->m, f, id);
	}
}

static void open_job(struct job *j)
{
	struct open_request *q = j->arg;
	struct ingest_file *f = NULL;
	struct err err;
	int r = open_ref(j->m, q->ref.ref, q->fi.flags, j->pid, &f, &err);

	if (r < 0)
		log_err("ingest", "open \"%s\": %s", q->ref.ref, err_text(&err, r));
	reply_opened(j, q, f, r);
	free(q);
}

static struct open_request *open_request(fuse_req_t req, const struct fuse_file_info *fi)
{
	struct open_request *q;

	/*
	 * Bytes that nobody has verified are not for reading. Who writes may read its own back.
	 */
	if ((fi->flags & O_ACCMODE) == O_RDONLY) {
		fuse_reply_err(req, EACCES);
		return NULL;
	}
	q = malloc(sizeof(*q));
	if (q == NULL)
		fuse_reply_err(req, ENOMEM);
	else
		q->fi = *fi;
	return q;
}

void ref_create(fuse_req_t req, fuse_ino_t parent, const char *name, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct open_request *q = open_request(req, fi);
	int r;

	if (q == NULL)
		return;
	q->fi.flags |= O_CREAT;
	r = refs_resolve(m, parent, name, &q->ref);
	if (r < 0) {
		free(q);
		fuse_reply_err(req, errno_for_kernel(r));
		return;
	}
	job_start(req, open_job, q);
}

void ref_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct open_request *q = open_request(req, fi);

	if (q == NULL)
		return;
	q->fi.flags &= ~O_CREAT;
	if (!ref_tree_get(m->refs, (uint32_t)ino, &q->ref) || q->ref.is_dir) {
		free(q);
		fuse_reply_err(req, ESTALE);
		return;
	}
	job_start(req, open_job, q);
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

static void flush_job(struct job *j)
{
	struct open_request *q = j->arg;
	struct mount *m = j->m;
	struct digest d;
	struct err err;
	bool committed;
	int r = ingest_file_flush(file_of(&q->fi), j->pid, &committed, &d, &err);

	account(m, q->ref.ref, r, committed, &d, &err);
	/* Before the answer: what a manifest describes is known once close() has returned. */
	if (committed && m->source != NULL)
		m->source->ops->committed(m->source, &d);
	free(q);
	fuse_reply_err(j->req, errno_for_kernel(r));
	if (committed)
		blobs_appeared(m, &d);
}

static void release_job(struct job *j)
{
	struct open_request *q = j->arg;
	struct ingest_file *f = file_of(&q->fi);
	struct mount *m = j->m;
	struct digest d;
	struct err err;
	bool committed;
	uint32_t id = (uint32_t)q->fi.lock_owner; /* see start_file_job() */
	int r = ingest_file_release(f, &committed, &d, &err);

	account(m, q->ref.ref, r, committed, &d, &err);
	ref_tree_clear_writer(m->refs, id);
	(void)ingest_file_unref(f);
	free(q);
	fuse_reply_err(j->req, 0);
	if (committed)
		blobs_appeared(m, &d);
}

static void start_file_job(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
			   void (*run)(struct job *j))
{
	struct mount *m = mount_of(req);
	struct open_request *q = malloc(sizeof(*q));

	if (q == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	q->fi = *fi;
	q->fi.lock_owner = (uint32_t)ino; /* unused otherwise: POSIX locks are the kernel's here */
	if (!ref_tree_get(m->refs, (uint32_t)ino, &q->ref))
		q->ref.ref[0] = '\0';
	job_start(req, run, q);
}

void ref_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	start_file_job(req, ino, fi, flush_job);
}

void ref_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	start_file_job(req, ino, fi, release_job);
}

static void fsync_job(struct job *j)
{
	fuse_reply_err(j->req, errno_for_kernel(ingest_file_sync(j->arg)));
}

void ref_fsync(fuse_req_t req, struct fuse_file_info *fi)
{
	job_start(req, fsync_job, file_of(fi));
}
