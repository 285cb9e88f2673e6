/* What is left alone for long, and what no ref leads to. */
#include <errno.h>
#include <stdint.h>

#include "base/clock.h"
#include "lib/test.h"
#include "lib/tmp_store.h"
#include "store/ingest.h"
#include "store/leftovers.h"
#include "store/store_cleanup.h"

#define HEX "1111111111111111111111111111111111111111111111111111111111111111"

static int begin(struct tmp_store *t, const char *ref)
{
	struct ingest *i = NULL;
	int r = ingest_open(t->store, ref, INGEST_CREATE, &i, NULL);

	i = ingest_close(i);
	return r;
}

static int count_ref(void *arg, const struct ingest_status *st)
{
	(void)st;
	++*(int *)arg;
	return 0;
}

static int stop(void *arg, const struct ingest_status *st)
{
	(void)arg;
	(void)st;
	return 7;
}

static int count_name(void *arg, const char *name)
{
	(void)name;
	++*(int *)arg;
	return 0;
}

TEST(only_what_is_old_and_held_by_nobody_expires)
{
	cleanup(ingest_closep) struct ingest *held = NULL;
	int64_t later = clock_wall_ns() + 3600000000000;
	int n = 0, dry = 0;
	TMP_STORE(t);

	CHECK_EQ(begin(&t, "a"), 0);
	CHECK_EQ(begin(&t, "b"), 0);
	CHECK_EQ(ingest_open(t.store, "held", INGEST_CREATE, &held, NULL), 0);
	CHECK_EQ(ingest_expire(t.store, later - 7200000000000, false, count_ref, &n), 0);
	CHECK_EQ(n, 0);
	CHECK_EQ(ingest_expire(t.store, later, /* dry_run= */ true, count_ref, &dry), 0);
	CHECK_EQ(dry, 2);
	CHECK_EQ(ingest_expire(t.store, later, false, stop, NULL), 7);
	CHECK_EQ(ingest_expire(t.store, later, false, count_ref, &n), 0);
	CHECK_EQ(n, 2);
	n = 0;
	CHECK_EQ(ingest_walk(t.store, count_ref, &n), 0);
	CHECK_EQ(n, 1);
	CHECK_EQ(ingest_remove(t.store, "held", NULL), -EBUSY);
}

TEST(leftovers_are_swept_and_what_nobody_knows_stays)
{
	int64_t later = clock_wall_ns() + 3600000000000;
	int n = 0;
	TMP_STORE(t);

	CHECK_EQ(begin(&t, "good"), 0);
	CHECK_EQ(mkdirat(store_ingest_fd(t.store), HEX, 0755), 0); /* no ref */
	CHECK_EQ(mkdirat(store_ingest_fd(t.store), "." HEX ".123.4", 0755), 0);
	CHECK_EQ(tmp_store_put(&t, "ingest/." HEX ".123.4/data", "x"), 0);
	CHECK_EQ(mkdirat(store_ingest_fd(t.store), "somebody-s", 0755), 0);
	CHECK_EQ(mkdirat(store_ingest_fd(t.store), ".hidden", 0755), 0);
	CHECK_EQ(tmp_store_put(&t, "ingest/file", "x"), 0);
	CHECK_EQ(ingest_sweep(t.store, 0, false, count_name, &n), 0);
	CHECK_EQ(n, 0);
	CHECK_EQ(ingest_sweep(t.store, later, /* dry_run= */ true, count_name, &n), 0);
	CHECK_EQ(n, 2);
	CHECK(tmp_store_has(&t, "ingest/" HEX));
	CHECK_EQ(ingest_sweep(t.store, later, false, count_name, &n), 0);
	CHECK_EQ(n, 4);
	CHECK(!tmp_store_has(&t, "ingest/" HEX) && !tmp_store_has(&t, "ingest/." HEX ".123.4"));
	CHECK(tmp_store_has(&t, "ingest/somebody-s") && tmp_store_has(&t, "ingest/.hidden"));
	CHECK(tmp_store_has(&t, "ingest/file"));
	n = 0;
	CHECK_EQ(ingest_walk(t.store, count_ref, &n), 0);
	CHECK_EQ(n, 1);
}

