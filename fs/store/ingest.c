#include "store/ingest.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "store/front_hasher.h"
#include "store/ingest_dir.h"
#include "store/ingest_publish.h"
#include "store/label.h"

#define WRITE_BACK_BYTES ((uint64_t)8 << 20)

struct ingest {
	struct store *store; /* borrowed */
	char *ref;
	struct ingest_dir dir;
	int data_fd;
	struct front_hasher *hasher;
	bool committed;		/* read-only from then on */
	bool fetched;		/* INGEST_FETCHED */
	atomic_bool spoilt;	/* the bytes must not be committed: a sync of them failed */
	atomic_bool has_failed; /* the file failed is there, until the next write */

	pthread_mutex_t lock; /* a leaf */
	uint64_t total;	      /* protected by lock, like all below; 0: unknown */
	bool has_expected;
	struct digest expected;
	bool side_unsynced; /* ref, total, expected have changed since ingest_sync() */
};

CLEANUP_DEFINE(struct ingest *, ingest_close);

/* All but the lock, from the most telling on: a crash in between leaves something to start over. */
static const char *const side_files[] = {"ref",	      "data",	   "total",  "expected",
					 "startedat", "updatedat", "failed", "chunks"};

static int drop_file(struct ingest *i, const char *name)
{
	return unlinkat(i->dir.fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* Begin from nothing, whatever is in the directory. */
static int start(struct ingest *i, struct err *err)
{
	for (size_t k = 0; k < sizeof(side_files) / sizeof(side_files[0]); k++) {
		int r = drop_file(i, side_files[k]);

		/* Not a file of ours, nor anybody's: make room. */
		if (r == -EISDIR || r == -EPERM)
			r = fd_remove_tree(i->dir.fd, side_files[k]);
		if (r < 0)
			return err_errno(err, -r, "begin ingest: remove old \"%s\"", side_files[k]);
	}
	i->data_fd =
		openat(i->dir.fd, "data", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (i->data_fd < 0)
		return err_errno(err, errno, "begin ingest: create data");
	(void)ingest_side_write_time(i->dir.fd, "startedat", clock_wall_ns());
	{
		int r = ingest_side_write(i->dir.fd, "ref", i->ref, strlen(i->ref));

		if (r < 0)
			return err_errno(err, -r, "begin ingest: write ref");
	}
	i->side_unsynced = true;
	i->has_expected = digest_from_ref(i->ref, &i->expected);
	return 0;
}

/* data of a failed commit, ours or an older tool's, may be 0444. */
static int open_data(struct ingest *i)
{
	const int flags = O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;

	i->data_fd = openat(i->dir.fd, "data", flags);
	if (i->data_fd < 0 && errno == EACCES && fchmodat(i->dir.fd, "data", 0644, 0) == 0)
		i->data_fd = openat(i->dir.fd, "data", flags);
	if (i->data_fd < 0)
		return -errno;
	(void)fchmod(i->data_fd, 0644);
	return 0;
}

static int reset_data(struct ingest *i)
{
	int r;

	if (ftruncate(i->data_fd, 0) < 0)
		return -errno;
	r = drop_file(i, "chunks");
	if (r == 0)
		r = drop_file(i, "failed");
	if (r < 0)
		return r;
	(void)ingest_side_write_time(i->dir.fd, "startedat", clock_wall_ns());
	(void)drop_file(i, "updatedat");
	return 0;
}

static int resume(struct ingest *i, const struct ingest_status *st, bool truncate, struct err *err)
{
	int r = open_data(i);

	if (r < 0)
		return err_errno(err, -r, "open data of ref \"%.200s\"", i->ref);
	i->total = st->total;
	i->has_expected = st->has_expected;
	i->expected = st->expected;
	i->has_failed = st->failed[0] != '\0';
	i->side_unsynced = true; /* who knows */
	if (truncate || ingest_failure_is_final(st->failed)) {
		r = reset_data(i);
		if (r < 0)
			return err_errno(err, -r, "start ref \"%.200s\" over", i->ref);
		i->has_failed = false;
	}
	return 0;
}

/* With the lock held. *ret_fresh: the directory holds nothing that anybody could want. */
static int begin_or_resume(struct ingest *i, unsigned int flags, bool *ret_fresh, struct err *err)
{
	struct ingest_status st;
	int r = ingest_dir_load(i->dir.fd, i->dir.name, &st);

	*ret_fresh = false;
	if (r == 0 && (flags & INGEST_CREATE) != 0 && (flags & INGEST_EXCL) != 0)
		return err_set(err, EEXIST, "ref \"%.200s\" has been begun already", i->ref);
	if (r == 0)
		return resume(i, &st, (flags & INGEST_TRUNCATE) != 0, err);
	if (r != -ENOENT)
		return err_errno(err, -r, "read ingest of ref \"%.200s\"", i->ref);
	if ((flags & INGEST_CREATE) == 0)
		return err_set(err, ENOENT, "ref \"%.200s\" is unknown", i->ref);
	*ret_fresh = true;
	return start(i, err);
}

int ingest_open(struct store *s, const char *ref, unsigned int flags, struct ingest **ret,
		struct err *err)
{
	cleanup(ingest_closep) struct ingest *i = NULL;
	char name[DIGEST_HEX_LEN + 1];
	struct stat st;
	bool fresh;
	int r = ingest_dir_name(ref, name, err);

	if (r < 0)
		return r;
	i = calloc(1, sizeof(*i));
	if (i == NULL)
		return err_set(err, ENOMEM, "out of memory");
	i->store = s;
	i->fetched = (flags & INGEST_FETCHED) != 0;
	i->data_fd = i->dir.fd = i->dir.lock_fd = -1;
	(void)pthread_mutex_init(&i->lock, NULL);
	i->ref = strdup(ref);
	if (i->ref == NULL)
		return err_set(err, ENOMEM, "out of memory");
	r = ingest_dir_lock(s, name, (flags & INGEST_CREATE) != 0, &i->dir, ref, err);
	if (r < 0)
		return r;
	r = begin_or_resume(i, flags, &fresh, err);
	if (r == 0 && fstat(i->data_fd, &st) < 0)
		r = err_errno(err, errno, "stat data");
	if (r == 0 && front_hasher_new(i->data_fd, (uint64_t)st.st_size, &i->hasher) < 0)
		r = err_set(err, ENOMEM, "out of memory");
	if (r < 0) {
		/* A begin that came to nothing, on a full disk say, leaves nothing. */
		if (fresh)
			(void)ingest_dir_remove(s, &i->dir);
		return r;
	}
	*ret = steal_ptr(i);
	return 0;
}

const char *ingest_ref(const struct ingest *i)
{
	return i->ref;
}

int ingest_data_fd(struct ingest *i)
{
	return i->data_fd;
}

int ingest_dir_fd(struct ingest *i)
{
	return i->dir.fd;
}

uint64_t ingest_size(struct ingest *i)
{
	struct stat st;

	return fstat(i->data_fd, &st) == 0 ? (uint64_t)st.st_size : 0;
}

int ingest_sparse(struct ingest *i, const struct hasher_state *hashed)
{
	return front_hasher_resume(i->hasher, hashed);
}

void ingest_found(struct ingest *i, uint64_t offset, uint64_t n)
{
	front_hasher_found(i->hasher, offset, n);
}

bool ingest_hashed(struct ingest *i, struct hasher_state *ret)
{
	return front_hasher_saved(i->hasher, ret);
}

int ingest_set_total(struct ingest *i, uint64_t total, struct err *err)
{
	char text[32];
	int r;

	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)total);
	(void)pthread_mutex_lock(&i->lock);
	if (i->committed)
		r = -EROFS;
	else if (total > 0)
		r = ingest_side_write(i->dir.fd, "total", text, strlen(text));
	else
		r = drop_file(i, "total");
	if (r == 0) {
		i->total = total;
		i->side_unsynced = true;
	}
	(void)pthread_mutex_unlock(&i->lock);
	return r < 0 ? err_errno(err, -r, "write expected size") : 0;
}

int ingest_set_expected(struct ingest *i, const struct digest *d, struct err *err)
{
	int r;

	(void)pthread_mutex_lock(&i->lock);
	if (i->committed)
		r = -EROFS;
	else if (d != NULL)
		r = ingest_side_write(i->dir.fd, "expected", digest_text(d).s, DIGEST_TEXT_LEN);
	else
		r = drop_file(i, "expected");
	if (r == 0) {
		i->has_expected = true;
		if (d != NULL)
			i->expected = *d;
		else
			i->has_expected = digest_from_ref(i->ref, &i->expected);
		i->side_unsynced = true;
	}
	(void)pthread_mutex_unlock(&i->lock);
	return r < 0 ? err_errno(err, -r, "write expected digest") : 0;
}

uint64_t ingest_total(struct ingest *i)
{
	uint64_t total;

	(void)pthread_mutex_lock(&i->lock);
	total = i->total;
	(void)pthread_mutex_unlock(&i->lock);
	return total;
}

bool ingest_expected(struct ingest *i, struct digest *ret)
{
	bool has;

	(void)pthread_mutex_lock(&i->lock);
	has = i->has_expected;
	if (has)
		*ret = i->expected;
	(void)pthread_mutex_unlock(&i->lock);
	return has;
}

/* The bytes change: what was said of them no longer holds. */
static void forget_failure(struct ingest *i)
{
	if (atomic_load(&i->has_failed) && atomic_exchange(&i->has_failed, false))
		(void)drop_file(i, "failed");
}

/*
 * Have the disk begin with what has been written, a stretch at a time, so that the fsync of the
 * commit finds little to do. A hint: what fails here is told by that fsync.
 */
static void write_back_early(struct ingest *i, uint64_t offset, size_t n)
{
	uint64_t stretch = (offset + n) / WRITE_BACK_BYTES;

	if (stretch > offset / WRITE_BACK_BYTES)
		(void)sync_file_range(i->data_fd, (off_t)((stretch - 1) * WRITE_BACK_BYTES),
				      WRITE_BACK_BYTES, SYNC_FILE_RANGE_WRITE);
}

int ingest_write(struct ingest *i, const void *p, size_t n, uint64_t offset)
{
	size_t done = 0;
	int r = 0;

	if (i->committed)
		return -EROFS;
	if (n == 0)
		return 0;
	if (offset > INT64_MAX - n)
		return -EFBIG;
	forget_failure(i);
	front_hasher_begin(i->hasher, offset, n);
	while (done < n) {
		ssize_t w = pwrite(i->data_fd, (const char *)p + done, n - done,
				   (off_t)(offset + done));

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0) {
			r = w < 0 ? -errno : -EIO;
			break;
		}
		done += (size_t)w;
	}
	front_hasher_end(i->hasher, offset, done);
	write_back_early(i, offset, done);
	return r;
}

