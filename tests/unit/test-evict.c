#include "store/evict.h"

#include <errno.h>
#include <stdbool.h>
#include <time.h>

#include "base/clock.h"
#include "base/fd.h"
#include "lib/test.h"
#include "lib/tmp_store.h"
#include "store/blob.h"
#include "store/evict_memo.h"
#include "store/scrub.h"
#include "store/store_cleanup.h"

#define GRACE_NS (60ULL * 1000000000)
#define HOUR_S 3600

/* A blob of n bytes, all the same, last used age_s ago; no label. */
static int put_blob(struct tmp_store *t, char byte, size_t n, long age_s, struct digest *ret)
{
	char path[DIGEST_HEX_LEN + 32] = "blobs/sha256/", bytes[1024];
	struct timespec when[2] = {{.tv_sec = clock_wall_ns() / 1000000000 - age_s}};
	int r;

	memset(bytes, byte, n);
	bytes[n] = '\0';
	r = digest_of(bytes, n, ret);
	digest_hex(ret, path + strlen(path));
	if (r == 0)
		r = tmp_store_put(t, path, bytes);
	when[1] = when[0];
	return r < 0 ? r : utimensat(store_root_fd(t->store), path, when, 0);
}

static int put_fetched(struct tmp_store *t, char byte, size_t n, long age_s, struct digest *ret)
{
	int r = put_blob(t, byte, n, age_s, ret);

	return r < 0 ? r : label_learn(t->store, ret, "host/x", NULL, 0, LABEL_ORIGIN_FETCH);
}

/* What went, by its first byte. */
struct trace {
	struct digest evicted[64];
	size_t n;
	const char *keep;      /* a media type */
	unsigned int n_labels; /* asked about */
};

static void note(void *arg, const struct digest *d, uint64_t size)
{
	struct trace *x = arg;

	(void)size;
	if (x->n < sizeof(x->evicted) / sizeof(x->evicted[0]))
		x->evicted[x->n] = *d;
	x->n++;
}

static bool is_kept(void *arg, const struct label *l)
{
	struct trace *x = arg;

	x->n_labels++;
	return x->keep != NULL && strcmp(l->mediatype, x->keep) == 0;
}

CLEANUP_DEFINE(struct evict *, evict_free);
/* NOLINTNEXTLINE(bugprone-macro-parentheses): e is declared here */
#define EVICT(e) cleanup(evict_freep) struct evict *e = NULL

static int make_evict(struct tmp_store *t, struct trace *x, struct evict **ret)
{
	const struct evict_config c = {.store = t->store,
				       .grace_ns = GRACE_NS,
				       .keeps = is_kept,
				       .evicted = note,
				       .arg = x};

	return evict_new(&c, ret);
}

static int down_to(struct evict *e, uint64_t bytes, struct evict_result *ret)
{
	struct evict_goal g = {.limit_bytes = bytes, .low_bytes = bytes};

	return evict_run(e, &g, ret);
}

TEST(the_least_recently_used_go_first_and_no_more_than_needed)
{
	static const long ages_h[] = {3, 9, 1, 7, 5};
	struct digest d[5];
	struct evict_result r;
	struct trace x = {0};
	EVICT(e);
	TMP_STORE(t);

	CHECK(t.store != NULL);
	for (int i = 0; i < 5; i++)
		CHECK_EQ(put_fetched(&t, (char)('a' + i), 100, ages_h[i] * HOUR_S, &d[i]), 0);
	CHECK_EQ(make_evict(&t, &x, &e), 0);
	CHECK_EQ(down_to(e, 500, &r), 0);
	CHECK_EQ(x.n, 0);
	CHECK_EQ(r.cache_bytes, 500);
	CHECK_EQ(r.cache_blobs, 5);
	CHECK_EQ(down_to(e, 250, &r), 0);
	CHECK_EQ(x.n, 3);
	CHECK(digest_equal(&x.evicted[0], &d[1]));
	CHECK(digest_equal(&x.evicted[1], &d[3]));
	CHECK(digest_equal(&x.evicted[2], &d[4]));
	CHECK_EQ(r.cache_bytes, 200);
	CHECK_EQ(r.evicted_bytes, 300);
	CHECK_EQ(r.evicted_blobs, 3);
	CHECK(!r.short_of_goal);
	CHECK(blob_exists(t.store, &d[0]) && blob_exists(t.store, &d[2]));
	CHECK(!blob_exists(t.store, &d[1]));
}

