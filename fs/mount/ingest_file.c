#include "mount/ingest_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "mount/holders.h"

#define COPY_BYTES (1U << 20)

struct ingest_file {
	struct store *store; /* borrowed */
	uint64_t ino;
	atomic_int refs;
	pthread_rwlock_t io; /* taken before lock */
	struct ingest *in;   /* changed under io for writing; NULL: released or aborted */
	bool committed;	     /* in's bytes are a blob: never to be written; under io */

	pthread_mutex_t lock;
	pthread_cond_t changed; /* released became true */
	bool closing;		/* the last close() was seen, nothing came after */
	bool released;
	struct holders holders; /* protected by lock, like all below */
	bool dirty;		/* there is something that no verdict has been given on */
	bool killed;		/* the last flush came from a process that a signal ended */
	int write_error;	/* of a write that nobody has repeated; what is here is not all */
	uint64_t write_error_at;
	int verdict;	/* 0 or negative errno */
	struct err why; /* of the verdict */
};

int ingest_file_open(struct store *s, const char *ref, int flags, uint64_t ino, pid_t opener,
		     struct ingest_file **ret, struct err *err)
{
	cleanup_free struct ingest_file *f = calloc(1, sizeof(*f));
	pthread_condattr_t attr;
	unsigned int how = 0;
	int r;

	if (f == NULL)
		return err_set(err, ENOMEM, "out of memory");
	if ((flags & O_CREAT) != 0)
		how |= INGEST_CREATE;
	if ((flags & O_TRUNC) != 0)
		how |= INGEST_TRUNCATE;
	r = ingest_open(s, ref, how, &f->in, err);
	if (r < 0)
		return r;
	f->store = s;
	f->ino = ino;
	atomic_init(&f->refs, 1);
	(void)pthread_rwlock_init(&f->io, NULL);
	(void)pthread_mutex_init(&f->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&f->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	holders_init(&f->holders);
	holders_note(&f->holders, opener);
	f->dirty = (flags & (O_TRUNC | O_EXCL)) != 0 && (flags & (O_NONBLOCK | O_APPEND)) == 0;
	*ret = steal_ptr(f);
	return 0;
}

static int copy_bytes(int from_fd, struct ingest *to, uint64_t size)
{
	cleanup_free char *chunk = malloc(COPY_BYTES);
	uint64_t done = 0;

	if (chunk == NULL)
		return -ENOMEM;
	while (done < size) {
		ssize_t n = fd_pread_full(from_fd, chunk, COPY_BYTES, done);
		int r;

		if (n <= 0)
			return n < 0 ? (int)n : -EIO;
		r = ingest_write(to, chunk, (size_t)n, done);
		if (r < 0)
			return r;
		done += (uint64_t)n;
	}
	return 0;
}

/* Continue the transaction in a new ingest of the same ref. io is held for writing. */
static int copy_up_locked(struct ingest_file *f)
{
	struct ingest *fresh = NULL;
	int r;

	if (!f->committed)
		return 0;
	r = ingest_open(f->store, ingest_ref(f->in), INGEST_CREATE | INGEST_TRUNCATE, &fresh, NULL);
	if (r < 0)
		return r;
	r = copy_bytes(ingest_data_fd(f->in), fresh, ingest_size(f->in));
	if (r < 0) {
		(void)ingest_abort(fresh);
		return r;
	}
	f->in = ingest_close(f->in);
	f->in = fresh;
	f->committed = false;
	return 0;
}

/* Take io for reading, with an ingest that may be written. Returns 0 with the lock held. */
static int begin_change(struct ingest_file *f)
{
	for (;;) {
		int r;

		(void)pthread_rwlock_rdlock(&f->io);
		if (f->in != NULL && !f->committed)
			return 0;
		(void)pthread_rwlock_unlock(&f->io);
		(void)pthread_rwlock_wrlock(&f->io);
		r = f->in == NULL ? -ECANCELED : copy_up_locked(f);
		(void)pthread_rwlock_unlock(&f->io);
		if (r < 0)
			return r;
	}
}

/*
 * A writer that was told ENOSPC closes the file next: what is there must stay for a resume, not
 * become a blob. Who writes again where it failed has carried on.
 */
static void note_write(struct ingest_file *f, int r, uint64_t offset, size_t n)
{
	(void)pthread_mutex_lock(&f->lock);
	if (r < 0 && (f->write_error == 0 || offset < f->write_error_at)) {
		f->write_error = r;
		f->write_error_at = offset;
	} else if (r == 0 && offset <= f->write_error_at && f->write_error_at - offset < n) {
		f->write_error = 0;
	}
	(void)pthread_mutex_unlock(&f->lock);
}

int ingest_file_write(struct ingest_file *f, pid_t writer, const void *p, size_t n, uint64_t offset,
		      bool append)
{
	int r = begin_change(f);

	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&f->lock);
	holders_note(&f->holders, writer);
	f->dirty = true;
	f->killed = f->closing = false;
	if (append)
		offset = ingest_size(f->in);
	(void)pthread_mutex_unlock(&f->lock);
	r = ingest_write(f->in, p, n, offset);
	note_write(f, r, offset, n);
	(void)pthread_rwlock_unlock(&f->io);
	return r;
}

ssize_t ingest_file_read(struct ingest_file *f, void *p, size_t n, uint64_t offset)
{
	ssize_t r;

	(void)pthread_rwlock_rdlock(&f->io);
	r = f->in == NULL ? -ECANCELED : fd_pread_full(ingest_data_fd(f->in), p, n, offset);
	(void)pthread_rwlock_unlock(&f->io);
	return r;
}