int ingest_truncate(struct ingest *i, uint64_t size)
{
	if (i->committed)
		return -EROFS;
	if (size > INT64_MAX)
		return -EFBIG;
	forget_failure(i);
	if (ftruncate(i->data_fd, (off_t)size) < 0)
		return -errno;
	front_hasher_truncated(i->hasher, size);
	if (size == 0)
		i->spoilt = false;
	return 0;
}

static int sync_file(int dir_fd, const char *name)
{
	cleanup_fd int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return fd_sync(fd);
}

static int sync_side_files(struct ingest *i)
{
	static const char *const names[] = {"ref", "total", "expected"};
	int r = 0;

	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]) && r == 0; k++)
		r = sync_file(i->dir.fd, names[k]);
	if (r == 0)
		r = fd_sync_dir(i->dir.fd, ".");
	if (r == 0)
		r = fd_sync_dir(i->store->ingest_fd, ".");
	return r;
}

int ingest_sync(struct ingest *i)
{
	bool sides;
	int r;

	if (i->committed)
		return 0;
	r = fd_sync(i->data_fd);
	if (r < 0) {
		i->spoilt = true;
		return r;
	}
	(void)pthread_mutex_lock(&i->lock);
	sides = i->side_unsynced;
	i->side_unsynced = false;
	(void)pthread_mutex_unlock(&i->lock);
	if (!sides)
		return 0;
	r = sync_side_files(i);
	if (r < 0) {
		(void)pthread_mutex_lock(&i->lock);
		i->side_unsynced = true;
		(void)pthread_mutex_unlock(&i->lock);
	}
	return r;
}

