/* Blobs at rest: blob, layout, walk, scrub, active_table. */
#include "store/blob.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>

#include "lib/test.h"
#include "lib/tmp_store.h"
#include "store/active_table.h"
#include "store/ingest.h"
#include "store/scrub.h"
#include "store/store_cleanup.h"
#include "store/walk.h"

#define HELLO "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define OTHER "00000000000000000000000000000000000000000000000000000000000000ff"

static struct digest digest_of_hex(const char *hex)
{
	struct digest d = {{0}};

	(void)digest_parse_hex(hex, &d);
	return d;
}

TEST(what_is_no_regular_file_of_a_digest_s_name_is_no_blob)
{
	static const char *const hex = OTHER;
	struct digest d = digest_of_hex(hex);
	int blobs_fd;
	struct stat st;
	TMP_STORE(t);

	blobs_fd = store_blobs_fd(t.store);
	CHECK_EQ(blob_open(t.store, &d), -ENOENT);
	CHECK_EQ(mkdirat(blobs_fd, hex, 0755), 0);
	CHECK_EQ(blob_open(t.store, &d), -ENOENT);
	CHECK_EQ(blob_stat(t.store, &d, &st), -ENOENT);
	CHECK_EQ(blob_delete(t.store, &d), -ENOENT);
	CHECK_EQ(unlinkat(blobs_fd, hex, AT_REMOVEDIR), 0);
	CHECK_EQ(symlinkat("/etc/passwd", blobs_fd, hex), 0);
	CHECK_EQ(blob_open(t.store, &d), -ENOENT);
	CHECK(!blob_exists(t.store, &d));
	CHECK_EQ(unlinkat(blobs_fd, hex, 0), 0);
	CHECK_EQ(mkfifoat(blobs_fd, hex, 0644), 0);
	CHECK_EQ(blob_open(t.store, &d), -ENOENT); /* and does not wait */
	CHECK(!blob_exists(t.store, &d));
}

TEST(a_small_blob_is_read_whole_and_verified)
{
	cleanup_buf struct buf b;
	struct digest hello = digest_of_hex(HELLO), other = digest_of_hex(OTHER);
	struct err err;
	TMP_STORE(t);

	buf_init(&b, 10);
	CHECK_EQ(tmp_store_put(&t, "blobs/sha256/" HELLO, "hello"), 0);
	CHECK_EQ(tmp_store_put(&t, "blobs/sha256/" OTHER, "wrong"), 0);
	CHECK_EQ(blob_read(t.store, &hello, &b, &err), 0);
	CHECK_STR(b.data, "hello");
	CHECK_EQ(blob_read(t.store, &other, &b, &err), -EBADMSG);
	CHECK_EQ(b.len, 5);
	CHECK_EQ(blob_read(t.store, &hello, &b, &err), 0); /* appended */
	CHECK_STR(b.data, "hellohello");
	CHECK_EQ(blob_read(t.store, &hello, &b, &err), -E2BIG);
	CHECK_EQ(blob_delete(t.store, &hello), 0);
	CHECK_EQ(blob_read(t.store, &hello, &b, &err), -ENOENT);
	CHECK(strstr(err.msg, HELLO) != NULL);
}

TEST(a_path_is_absolute_and_bounded)
{
	struct digest d = digest_of_hex(HELLO);
	char path[PATH_MAX];
	TMP_STORE(t);

	CHECK_EQ(blob_path(t.store, &d, path, sizeof(path)), 0);
	CHECK(path[0] == '/' && strstr(path, "/root/blobs/sha256/" HELLO) != NULL);
	CHECK_EQ(blob_path(t.store, &d, path, 80), -ENAMETOOLONG);
}

TEST(a_root_is_a_store_or_becomes_one_or_is_left_alone)
{
	static const struct {
		const char *make; /* a file or, with a '/' at its end, a directory in the root */
		unsigned int flags;
		int r;
	} rows[] = {
		{NULL, 0, -ENOENT},
		{NULL, STORE_RDONLY, -ENOENT},
		{NULL, STORE_CREATE | STORE_RDONLY, -ENOENT},
		{NULL, STORE_CREATE, 0},
		{"", STORE_CREATE, 0},
		{"", 0, -ENOENT},
		{"lost+found/", STORE_CREATE, 0},
		{"file", STORE_CREATE, -ENOENT},
		{"dir/", STORE_CREATE, -ENOENT},
		{".hidden", STORE_CREATE, -ENOENT},
		{"blobs/", 0, 0},
		{"ingest/", STORE_RDONLY, 0},
		{"blobs", STORE_CREATE, -ENOENT},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct store *s = NULL;
		char root[300], path[400];
		bool there = rows[i].make != NULL;
		int r;
		TMP_STORE(t);

		(void)snprintf(root, sizeof(root), "%s/deep/er", t.dir);
		(void)snprintf(path, sizeof(path), "%s/deep", t.dir);
		if (there)
			CHECK(mkdir(path, 0755) == 0 && mkdir(root, 0755) == 0);
		(void)snprintf(path, sizeof(path), "%s/%s", root, there ? rows[i].make : "");
		if (there && rows[i].make[0] != '\0' && strchr(rows[i].make, '/') != NULL)
			CHECK_EQ(mkdir(path, 0755), 0);
		else if (there && rows[i].make[0] != '\0')
			CHECK_EQ(mknod(path, S_IFREG | 0644, 0), 0);
		r = store_open(root, rows[i].flags, &s, NULL);
		if (r != rows[i].r)
			TEST_FAIL("row %zu: %d", i, r);
		/* Nothing is made where that failed. */
		(void)snprintf(path, sizeof(path), "%s/ingest", root);
		CHECK_EQ(access(path, F_OK) == 0,
			 r == 0 && (rows[i].flags != STORE_RDONLY || i == 11));
		s = store_close(s);
	}
}