TEST(a_limit_that_was_passed_is_left_by_a_margin)
{
	struct evict_goal g = {.limit_bytes = 450, .low_bytes = 300};
	struct evict_result r;
	struct trace x = {0};
	struct digest d;
	EVICT(e);
	TMP_STORE(t);

	CHECK(t.store != NULL);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(put_fetched(&t, (char)('a' + i), 100, HOUR_S + i, &d), 0);
	CHECK_EQ(make_evict(&t, &x, &e), 0);
	CHECK_EQ(evict_run(e, &g, &r), 0);
	CHECK_EQ(r.evicted_blobs, 0);
	CHECK_EQ(put_fetched(&t, 'z', 100, HOUR_S, &d), 0);
	CHECK_EQ(evict_run(e, &g, &r), 0);
	CHECK_EQ(r.cache_bytes, 300);
}

TEST(what_is_coming_counts_as_if_it_were_here)
{
	struct evict_goal g = {.limit_bytes = 450, .low_bytes = 400, .coming_bytes = 200};
	struct evict_result r;
	struct trace x = {0};
	struct digest d;
	EVICT(e);
	TMP_STORE(t);

	CHECK(t.store != NULL);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(put_fetched(&t, (char)('a' + i), 100, HOUR_S + i, &d), 0);
	CHECK_EQ(make_evict(&t, &x, &e), 0);
	CHECK_EQ(evict_run(e, &g, &r), 0);
	CHECK_EQ(r.cache_bytes, 200);
	/* More than the limit: all may go for it, and that is not enough, but no error. */
	g.coming_bytes = 100000;
	CHECK_EQ(evict_run(e, &g, &r), 0);
	CHECK_EQ(r.cache_bytes, 0);
	CHECK(!r.short_of_goal);
}

TEST(a_full_disk_evicts_below_the_limit)
{
	struct evict_goal g = {.limit_bytes = 1000, .low_bytes = 900, .at_least_bytes = 150};
	struct evict_result r;
	struct trace x = {0};
	struct digest d;
	EVICT(e);
	TMP_STORE(t);

	CHECK(t.store != NULL);
	for (int i = 0; i < 4; i++)
		CHECK_EQ(put_fetched(&t, (char)('a' + i), 100, HOUR_S + i, &d), 0);
	CHECK_EQ(make_evict(&t, &x, &e), 0);
	CHECK_EQ(evict_run(e, &g, &r), 0);
	CHECK_EQ(r.evicted_bytes, 200);
	g.at_least_bytes = UINT64_MAX;
	CHECK_EQ(evict_run(e, &g, &r), 0);
	CHECK_EQ(r.cache_bytes, 0);
}

