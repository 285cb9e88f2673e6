#include "store/image_index.h"

#include <errno.h>
#include <pthread.h>

#include "base/buf.h"
#include "base/fd.h"
#include "lib/test.h"
#include "lib/tmp_store.h"

static struct image_entry entry(const char *name, uint8_t fill)
{
	struct image_entry e = {.size = fill};

	(void)snprintf(e.name, sizeof(e.name), "%.*s", IMAGE_NAME_MAX - 1, name);
	(void)snprintf(e.mediatype, sizeof(e.mediatype), "application/x");
	memset(e.digest.bytes, fill, DIGEST_BYTES);
	return e;
}

static int set(struct tmp_store *t, const char *name, uint8_t fill)
{
	struct image_entry e = entry(name, fill);

	return image_index_set(t->store, &e, NULL);
}

/* The first byte of the digest that name stands for, or the error. */
static int get(struct tmp_store *t, const char *name)
{
	struct image_entry e;
	int r = image_index_get(t->store, name, &e, NULL);

	return r < 0 ? r : e.digest.bytes[0];
}

static int count(void *arg, const struct image_entry *e)
{
	int *n = arg;

	(void)e;
	(*n)++;
	return 0;
}

TEST(a_name_stands_for_what_it_was_set_to_last)
{
	TMP_STORE(t);
	int n = 0;

	CHECK(t.store != NULL);
	CHECK_EQ(get(&t, "docker.io/library/redis:6"), -ENOENT);
	CHECK_EQ(image_index_remove(t.store, "a", NULL), -ENOENT);
	CHECK_EQ(set(&t, "docker.io/library/redis:6", 1), 0);
	CHECK_EQ(set(&t, "b", 2), 0);
	CHECK_EQ(get(&t, "docker.io/library/redis:6"), 1);
	CHECK_EQ(set(&t, "docker.io/library/redis:6", 3), 0);
	CHECK_EQ(get(&t, "docker.io/library/redis:6"), 3);
	CHECK_EQ(image_index_walk(t.store, count, &n, NULL), 0);
	CHECK_EQ(n, 2);
	CHECK_EQ(image_index_remove(t.store, "docker.io/library/redis:6", NULL), 0);
	CHECK_EQ(get(&t, "docker.io/library/redis:6"), -ENOENT);
	CHECK_EQ(get(&t, "b"), 2);
	CHECK(tmp_store_has(&t, "oci-layout"));
}

TEST(what_is_no_name_is_refused)
{
	TMP_STORE(t);
	static char huge[IMAGE_NAME_MAX + 1];

	memset(huge, 'a', IMAGE_NAME_MAX);
	CHECK_EQ(set(&t, "", 1), -EINVAL);
	CHECK_EQ(set(&t, "a b", 1), -EINVAL);
	CHECK_EQ(set(&t, "a\n", 1), -EINVAL);
	CHECK_EQ(set(&t, "\xff", 1), -EINVAL);
	CHECK_EQ(image_index_remove(t.store, "", NULL), -ENOENT);
	CHECK(!tmp_store_has(&t, "index.json"));
	huge[IMAGE_NAME_MAX - 1] = '\0';
	CHECK_EQ(set(&t, huge, 1), 0);
}

static void read_index(struct tmp_store *t, struct buf *b)
{
	buf_init(b, 1 << 20);
	(void)fd_read_file(store_root_fd(t->store), "index.json", b);
}

#define FOREIGN                                                                                  \
	"{\"schemaVersion\":2,\"x\":[1.5,\"\\u0000\"],\"manifests\":[{\"digest\":\"sha512:abc\"" \
	",\"annotations\":{\"" REF "\":\"theirs\"},\"y\":{}},7],\"z\":null}"
#define REF "org.opencontainers.image.ref.name"