TEST(a_read_only_store_changes_nothing)
{
	struct digest d = digest_of_hex(HELLO);
	struct scrub_result res;
	struct ingest *i = NULL;
	struct store *ro = NULL;
	TMP_STORE(t);

	CHECK_EQ(tmp_store_put(&t, "blobs/sha256/" HELLO, "hello"), 0);
	CHECK_EQ(store_open(store_root(t.store), STORE_RDONLY, &ro, NULL), 0);
	CHECK(blob_exists(ro, &d));
	CHECK_EQ(blob_delete(ro, &d), -EROFS);
	CHECK_EQ(scrub_blob(ro, &d, &res), 0);
	CHECK_EQ(scrub_quarantine(ro, &d, &res), -EROFS);
	CHECK_EQ(ingest_open(ro, "x", INGEST_CREATE, &i, NULL), -EROFS);
	CHECK_EQ(ingest_remove(ro, "x", NULL), -EROFS);
	CHECK_EQ(ingest_expire(ro, 0, false, NULL, NULL), -EROFS);
	CHECK_EQ(ingest_sweep(ro, 0, false, NULL, NULL), -EROFS);
	ro = store_close(ro);
	CHECK(blob_exists(t.store, &d));
}

struct seen {
	int n, stop_at;
	struct digest last;
	bool ordered;
};

static int see(void *arg, const struct digest *d, const struct stat *st)
{
	struct seen *s = arg;

	s->ordered = s->ordered && (s->n == 0 || digest_compare(&s->last, d) < 0);
	s->last = *d;
	s->n += st->st_size == 1;
	return s->n == s->stop_at ? 7 : 0;
}

static int count_stray(void *arg, const char *name)
{
	(void)name;
	++*(int *)arg;
	return 0;
}

TEST(blobs_are_walked_in_order_and_strays_apart)
{
	struct seen all = {.ordered = true}, some = {.ordered = true, .stop_at = 3};
	int strays = 0;
	TMP_STORE(t);

	for (unsigned int i = 0; i < 2000; i++) {
		char path[100];

		(void)snprintf(path, sizeof(path), "blobs/sha256/%08x%056x", i * 2654435761U, i);
		CHECK_EQ(tmp_store_put(&t, path, "x"), 0);
	}
	CHECK_EQ(tmp_store_put(&t, "blobs/sha256/stray", "x"), 0);
	CHECK_EQ(tmp_store_put(&t, "blobs/sha256/" HELLO "0", "x"), 0);
	CHECK_EQ(mkdirat(store_blobs_fd(t.store), OTHER, 0755), 0);
	CHECK_EQ(walk_blobs(t.store, see, &all), 0);
	CHECK_EQ(all.n, 2000);
	CHECK(all.ordered);
	CHECK_EQ(walk_blobs(t.store, see, &some), 7);
	CHECK_EQ(some.n, 3);
	CHECK_EQ(walk_strays(t.store, count_stray, &strays), 0);
	CHECK_EQ(strays, 3);
}

TEST(damage_is_found_and_set_aside_under_names_of_its_own)
{
	struct digest hello = digest_of_hex(HELLO);
	struct scrub_result res, old;
	TMP_STORE(t);

	CHECK_EQ(scrub_blob(t.store, &hello, &res), -ENOENT);
	CHECK_EQ(tmp_store_put(&t, "blobs/sha256/" HELLO, "hello"), 0);
	CHECK_EQ(scrub_blob(t.store, &hello, &res), 0);
	CHECK_EQ(res.bytes, 5);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(tmp_store_put(&t, "blobs/sha256/" HELLO, "damaged"), 0);
		CHECK_EQ(scrub_blob(t.store, &hello, &res), -EBADMSG);
		CHECK(!digest_equal(&res.actual, &hello));
		CHECK_EQ(scrub_quarantine(t.store, &hello, &res), 0);
	}
	CHECK(tmp_store_has(&t, "quarantine/sha256/" HELLO));
	CHECK(tmp_store_has(&t, "quarantine/sha256/" HELLO ".1"));
	CHECK(tmp_store_has(&t, "quarantine/sha256/" HELLO ".2"));
	CHECK_EQ(scrub_quarantine(t.store, &hello, &res), -ENOENT);
	/* What has the name by now is another file. */
	old = res;
	CHECK_EQ(tmp_store_put(&t, "blobs/sha256/" HELLO, "hello"), 0);
	CHECK_EQ(scrub_quarantine(t.store, &hello, &old), -ENOENT);
	CHECK(blob_exists(t.store, &hello));
}