TEST(only_what_a_source_can_give_again_goes)
{
	struct digest by_hand, unlabelled, no_source, odd, kept, pinned, part, fetched;
	struct evict_result r;
	struct trace x = {.keep = "application/x-manifest"};
	EVICT(e);
	TMP_STORE(t);

	CHECK(t.store != NULL);
	CHECK_EQ(put_fetched(&t, 'a', 100, HOUR_S, &by_hand), 0);
	CHECK_EQ(label_claim(t.store, &by_hand), 0);
	CHECK_EQ(put_blob(&t, 'b', 100, HOUR_S, &unlabelled), 0);
	CHECK_EQ(put_blob(&t, 'c', 100, HOUR_S, &no_source), 0);
	CHECK_EQ(label_learn(t.store, &no_source, NULL, NULL, 0, "fetch"), 0);
	CHECK_EQ(put_blob(&t, 'd', 100, HOUR_S, &odd), 0);
	CHECK_EQ(label_learn(t.store, &odd, "host/x", NULL, 0, "rsync"), 0);
	CHECK_EQ(put_fetched(&t, 'e', 100, HOUR_S, &kept), 0);
	CHECK_EQ(label_learn(t.store, &kept, NULL, "application/x-manifest", 0, NULL), 0);
	CHECK_EQ(put_fetched(&t, 'f', 100, HOUR_S, &pinned), 0);
	CHECK_EQ(label_set_pin(t.store, &pinned, LABEL_PINNED), 1);
	CHECK_EQ(put_fetched(&t, 'g', 100, HOUR_S, &part), 0);
	CHECK_EQ(label_set_pin(t.store, &part, LABEL_PINNED_PART), 1);
	CHECK_EQ(put_fetched(&t, 'h', 100, HOUR_S, &fetched), 0);
	CHECK_EQ(make_evict(&t, &x, &e), 0);
	CHECK_EQ(down_to(e, 0, &r), 0);
	CHECK_EQ(r.evicted_blobs, 1);
	CHECK(digest_equal(&x.evicted[0], &fetched));
	CHECK_EQ(r.cache_bytes, 0); /* the others are no cache */
	CHECK(!r.short_of_goal);
	CHECK_EQ(label_set_pin(t.store, &pinned, LABEL_UNPINNED), 1);
	CHECK_EQ(down_to(e, 0, &r), 0);
	CHECK_EQ(r.evicted_blobs, 1);
	CHECK(!blob_exists(t.store, &pinned));
}

TEST(what_was_just_used_or_is_open_stays_and_the_run_says_so)
{
	struct digest young, open, touched, old;
	cleanup_fd int fd = -1;
	struct evict_result r;
	struct trace x = {0};
	EVICT(e);
	TMP_STORE(t);

	CHECK(t.store != NULL);
	CHECK_EQ(put_fetched(&t, 'a', 100, 10, &young), 0);
	CHECK_EQ(put_fetched(&t, 'b', 100, 3 * HOUR_S, &open), 0);
	CHECK_EQ(put_fetched(&t, 'c', 100, 4 * HOUR_S, &touched), 0);
	CHECK_EQ(put_fetched(&t, 'd', 100, 2 * HOUR_S, &old), 0);
	fd = blob_open(t.store, &open);
	CHECK(fd >= 0);
	blob_used(t.store, &touched);
	CHECK_EQ(make_evict(&t, &x, &e), 0);
	CHECK_EQ(down_to(e, 0, &r), 0);
	CHECK_EQ(x.n, 1);
	CHECK(digest_equal(&x.evicted[0], &old));
	CHECK_EQ(r.cache_bytes, 300);
	CHECK(r.short_of_goal);
	CHECK(r.again_ns > 30ULL * 1000000000 && r.again_ns <= 50ULL * 1000000000);
	cleanup_closep(&fd);
	fd = -1;
	CHECK_EQ(down_to(e, 0, &r), 0);
	CHECK_EQ(x.n, 2);
	CHECK(digest_equal(&x.evicted[1], &open));
}

TEST(a_date_in_the_future_does_not_keep_a_blob_for_ever)
{
	struct evict_result r;
	struct trace x = {0};
	struct digest d;
	EVICT(e);
	TMP_STORE(t);

	CHECK(t.store != NULL);
	CHECK_EQ(put_fetched(&t, 'a', 100, -100L * HOUR_S, &d), 0);
	CHECK_EQ(make_evict(&t, &x, &e), 0);
	CHECK_EQ(down_to(e, 0, &r), 0);
	CHECK_EQ(r.evicted_blobs, 1);
}

TEST(what_was_evicted_stays_known_by_size_and_source)
{
	struct evict_result r;
	struct trace x = {0};
	struct digest d;
	struct label l;
	EVICT(e);
	TMP_STORE(t);

	CHECK(t.store != NULL);
	CHECK_EQ(put_fetched(&t, 'a', 77, HOUR_S, &d), 0);
	CHECK_EQ(make_evict(&t, &x, &e), 0);
	CHECK_EQ(down_to(e, 0, &r), 0);
	CHECK(!blob_exists(t.store, &d));
	CHECK_EQ(label_read(t.store, &d, &l), 0);
	CHECK_EQ(l.size, 77);
	CHECK_STR(l.source[0], "host/x");
}