static int check_size(struct ingest *i, uint64_t size, struct err *err)
{
	uint64_t total = ingest_total(i);

	if (total == 0 || size == total)
		return 0;
	return err_set(err, size < total ? ENODATA : EFBIG,
		       "failed size verification: %llu != %llu", (unsigned long long)size,
		       (unsigned long long)total);
}

static int verify(struct ingest *i, uint64_t size, struct digest *ret, struct err *err)
{
	struct digest want;
	int r = check_size(i, size, err);

	if (r < 0)
		return r;
	r = front_hasher_finish(i->hasher, size, ret);
	if (r < 0)
		return err_errno(err, -r, "read back data");
	if (ingest_expected(i, &want) && !digest_equal(ret, &want))
		return err_set(err, EBADMSG, "unexpected digest: %s != %s", digest_text(ret).s,
			       digest_text(&want).s);
	return 0;
}

int ingest_verify(struct ingest *i, struct digest *ret, struct err *err)
{
	struct stat st;

	if (i->spoilt)
		return err_set(err, EIO, "sync data: failed before, the bytes may be lost");
	if (fstat(i->data_fd, &st) < 0)
		return err_errno(err, errno, "stat data");
	return verify(i, (uint64_t)st.st_size, ret, err);
}

int ingest_commit(struct ingest *i, struct digest *ret, struct err *err)
{
	struct err why = {0};
	bool spoilt = false;
	struct digest d;
	int r;

	assert(!i->committed);
	r = ingest_verify(i, &d, &why);
	/* Before it has its name: what is there already could be evicted until then. */
	if (r == 0 && !i->fetched && (r = label_claim(i->store, &d)) < 0)
		(void)err_errno(&why, -r, "label blob");
	if (r == 0)
		r = ingest_publish(i->store, &i->dir, i->data_fd, &d, &spoilt, &why);
	if (spoilt)
		i->spoilt = true;
	if (r < 0) {
		atomic_store(&i->has_failed, true);
		(void)ingest_side_write(i->dir.fd, "failed", why.msg, strlen(why.msg));
		if (err != NULL)
			*err = why;
		return r;
	}
	i->committed = true;
	(void)ingest_dir_remove(i->store, &i->dir);
	*ret = d;
	return 0;
}

