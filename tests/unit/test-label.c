#include "store/label.h"

#include <errno.h>
#include <pthread.h>

#include "base/buf.h"
#include "base/fd.h"
#include "lib/test.h"
#include "lib/tmp_store.h"
#include "store/blob.h"
#include "store/ingest.h"
#include "store/store_cleanup.h"

static struct digest digest(uint8_t fill)
{
	struct digest d;

	memset(d.bytes, fill, DIGEST_BYTES);
	return d;
}

static int put_label(struct tmp_store *t, const struct digest *d, const char *text)
{
	char path[DIGEST_HEX_LEN + 32] = "labels/sha256/";

	(void)mkdirat(store_root_fd(t->store), "labels", 0755);
	(void)mkdirat(store_root_fd(t->store), "labels/sha256", 0755);
	digest_hex(d, path + strlen(path));
	return tmp_store_put(t, path, text);
}

static int label_text(struct tmp_store *t, const struct digest *d, struct buf *out)
{
	char path[DIGEST_HEX_LEN + 32] = "labels/sha256/";

	digest_hex(d, path + strlen(path));
	return fd_read_file(store_root_fd(t->store), path, out);
}

static int ingest(struct store *s, const char *text, unsigned int flags, struct digest *ret)
{
	cleanup(ingest_closep) struct ingest *i = NULL;
	int r = ingest_open(s, "a ref", INGEST_CREATE | flags, &i, NULL);

	if (r == 0)
		r = ingest_write(i, text, strlen(text), 0);
	return r == 0 ? ingest_commit(i, ret, NULL) : r;
}

TEST(what_is_learnt_adds_up)
{
	struct digest d = digest(1);
	struct label l;
	TMP_STORE(t);

	CHECK(t.store != NULL);
	CHECK_EQ(label_read(t.store, &d, &l), -ENOENT);
	CHECK_EQ(label_learn(t.store, &d, NULL, NULL, 0, NULL), 0);
	CHECK_EQ(label_read(t.store, &d, &l), -ENOENT); /* nothing was told */
	CHECK_EQ(label_learn(t.store, &d, "a.example/x", NULL, 7, "fetch"), 0);
	CHECK_EQ(label_learn(t.store, &d, "b.example/y", "text/plain", 0, NULL), 0);
	CHECK_EQ(label_learn(t.store, &d, "a.example/x", NULL, 0, NULL), 0);
	CHECK_EQ(label_read(t.store, &d, &l), 0);
	CHECK_EQ(l.n_sources, 2);
	CHECK_STR(l.source[0], "a.example/x");
	CHECK_STR(l.source[1], "b.example/y");
	CHECK_STR(l.mediatype, "text/plain");
	CHECK_STR(l.origin, "fetch");
	CHECK_EQ(l.size, 7);
	CHECK_EQ(l.pin, LABEL_UNPINNED);
	CHECK_EQ(label_remove(t.store, &d), 0);
	CHECK_EQ(label_remove(t.store, &d), 0);
	CHECK_EQ(label_read(t.store, &d, &l), -ENOENT);
}

TEST(a_full_list_of_sources_forgets_its_oldest)
{
	struct digest d = digest(1);
	char name[32];
	struct label l;
	TMP_STORE(t);

	CHECK(t.store != NULL);
	for (int i = 0; i < LABEL_SOURCES_MAX + 1; i++) {
		(void)snprintf(name, sizeof(name), "host/%d", i);
		CHECK_EQ(label_learn(t.store, &d, name, NULL, 0, NULL), 0);
	}
	CHECK_EQ(label_read(t.store, &d, &l), 0);
	CHECK_EQ(l.n_sources, LABEL_SOURCES_MAX);
	CHECK_STR(l.source[0], "host/1");
	CHECK_STR(l.source[LABEL_SOURCES_MAX - 1], "host/16");
}