TEST(a_dry_run_tells_the_same_and_removes_nothing)
{
	struct digest d[3];
	struct evict_goal g = {.limit_bytes = 150, .low_bytes = 150, .dry_run = true};
	cleanup(store_closep) struct store *ro = NULL;
	struct evict_result r;
	struct trace x = {0};
	char root[80];
	EVICT(e);
	TMP_STORE(t);

	CHECK(t.store != NULL);
	for (int i = 0; i < 3; i++)
		CHECK_EQ(put_fetched(&t, (char)('a' + i), 100, HOUR_S + i, &d[i]), 0);
	(void)snprintf(root, sizeof(root), "%s/root", t.dir);
	CHECK_EQ(store_open(root, STORE_RDONLY, &ro, NULL), 0);
	CHECK_EQ(evict_new(&(struct evict_config){.store = ro, .evicted = note, .arg = &x}, &e), 0);
	CHECK_EQ(evict_run(e, &g, &r), 0);
	CHECK_EQ(r.evicted_blobs, 2);
	CHECK(digest_equal(&x.evicted[0], &d[2]));
	CHECK(blob_exists(t.store, &d[2]));
	g.dry_run = false;
	CHECK_EQ(evict_run(e, &g, &r), -EROFS);
}

TEST(more_blobs_than_are_kept_in_memory_at_once_all_get_their_turn)
{
	struct evict_result r;
	struct trace x = {0};
	struct digest d, last = {{0}};
	char text[16];
	EVICT(e);
	TMP_STORE(t);

	CHECK(t.store != NULL);
	CHECK_EQ(mkdirat(store_root_fd(t.store), "labels", 0755), 0);
	CHECK_EQ(mkdirat(store_root_fd(t.store), "labels/sha256", 0755), 0);
	for (int i = 0; i < 1100; i++) {
		char path[DIGEST_HEX_LEN + 32] = "blobs/sha256/";
		char label[DIGEST_HEX_LEN + 32] = "labels/sha256/";
		struct timespec when[2] = {{.tv_sec = 1000000 + i}, {.tv_sec = 1000000 + i}};

		(void)snprintf(text, sizeof(text), "%010d", i);
		CHECK_EQ(digest_of(text, 10, &d), 0);
		digest_hex(&d, path + strlen(path));
		CHECK_EQ(tmp_store_put(&t, path, text), 0);
		CHECK_EQ(utimensat(store_root_fd(t.store), path, when, 0), 0);
		digest_hex(&d, label + strlen(label));
		CHECK_EQ(tmp_store_put(&t, label,
				       "{\"source\":[\"host/x\"],\"size\":10,"
				       "\"origin\":\"fetch\"}"),
			 0);
		last = d;
	}
	CHECK_EQ(make_evict(&t, &x, &e), 0);
	CHECK_EQ(down_to(e, 11000, &r), 0);
	CHECK_EQ(x.n_labels, 1100); /* each label was read once ... */
	CHECK_EQ(down_to(e, 11000, &r), 0);
	CHECK_EQ(x.n_labels, 1100); /* ... and not again */
	CHECK_EQ(down_to(e, 10, &r), 0);
	CHECK_EQ(r.evicted_blobs, 1099);
	CHECK_EQ(r.cache_blobs, 1);
	CHECK(blob_exists(t.store, &last));
}

TEST(an_empty_store_and_one_without_labels_are_fine)
{
	struct evict_result r;
	struct trace x = {0};
	struct digest d;
	EVICT(e);
	TMP_STORE(t);

	CHECK(t.store != NULL);
	CHECK_EQ(make_evict(&t, &x, &e), 0);
	CHECK_EQ(down_to(e, 0, &r), 0);
	CHECK_EQ(put_blob(&t, 'a', 100, HOUR_S, &d), 0);
	CHECK_EQ(down_to(e, 0, &r), 0);
	CHECK_EQ(r.cache_bytes, 0);
	CHECK(blob_exists(t.store, &d));
	CHECK(evict_free(NULL) == NULL);
}