static int put_old(struct tmp_store *t, const char *path)
{
	static const struct timespec long_ago[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

	if (tmp_store_put(t, path, "x") < 0)
		return -1;
	return utimensat(store_root_fd(t->store), path, long_ago, 0);
}

TEST(temporary_files_are_swept_once_they_are_old_and_nothing_that_looks_like_them)
{
	static const char *const swept[] = {".index.json.12.3.tmp", ".oci-layout.1.0.tmp",
					    "labels/.manifests.7.1.tmp",
					    "labels/sha256/." HEX ".123.124.tmp"};
	static const char *const kept[] = {"index.json",       ".lock.tmp",
					   ".a.1.2.tmp~",      "b.1.2.tmp",
					   ".c.1.x.tmp",       ".d..2.tmp",
					   ".e.2.tmp",	       ".1.2.tmp",
					   "labels/.lock",     ("labels/sha256/" HEX),
					   "blobs/.f.1.2.tmp", "quarantine/.g.1.2.tmp"};
	const size_t n_swept = sizeof(swept) / sizeof(swept[0]);
	int64_t now = clock_wall_ns();
	size_t n = 0;
	int told = 0;
	TMP_STORE(t);

	CHECK_EQ(leftovers_sweep(t.store, now, false, count_name, &told), 0); /* no labels yet */
	for (n = 0; n < 3; n++) {
		static const char *const dirs[] = {"labels", "labels/sha256", "quarantine"};

		CHECK_EQ(mkdirat(store_root_fd(t.store), dirs[n], 0755), 0);
	}
	for (n = 0; n < n_swept; n++)
		CHECK_EQ(put_old(&t, swept[n]), 0);
	for (n = 0; n < sizeof(kept) / sizeof(kept[0]); n++)
		CHECK_EQ(put_old(&t, kept[n]), 0);
	CHECK_EQ(tmp_store_put(&t, ".index.json.9.9.tmp", "x"), 0); /* being written */
	CHECK_EQ(leftovers_sweep(t.store, 0, false, count_name, &told), 0);
	CHECK_EQ(told, 0);
	CHECK_EQ(leftovers_sweep(t.store, now, /* dry_run= */ true, count_name, &told), 0);
	CHECK_EQ(told, n_swept);
	CHECK(tmp_store_has(&t, swept[0]));
	CHECK_EQ(leftovers_sweep(t.store, now + 3600000000000, false, count_name, &told), 0);
	CHECK_EQ(told, 2 * n_swept);
	for (n = 0; n < n_swept; n++)
		CHECK(!tmp_store_has(&t, swept[n]));
	for (n = 0; n < sizeof(kept) / sizeof(kept[0]); n++)
		CHECK(tmp_store_has(&t, kept[n]));
	CHECK(tmp_store_has(&t, ".index.json.9.9.tmp"));
}

/* Missing or garbled side files never wedge a ref. */
TEST(whatever_lies_in_an_ingest_s_directory_the_ref_can_be_written)
{
	static const char *const names[] = {"ref",	 "total",  "expected", "startedat",
					    "updatedat", "failed", "lock",     "data"};
	static const char *const texts[] = {"", "garbage", "\xff\n\n", NULL};
	/* sha256 of "x" */
	static const char *const dir =
		"ingest/2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";

	for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++) {
		for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
			struct ingest *in = NULL;
			struct digest d;
			char path[200];
			int r;
			TMP_STORE(t);

			CHECK_EQ(begin(&t, "x"), 0);
			(void)snprintf(path, sizeof(path), "%s/%s", dir, names[k]);
			CHECK(tmp_store_has(&t, dir));
			if (texts[i] != NULL)
				CHECK_EQ(tmp_store_put(&t, path, texts[i]), 0);
			else
				(void)unlinkat(store_root_fd(t.store), path, 0);
			r = ingest_open(t.store, "x", INGEST_CREATE | INGEST_TRUNCATE, &in, NULL);
			if (r == 0)
				r = ingest_write(in, "hello", 5, 0);
			if (r == 0)
				r = ingest_commit(in, &d, NULL);
			in = ingest_close(in);
			if (r < 0)
				TEST_FAIL("%s, text %zu: %d", names[k], i, r);
		}
	}
}

TEST_MAIN()