int ingest_file_truncate(struct ingest_file *f, uint64_t size)
{
	bool was_committed;
	int r;

	(void)pthread_rwlock_rdlock(&f->io);
	was_committed = f->committed;
	(void)pthread_rwlock_unlock(&f->io);
	r = begin_change(f);
	if (r < 0)
		return r;
	r = ingest_truncate(f->in, size);
	(void)pthread_mutex_lock(&f->lock);
	if (was_committed)
		f->dirty = true;
	if (r == 0 && size <= f->write_error_at)
		f->write_error = 0;
	(void)pthread_mutex_unlock(&f->lock);
	(void)pthread_rwlock_unlock(&f->io);
	return r;
}

int ingest_file_sync(struct ingest_file *f)
{
	int r = 0;

	(void)pthread_rwlock_rdlock(&f->io);
	if (f->in == NULL)
		r = -ECANCELED;
	else if (!f->committed)
		r = ingest_sync(f->in);
	(void)pthread_rwlock_unlock(&f->io);
	return r;
}

uint64_t ingest_file_size(struct ingest_file *f)
{
	uint64_t size;

	(void)pthread_rwlock_rdlock(&f->io);
	size = f->in != NULL ? ingest_size(f->in) : 0;
	(void)pthread_rwlock_unlock(&f->io);
	return size;
}

int ingest_file_with(struct ingest_file *f, int (*fn)(struct ingest *i, void *arg), void *arg)
{
	int r;

	(void)pthread_rwlock_rdlock(&f->io);
	r = f->in == NULL ? -ECANCELED : fn(f->in, arg);
	(void)pthread_rwlock_unlock(&f->io);
	return r;
}

/* io is held for writing: nothing is written meanwhile. */
static int commit_locked(struct ingest_file *f, bool *ret_committed, struct digest *ret,
			 struct err *err)
{
	struct err why = {0};
	int r = ingest_commit(f->in, ret, &why);

	if (r == 0)
		f->committed = *ret_committed = true;
	(void)pthread_mutex_lock(&f->lock);
	f->dirty = false;
	f->verdict = r;
	f->why = why;
	(void)pthread_mutex_unlock(&f->lock);
	if (r < 0 && err != NULL)
		*err = why;
	return r;
}

int ingest_file_flush(struct ingest_file *f, pid_t flusher, bool *ret_committed, struct digest *ret,
		      struct err *err)
{
	bool dirty, others;
	int r;

	*ret_committed = false;
	(void)pthread_rwlock_wrlock(&f->io);
	(void)pthread_mutex_lock(&f->lock);
	f->killed = holders_killed(flusher);
	others = holders_any(&f->holders, flusher, f->ino);
	dirty = f->dirty;
	r = f->verdict;
	if (r < 0 && err != NULL)
		*err = f->why;
	f->closing = !others;
	if (others || f->killed) {
		dirty = false;
		r = 0;
	} else if (f->write_error < 0) {
		dirty = false;
		r = err_errno(err, -f->write_error, "a write failed, kept for a resume");
	}
	if (f->in == NULL) {
		dirty = false;
		r = err_set(err, ECANCELED, "the ref was removed while it was written");
	}
	(void)pthread_mutex_unlock(&f->lock);
	if (dirty)
		r = commit_locked(f, ret_committed, ret, err);
	(void)pthread_rwlock_unlock(&f->io);
	return r;
}

int ingest_file_release(struct ingest_file *f, bool *ret_committed, struct digest *ret,
			struct err *err)
{
	int r = 0;

	*ret_committed = false;
	(void)pthread_rwlock_wrlock(&f->io);
	if (f->in != NULL && f->dirty && !f->killed && f->write_error == 0)
		r = commit_locked(f, ret_committed, ret, err);
	f->in = ingest_close(f->in);
	(void)pthread_rwlock_unlock(&f->io);
	(void)pthread_mutex_lock(&f->lock);
	f->released = true;
	(void)pthread_cond_broadcast(&f->changed);
	(void)pthread_mutex_unlock(&f->lock);
	return r;
}

void ingest_file_abort(struct ingest_file *f)
{
	(void)pthread_rwlock_wrlock(&f->io);
	if (f->committed)
		f->in = ingest_close(f->in);
	else
		f->in = ingest_abort(f->in);
	(void)pthread_rwlock_unlock(&f->io);
}

bool ingest_file_wait_released(struct ingest_file *f, unsigned int timeout_ms)
{
	struct timespec until;
	bool released;
	int r = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	(void)pthread_mutex_lock(&f->lock);
	while (f->closing && !f->released && r == 0)
		r = pthread_cond_timedwait(&f->changed, &f->lock, &until);
	released = f->released;
	(void)pthread_mutex_unlock(&f->lock);
	return released;
}

struct ingest_file *ingest_file_ref(struct ingest_file *f)
{
	atomic_fetch_add(&f->refs, 1);
	return f;
}

struct ingest_file *ingest_file_unref(struct ingest_file *f)
{
	if (f == NULL || atomic_fetch_sub(&f->refs, 1) > 1)
		return NULL;
	(void)ingest_close(f->in);
	(void)pthread_rwlock_destroy(&f->io);
	(void)pthread_cond_destroy(&f->changed);
	(void)pthread_mutex_destroy(&f->lock);
	free(f);
	return NULL;
}