/* What pulls the blob from under us, as another process would: between the look and the removal. */
static bool claim_it(void *arg, const struct label *l)
{
	struct {
		struct store *store;
		struct digest digest;
		bool done;
	} *x = arg;

	(void)l;
	if (!x->done) {
		x->done = true;
		(void)label_claim(x->store, &x->digest);
	}
	return false;
}

TEST(a_blob_that_is_claimed_after_the_look_stays)
{
	struct {
		struct store *store;
		struct digest digest;
		bool done;
	} x = {0};
	struct evict_config c = {.keeps = claim_it, .arg = &x};
	struct evict_result r;
	EVICT(e);
	TMP_STORE(t);

	CHECK(t.store != NULL);
	CHECK_EQ(put_fetched(&t, 'a', 100, HOUR_S, &x.digest), 0);
	x.store = c.store = t.store;
	CHECK_EQ(evict_new(&c, &e), 0);
	CHECK_EQ(down_to(e, 0, &r), 0);
	CHECK_EQ(r.evicted_blobs, 0);
	CHECK(r.short_of_goal);
	CHECK(blob_exists(t.store, &x.digest));
}

TEST(a_use_is_dated_and_a_scrub_is_none)
{
	struct scrub_result scrubbed;
	struct stat before, after;
	struct digest d;
	TMP_STORE(t);

	CHECK(t.store != NULL);
	CHECK_EQ(put_blob(&t, 'a', 100, 48 * HOUR_S, &d), 0);
	CHECK_EQ(blob_stat(t.store, &d, &before), 0);
	CHECK_EQ(scrub_blob(t.store, &d, &scrubbed), 0);
	CHECK_EQ(blob_stat(t.store, &d, &after), 0);
	CHECK_EQ(after.st_atim.tv_sec, before.st_atim.tv_sec);
	blob_used(t.store, &d);
	CHECK_EQ(blob_stat(t.store, &d, &after), 0);
	CHECK(after.st_atim.tv_sec >= before.st_atim.tv_sec + HOUR_S);
	CHECK_EQ(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
	before = after;
	blob_used(t.store, &d); /* a moment ago: not written again */
	CHECK_EQ(blob_stat(t.store, &d, &after), 0);
	CHECK_EQ(after.st_atim.tv_sec, before.st_atim.tv_sec);
	CHECK_EQ(after.st_atim.tv_nsec, before.st_atim.tv_nsec);
}

TEST(the_memo_knows_a_label_until_its_file_changes)
{
	struct evict_memo m = {0};
	struct stat st = {.st_ino = 5, .st_size = 1}, other = {.st_ino = 6, .st_size = 1};
	struct digest d = {{0}};

	CHECK_EQ(evict_memo_get(&m, &d, &st), -1);
	for (uint32_t i = 0; i < 20000; i++) {
		memcpy(d.bytes, &i, sizeof(i));
		evict_memo_put(&m, &d, &st, (i & 1) != 0);
	}
	CHECK_EQ(m.n_used, 20000);
	CHECK(m.n_slots * sizeof(*m.slots) <= 512 << 10);
	for (uint32_t i = 0; i < 20000; i++) {
		memcpy(d.bytes, &i, sizeof(i));
		CHECK_EQ(evict_memo_get(&m, &d, &st), i & 1);
		CHECK_EQ(evict_memo_get(&m, &d, &other), -1);
	}
	evict_memo_put(&m, &d, &other, false);
	CHECK_EQ(evict_memo_get(&m, &d, &other), 0);
	CHECK_EQ(evict_memo_get(&m, &d, &st), -1);
	CHECK_EQ(m.n_used, 20000);
	evict_memo_reset(&m);
	CHECK_EQ(evict_memo_get(&m, &d, &other), -1);
}

TEST_MAIN()