TEST(what_others_wrote_is_kept_as_it_is)
{
	TMP_STORE(t);
	cleanup_buf struct buf b;
	struct image_entry e;

	CHECK_EQ(tmp_store_put(&t, "index.json", FOREIGN), 0);
	CHECK_EQ(get(&t, "theirs"), -ENOENT);
	CHECK_EQ(set(&t, "ours", 1), 0);
	CHECK_EQ(get(&t, "ours"), 1);
	CHECK_EQ(image_index_remove(t.store, "ours", NULL), 0);
	read_index(&t, &b);
	CHECK_STR(b.data, FOREIGN);
	CHECK_EQ(image_index_get(t.store, "", &e, NULL), -ENOENT);
}

TEST(a_damaged_index_is_told_and_left_alone)
{
	static const char *const table[] = {"", "{", "[]", "{}", "{\"manifests\":{}}"};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		TMP_STORE(t);
		cleanup_buf struct buf b;

		CHECK_EQ(tmp_store_put(&t, "index.json", table[i]), 0);
		CHECK_EQ(get(&t, "a"), -EBADMSG);
		CHECK_EQ(set(&t, "a", 1), -EBADMSG);
		CHECK_EQ(image_index_remove(t.store, "a", NULL), -EBADMSG);
		read_index(&t, &b);
		CHECK_STR(b.data, table[i]);
	}
}

TEST(several_entries_of_one_name_become_one)
{
	TMP_STORE(t);
	int n = 0;

#define ENTRY                                                                                     \
	"{\"digest\":\"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\"" \
	",\"size\":5,\"annotations\":{\"" REF "\":\"a\"}}"
	CHECK_EQ(tmp_store_put(&t, "index.json", "{\"manifests\":[" ENTRY "," ENTRY "]}"), 0);
	CHECK_EQ(get(&t, "a"), 0x2c);
	CHECK_EQ(set(&t, "a", 1), 0);
	CHECK_EQ(image_index_walk(t.store, count, &n, NULL), 0);
	CHECK_EQ(n, 1);
	CHECK_EQ(get(&t, "a"), 1);
}

TEST(setting_what_is_set_writes_nothing)
{
	TMP_STORE(t);
	struct stat before, after;

	CHECK_EQ(set(&t, "a", 1), 0);
	CHECK_EQ(fstatat(store_root_fd(t.store), "index.json", &before, 0), 0);
	CHECK_EQ(set(&t, "a", 1), 0);
	CHECK_EQ(fstatat(store_root_fd(t.store), "index.json", &after, 0), 0);
	CHECK_EQ(before.st_ino, after.st_ino);
	CHECK_EQ(tmp_store_put(&t, ".index.json.1.0.tmp", "killed here"), 0);
	CHECK_EQ(set(&t, "a", 2), 0);
	CHECK(!tmp_store_has(&t, ".index.json.1.0.tmp"));
	CHECK_EQ(fstatat(store_root_fd(t.store), "index.json", &after, 0), 0);
	CHECK(before.st_ino != after.st_ino);
}

enum { N_THREADS = 4, N_EACH = 16 };

struct writer {
	struct tmp_store *t;
	int number, failures;
};

static void *write_many(void *arg)
{
	struct writer *w = arg;
	char name[32];

	for (int i = 0; i < N_EACH; i++) {
		(void)snprintf(name, sizeof(name), "t%d-%d", w->number, i);
		w->failures += set(w->t, name, (uint8_t)w->number) != 0;
	}
	return NULL;
}

TEST(concurrent_writers_lose_nothing)
{
	TMP_STORE(t);
	struct writer w[N_THREADS];
	pthread_t threads[N_THREADS];
	int n = 0, failures = 0;

	for (int i = 0; i < N_THREADS; i++) {
		w[i] = (struct writer){.t = &t, .number = i + 1};
		CHECK_EQ(pthread_create(&threads[i], NULL, write_many, &w[i]), 0);
	}
	for (int i = 0; i < N_THREADS; i++) {
		(void)pthread_join(threads[i], NULL);
		failures += w[i].failures;
	}
	CHECK_EQ(failures, 0);
	CHECK_EQ(image_index_walk(t.store, count, &n, NULL), 0);
	CHECK_EQ(n, N_THREADS * N_EACH);
}

TEST_MAIN()