TEST(keys_of_other_makes_are_kept)
{
	struct digest d = digest(1);
	cleanup_buf struct buf text;
	struct label l;
	TMP_STORE(t);

	buf_init(&text, 4096);
	CHECK(t.store != NULL);
	CHECK_EQ(put_label(&t, &d, "{\"future\":{\"a\":[1]},\"origin\":\"fetch\",\"size\":3}"), 0);
	CHECK_EQ(label_set_pin(t.store, &d, LABEL_PINNED), 1);
	CHECK_EQ(label_learn(t.store, &d, "host/x", NULL, 0, NULL), 0);
	CHECK_EQ(label_text(&t, &d, &text), 0);
	CHECK(strstr(text.data, "\"future\":{\"a\":[1]}") != NULL);
	CHECK(strstr(text.data, "\"pinned\":\"yes\"") != NULL);
	CHECK_EQ(label_read(t.store, &d, &l), 0);
	CHECK_EQ(l.size, 3);
	CHECK_EQ(l.pin, LABEL_PINNED);
	CHECK_STR(l.source[0], "host/x");
}

TEST(a_garbled_label_says_nothing_and_is_written_anew)
{
	static const char *const texts[] = {"",	    "{",  "[]", "\"x\"", "{\"origin\":\"fetch\"",
					    "null", "\n", "7"};
	struct digest d = digest(1);
	struct label l;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		TMP_STORE(t);

		CHECK(t.store != NULL);
		CHECK_EQ(put_label(&t, &d, texts[i]), 0);
		CHECK_EQ(label_read(t.store, &d, &l), -ENOENT);
		CHECK_EQ(label_set_pin(t.store, &d, LABEL_PINNED_PART), 1);
		CHECK_EQ(label_read(t.store, &d, &l), 0);
		CHECK_EQ(l.pin, LABEL_PINNED_PART);
	}
}

TEST(a_label_too_large_to_be_read_is_an_error_and_stays)
{
	static char text[70000];
	struct digest d = digest(1);
	cleanup_buf struct buf after;
	struct label l;
	TMP_STORE(t);

	CHECK(t.store != NULL);
	(void)snprintf(text, sizeof(text), "{\"pinned\":\"yes\",\"future\":\"%066000d\"}", 1);
	CHECK_EQ(put_label(&t, &d, text), 0);
	CHECK_EQ(label_read(t.store, &d, &l), -E2BIG);
	label_init(&l);
	CHECK_EQ(label_write(t.store, &d, &l), -E2BIG);
	CHECK_EQ(label_learn(t.store, &d, "host/x", NULL, 7, NULL), -E2BIG);
	CHECK_EQ(label_set_pin(t.store, &d, LABEL_UNPINNED), -E2BIG);
	CHECK_EQ(label_claim(t.store, &d), 0); /* nobody evicts it as it is */
	buf_init(&after, sizeof(text));
	CHECK_EQ(label_text(&t, &d, &after), 0);
	CHECK_STR(after.data, text);
}

TEST(members_of_the_wrong_type_say_nothing_but_a_pin_that_is_not_understood_pins)
{
	struct digest d = digest(1);
	struct label l;
	TMP_STORE(t);

	CHECK(t.store != NULL);
	CHECK_EQ(put_label(&t, &d,
			   "{\"source\":\"x\",\"mediatype\":7,\"origin\":[],\"size\":-1,"
			   "\"pinned\":true}"),
		 0);
	CHECK_EQ(label_read(t.store, &d, &l), 0);
	CHECK_EQ(l.n_sources, 0);
	CHECK_STR(l.mediatype, "");
	CHECK_STR(l.origin, "");
	CHECK_EQ(l.size, 0);
	CHECK_EQ(l.pin, LABEL_PINNED);
}

TEST(a_pin_is_set_and_taken_back)
{
	struct digest d = digest(1);
	struct label l;
	TMP_STORE(t);

	CHECK(t.store != NULL);
	CHECK_EQ(label_set_pin(t.store, &d, LABEL_UNPINNED), 0);
	CHECK_EQ(label_set_pin(t.store, &d, LABEL_PINNED), 1);
	CHECK_EQ(label_set_pin(t.store, &d, LABEL_PINNED), 0);
	CHECK_EQ(label_set_pin(t.store, &d, LABEL_UNPINNED), 1);
	CHECK_EQ(label_read(t.store, &d, &l), 0);
	CHECK_EQ(l.pin, LABEL_UNPINNED);
}

