/*
 * Each system call that an ingest stands on fails once, at every place: an error, nothing under
 * blobs that is wrong or was not acknowledged, and the same ref goes through afterwards.
 */
#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#include "lib/test.h"
#include "lib/tmp_store.h"
#include "store/blob.h"
#include "store/ingest.h"
#include "store/store_cleanup.h"
#include "store/walk.h"

#define HELLO "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

/* Offsets have 64 bits, so that some calls bear other names. */
static const char *which = ""; /* the call that fails */
static int countdown = -1;     /* so many times later; -1: never */
static int with;	       /* errno */
static bool failed;

static bool fails_now(const char *name)
{
	if (countdown < 0 || strcmp(name, which) != 0)
		return false;
	if (countdown-- > 0)
		return false;
	failed = true;
	errno = with;
	return true;
}

#define WRAP(name, params, args)                                   \
	int __real_##name params;                                  \
	int __wrap_##name params;                                  \
	int __wrap_##name params                                   \
	{                                                          \
		return fails_now(#name) ? -1 : __real_##name args; \
	}

WRAP(fsync, (int fd), (fd))
WRAP(renameat2, (int a, const char *p, int b, const char *q, unsigned int f), (a, p, b, q, f))
WRAP(renameat, (int a, const char *p, int b, const char *q), (a, p, b, q))
WRAP(unlinkat, (int a, const char *p, int f), (a, p, f))
WRAP(mkdirat, (int a, const char *p, mode_t m), (a, p, m))
WRAP(fchmod, (int fd, mode_t m), (fd, m))
WRAP(fstat64, (int fd, struct stat *st), (fd, st))
WRAP(fstatat64, (int fd, const char *p, struct stat *st, int f), (fd, p, st, f))

int __real_openat64(int fd, const char *path, int flags, ...);
int __wrap_openat64(int fd, const char *path, int flags, ...);
int __wrap_openat64(int fd, const char *path, int flags, ...)
{
	mode_t mode;
	va_list ap;

	va_start(ap, flags);
	mode = va_arg(ap, mode_t);
	va_end(ap);
	return fails_now("openat64") ? -1 : __real_openat64(fd, path, flags, mode);
}

ssize_t __real_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n)
{
	return fails_now("write") ? -1 : __real_write(fd, p, n);
}

ssize_t __real_pwrite64(int fd, const void *p, size_t n, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *p, size_t n, off_t at);
ssize_t __wrap_pwrite64(int fd, const void *p, size_t n, off_t at)
{
	return fails_now("pwrite64") ? -1 : __real_pwrite64(fd, p, n, at);
}

ssize_t __real_pread64(int fd, void *p, size_t n, off_t at);
ssize_t __wrap_pread64(int fd, void *p, size_t n, off_t at);
ssize_t __wrap_pread64(int fd, void *p, size_t n, off_t at)
{
	return fails_now("pread64") ? -1 : __real_pread64(fd, p, n, at);
}

static int is_right(void *arg, const struct digest *d, const struct stat *st)
{
	cleanup_buf struct buf b;

	(void)st;
	buf_init(&b, 4096);
	return blob_read(arg, d, &b, NULL);
}

/* Begin, or resume, and commit hello; what the user is told. */
static int ingest_hello(struct tmp_store *t, bool resume)
{
	cleanup(ingest_closep) struct ingest *i = NULL;
	struct digest d;
	struct err err = {0};
	int r = ingest_open(t->store, "x@sha256:" HELLO,
			    INGEST_CREATE | (resume ? 0 : INGEST_TRUNCATE), &i, &err);

	if (r == 0)
		r = ingest_write(i, "hello", 5, 0);
	if (r == 0)
		r = ingest_set_total(i, 5, &err);
	if (r == 0)
		r = ingest_sync(i);
	if (r == 0)
		r = ingest_commit(i, &d, &err);
	return r;
}

static void each_fails_once(const char *call, int code, bool resume)
{
	bool again;
	int n = 0;

	do {
		struct digest hello;
		int r, second;
		TMP_STORE(t);

		CHECK(t.store != NULL);
		CHECK_EQ(digest_parse_hex(HELLO, &hello), 0);
		which = call;
		with = code;
		failed = false;
		countdown = n;
		r = ingest_hello(&t, false);
		countdown = -1;
		again = failed;
		if (walk_blobs(t.store, is_right, t.store) != 0 ||
		    (r == 0 && !blob_exists(t.store, &hello)) || (!failed && r < 0))
			TEST_FAIL("%s number %d: told %d", call, n, r);
		second = ingest_hello(&t, resume);
		if (second < 0 || !blob_exists(t.store, &hello) ||
		    walk_blobs(t.store, is_right, t.store) != 0)
			TEST_FAIL("%s number %d: then %d", call, n, second);
		n++;
	} while (again);
	printf("# %s: %d\n", call, n - 1);
}

TEST(whatever_fails_the_ref_goes_through_the_next_time)
{
	static const struct {
		const char *call;
		int code;
	} rows[] = {
		{"fsync", EIO},	      {"fsync", ENOSPC}, {"renameat2", EIO},   {"renameat", EIO},
		{"renameat", ENOSPC}, {"unlinkat", EIO}, {"mkdirat", ENOSPC},  {"mkdirat", EACCES},
		{"fchmod", EPERM},    {"fstat64", EIO},	 {"fstatat64", EIO},   {"openat64", EMFILE},
		{"openat64", ENOSPC}, {"write", ENOSPC}, {"pwrite64", ENOSPC}, {"pwrite64", EIO},
		{"pread64", EIO},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && !test_failed; i++) {
		each_fails_once(rows[i].call, rows[i].code, /* resume= */ false);
		if (!test_failed)
			each_fails_once(rows[i].call, rows[i].code, /* resume= */ true);
	}
}

/* No renameat2() here: the blob is named by link(2) instead. */
TEST(without_rename_that_does_not_replace_a_link_names_the_blob)
{
	struct digest hello;
	TMP_STORE(t);

	CHECK_EQ(digest_parse_hex(HELLO, &hello), 0);
	which = "renameat2";
	with = EINVAL;
	countdown = 0;
	failed = false;
	CHECK_EQ(ingest_hello(&t, false), 0);
	CHECK(failed);
	CHECK(blob_exists(t.store, &hello));
}

TEST(after_a_failed_sync_the_bytes_are_neither_committed_nor_resumed_from)
{
	cleanup(ingest_closep) struct ingest *i = NULL;
	struct digest d;
	struct err err;
	TMP_STORE(t);

	CHECK_EQ(ingest_open(t.store, "x", INGEST_CREATE, &i, NULL), 0);
	CHECK_EQ(ingest_write(i, "hello", 5, 0), 0);
	which = "fsync";
	with = EIO;
	countdown = 0;
	CHECK_EQ(ingest_commit(i, &d, &err), -EIO);
	CHECK(strstr(err.msg, "sync data") != NULL);
	CHECK_EQ(ingest_commit(i, &d, &err), -EIO); /* a second fsync would say that all is well */
	i = ingest_close(i);
	CHECK_EQ(ingest_open(t.store, "x", 0, &i, NULL), 0);
	CHECK_EQ(ingest_size(i), 0);
	CHECK_EQ(walk_blobs(t.store, is_right, t.store), 0);
}

TEST_MAIN()