/* What somebody else does to the store just before the next renameat2(2). */
static struct tmp_store *meddle_with;

int __real_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned int flags);
int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned int flags);
int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned int flags)
{
	struct tmp_store *t = meddle_with;

	meddle_with = NULL;
	if (t != NULL && tmp_store_put(t, "blobs/sha256/new", "hello") == 0)
		(void)renameat(from_fd, "new", from_fd, from);
	return __real_renameat2(from_fd, from, to_fd, to, flags);
}

TEST(a_good_blob_that_takes_the_place_of_a_damaged_one_is_not_set_aside)
{
	struct digest hello = digest_of_hex(HELLO);
	struct scrub_result res;
	TMP_STORE(t);

	CHECK_EQ(tmp_store_put(&t, "blobs/sha256/" HELLO, "damaged"), 0);
	CHECK_EQ(scrub_blob(t.store, &hello, &res), -EBADMSG);
	meddle_with = &t;
	CHECK_EQ(scrub_quarantine(t.store, &hello, &res), -ENOENT);
	CHECK(meddle_with == NULL);
	CHECK_EQ(scrub_blob(t.store, &hello, &res), 0);
	CHECK(!tmp_store_has(&t, "quarantine/sha256/" HELLO));
	/* Nor one that was mended where it lies. */
	CHECK_EQ(tmp_store_put(&t, "blobs/sha256/" HELLO, "damaged"), 0);
	CHECK_EQ(scrub_blob(t.store, &hello, &res), -EBADMSG);
	CHECK_EQ(tmp_store_put(&t, "blobs/sha256/" HELLO, "hello"), 0);
	CHECK_EQ(scrub_quarantine(t.store, &hello, &res), -ENOENT);
	CHECK_EQ(scrub_blob(t.store, &hello, &res), 0);
}

TEST(the_table_of_active_ingests_is_sorted_and_escaped)
{
	cleanup_buf struct buf out;
	struct active_table a;

	buf_init(&out, 4096);
	active_table_init(&a, /* wide= */ true);
	CHECK_EQ(active_table_add(&a, "b", 0, 0, INT64_MAX, "idle"), 0);
	CHECK_EQ(active_table_add(&a, "a\n", 1500000, 3000000, INT64_MAX, "failed: x\ty"), 0);
	CHECK_EQ(active_table_print(&a, &out), 0);
	CHECK_STR(out.data, "REF\tSIZE\tTOTAL\tAGE\t\t\tSTATE\n"
			    "a\\x0a\t1.5 MB\t3 MB\tLess than a second\tfailed: x\\x09y\n"
			    "b\t0 B\t-\tLess than a second\tidle\n");
	active_table_done(&a);
	out.len = 0;
	active_table_init(&a, /* wide= */ false);
	CHECK_EQ(active_table_print(&a, &out), 0);
	CHECK_STR(out.data, "REF\tSIZE\tAGE\n");
	out.max = out.len;
	CHECK_EQ(active_table_print(&a, &out), -E2BIG);
	active_table_done(&a);
}

struct opener {
	const char *root;
	pthread_barrier_t *barrier;
	int r;
};

static void *open_at_once(void *arg)
{
	struct opener *o = arg;
	struct store *s = NULL;

	(void)pthread_barrier_wait(o->barrier);
	o->r = store_open(o->root, STORE_CREATE, &s, NULL);
	(void)store_close(s);
	return NULL;
}

TEST(two_that_make_one_store_at_once_both_have_it)
{
	TMP_STORE(t);

	for (int round = 0; round < 300; round++) {
		pthread_barrier_t barrier;
		struct opener openers[2];
		pthread_t threads[2];
		char root[sizeof(t.dir) + 16];

		(void)snprintf(root, sizeof(root), "%s/%d", t.dir, round);
		CHECK_EQ(pthread_barrier_init(&barrier, NULL, 2), 0);
		for (int i = 0; i < 2; i++) {
			openers[i] = (struct opener){root, &barrier, -EINVAL};
			CHECK_EQ(pthread_create(&threads[i], NULL, open_at_once, &openers[i]), 0);
		}
		for (int i = 0; i < 2; i++) {
			CHECK_EQ(pthread_join(threads[i], NULL), 0);
			CHECK_EQ(openers[i].r, 0);
		}
		(void)pthread_barrier_destroy(&barrier);
	}
}

TEST_MAIN()