TEST(what_is_ingested_by_hand_stays_so)
{
	struct digest d;
	struct label l;
	TMP_STORE(t);

	CHECK(t.store != NULL);
	CHECK_EQ(ingest(t.store, "hello", INGEST_FETCHED, &d), 0);
	CHECK_EQ(label_read(t.store, &d, &l), -ENOENT); /* whoever fetched it says so */
	CHECK_EQ(label_learn(t.store, &d, "host/x", NULL, 5, "fetch"), 0);
	CHECK_EQ(ingest(t.store, "hello", 0, &d), 0);
	CHECK_EQ(label_read(t.store, &d, &l), 0);
	CHECK_STR(l.origin, "ingest");
	CHECK_EQ(l.n_sources, 1);
	CHECK_EQ(label_learn(t.store, &d, "host/y", NULL, 5, "fetch"), 0);
	CHECK_EQ(label_read(t.store, &d, &l), 0);
	CHECK_STR(l.origin, "ingest");
	CHECK_EQ(l.n_sources, 2);
}

TEST(a_claim_fails_only_where_it_is_needed)
{
	struct digest d;
	TMP_STORE(t);

	/* A file where the directory of labels should be: nothing can be written there. */
	CHECK(t.store != NULL);
	CHECK_EQ(tmp_store_put(&t, "labels", "x"), 0);
	CHECK_EQ(ingest(t.store, "hello", 0, &d), 0);
	CHECK(blob_exists(t.store, &d));
}

static int count(void *arg, const struct digest *d, const struct label *l)
{
	(void)d;
	*(int *)arg += l->pin == LABEL_PINNED;
	return 0;
}

TEST(a_walk_sees_every_label_and_nothing_else)
{
	TMP_STORE(t);
	int n = 0;

	CHECK(t.store != NULL);
	CHECK_EQ(label_walk(t.store, count, &n), 0);
	for (uint8_t i = 0; i < 5; i++) {
		struct digest d = digest(i);

		CHECK_EQ(label_set_pin(t.store, &d, LABEL_PINNED), 1);
	}
	CHECK_EQ(tmp_store_put(&t, "labels/sha256/.x.tmp", "{\"pinned\":\"yes\"}"), 0);
	CHECK_EQ(label_walk(t.store, count, &n), 0);
	CHECK_EQ(n, 5);
}

struct writer {
	pthread_t thread;
	struct store *store;
	int no, result;
};

static void *learn_many(void *arg)
{
	struct digest d = digest(9);
	struct writer *w = arg;
	char name[32];

	(void)snprintf(name, sizeof(name), "host/%d", w->no);
	for (uint64_t size = 1; size <= 50 && w->result == 0; size++)
		w->result = label_learn(w->store, &d, name, NULL, size, NULL);
	return NULL;
}

TEST(no_change_gets_lost_among_writers)
{
	struct writer w[4] = {{0}};
	struct digest d = digest(9);
	struct label l;
	TMP_STORE(t);

	CHECK(t.store != NULL);
	for (int i = 0; i < 4; i++) {
		w[i].store = t.store;
		w[i].no = i;
		CHECK_EQ(pthread_create(&w[i].thread, NULL, learn_many, &w[i]), 0);
	}
	CHECK_EQ(label_set_pin(t.store, &d, LABEL_PINNED), 1);
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(pthread_join(w[i].thread, NULL), 0);
		CHECK_EQ(w[i].result, 0);
	}
	CHECK_EQ(label_read(t.store, &d, &l), 0);
	CHECK_EQ(l.n_sources, 4);
	CHECK_EQ(l.pin, LABEL_PINNED);
}

TEST_MAIN()