struct ingest *ingest_close(struct ingest *i)
{
	if (i == NULL)
		return NULL;
	front_hasher_free(i->hasher);
	if (!i->committed && i->data_fd >= 0 && i->hasher != NULL)
		(void)ingest_side_write_time(i->dir.fd, "updatedat", clock_wall_ns());
	cleanup_closep(&i->data_fd);
	ingest_dir_unlock(&i->dir);
	(void)pthread_mutex_destroy(&i->lock);
	free(i->ref);
	free(i);
	return NULL;
}

struct ingest *ingest_abort(struct ingest *i)
{
	if (i == NULL)
		return NULL;
	if (!i->committed)
		(void)ingest_dir_remove(i->store, &i->dir);
	i->committed = true; /* nothing is left to date */
	return ingest_close(i);
}

int ingest_remove(struct store *s, const char *ref, struct err *err)
{
	struct ingest_dir dir = {.fd = -1, .lock_fd = -1};
	char name[DIGEST_HEX_LEN + 1];
	int r = ingest_dir_name(ref, name, err);

	if (r == 0)
		r = ingest_dir_lock(s, name, /* create= */ false, &dir, ref, err);
	if (r < 0)
		return r;
	r = ingest_dir_remove(s, &dir);
	ingest_dir_unlock(&dir);
	return r < 0 ? err_errno(err, -r, "remove ref \"%.200s\"", ref) : 0;
}
