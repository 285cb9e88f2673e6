/* fill: what readers of a blob that is not here get, through faults. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "fill/fill.h"
#include "fill/host_list.h"
#include "lib/fake_registry_client.h"
#include "lib/test.h"
#include "lib/tmp_store.h"
#include "store/blob.h"
#include "store/chunkmap.h"
#include "store/ingest.h"

#define SIZE (5 * CHUNK_BYTES + 12345)
#define REPO "team/app"
#define GOOD "good.test"
#define BAD "bad.test"

static unsigned char *bytes; /* SIZE of them */

/* A store, a registry and an engine between them. */
struct rig {
	struct tmp_store tmp;
	struct registry *net;
	struct fill *f;
	struct digest d;
};

static struct fill *new_engine(struct rig *g, enum fill_verify verify, uint64_t read_ms)
{
	struct fill_config c = {
		.store = g->tmp.store,
		.registry = g->net,
		.verify = verify,
		.read_ms = read_ms,
		.lookup_ms = 500,
	};
	struct fill *f = NULL;

	if (fill_new(&c, &f, NULL) < 0)
		abort();
	return f;
}

static void rig_close(struct rig *g)
{
	g->f = fill_free(g->f);
	g->net = registry_free(g->net);
	tmp_store_close(&g->tmp);
}

static void rig_open(struct rig *g, enum fill_verify verify, uint64_t read_ms)
{
	memset(g, 0, sizeof(*g));
	tmp_store_open(&g->tmp);
	if (bytes == NULL) {
		bytes = malloc(SIZE);
		for (size_t i = 0; i < SIZE; i++)
			bytes[i] = (unsigned char)((i * 2654435761U) >> 11);
	}
	if (g->tmp.store == NULL || registry_new(NULL, &g->net, NULL) < 0)
		abort();
	g->d = fake_put(g->net, REPO, bytes, SIZE, "application/octet-stream");
	g->f = new_engine(g, verify, read_ms);
}

#define RIG(g, verify, read_ms)          \
	cleanup(rig_close) struct rig g; \
	rig_open(&(g), verify, read_ms)

/* The engine is told what a manifest would tell. */
static void describe(struct fill *f, const struct digest *d, const char *host);

/* A question, and its answer. */
struct question {
	struct blob_wait wait;
	atomic_bool done;
	int result;
	struct err err;
};

static void answered(struct blob_wait *w, int r, const struct err *err)
{
	struct question *q = list_entry(w, struct question, wait);

	q->result = r;
	if (err != NULL)
		q->err = *err;
	atomic_store(&q->done, true);
}

static void ask(struct question *q, struct fill *f, const struct digest *d, uint64_t offset,
		uint64_t n)
{
	memset(q, 0, sizeof(*q));
	q->wait.done = answered;
	q->wait.fd = -1;
	fill_source(f)->ops->ensure(fill_source(f), d, offset, n, &q->wait);
}

static bool wait_until(const atomic_bool *what, uint64_t ms)
{
	uint64_t end = clock_mono_ms() + ms;

	while (!atomic_load(what)) {
		struct timespec t = {.tv_nsec = 1000000};

		if (clock_mono_ms() > end)
			return false;
		(void)nanosleep(&t, NULL);
	}
	return true;
}

#define WAIT(q) wait_until(&(q)->done, 20000)

/* Poll a condition for at most 20 s. */
#define EVENTUALLY(cond)                                           \
	do {                                                       \
		uint64_t end_ = clock_mono_ms() + 20000;           \
		while (!(cond) && clock_mono_ms() < end_) {        \
			struct timespec t_ = {.tv_nsec = 1000000}; \
			(void)nanosleep(&t_, NULL);                \
		}                                                  \
		CHECK(cond);                                       \
	} while (0)

static bool holds(int fd, uint64_t offset, uint64_t n)
{
	cleanup_free unsigned char *got = malloc(n);

	return fd_pread_full(fd, got, n, offset) == (ssize_t)n &&
	       memcmp(got, bytes + offset, n) == 0;
}

static bool take(struct question *q, uint64_t offset, uint64_t n)
{
	bool ok = q->result == 0 && holds(q->wait.fd, offset, n);

	if (q->result == 0)
		(void)close(q->wait.fd);
	return ok;
}

static struct fill_stats stats_of(struct fill *f)
{
	struct fill_stats s;

	fill_stats(f, &s);
	return s;
}

static int count_ingests(void *arg, const struct ingest_status *st)
{
	(void)st;
	++*(int *)arg;
	return 0;
}

static int ingests(struct rig *g)
{
	int n = 0;

	(void)ingest_walk(g->tmp.store, count_ingests, &n);
	return n;
}

static void describe(struct fill *f, const struct digest *d, const char *host)
{
	char source[128];
	struct fill_object o = {.digest = *d,
				.has_size = true,
				.size = SIZE,
				.source = source,
				.mediatype = "application/vnd.oci.image.layer.v1.tar"};
	struct fill_reader *r = NULL;

	(void)snprintf(source, sizeof(source), "%s/%s", host, REPO);
	if (fill_reader_open(f, &o, &r, NULL) < 0)
		abort();
	fill_reader_close(r);
}

TEST(sixty_four_readers_cause_one_fetch)
{
	RIG(g, FILL_VERIFY_STRICT, 20000);
	struct question q[64];

	describe(g.f, &g.d, GOOD);
	fake_fault(g.net, GOOD,
		   (struct fake_fault){.delay_us = 500}); /* one does not end at once */
	for (size_t i = 0; i < 64; i++)
		ask(&q[i], g.f, &g.d, i * 4096, 4096);
	for (size_t i = 0; i < 64; i++) {
		CHECK(WAIT(&q[i]));
		CHECK(take(&q[i], i * 4096, 4096));
	}
	EVENTUALLY(stats_of(g.f).active == 0);
	CHECK_EQ(fake_counter(g.net, &g.net->bytes), SIZE);
	CHECK_EQ(stats_of(g.f).completed, 1);
	CHECK(blob_exists(g.tmp.store, &g.d));
	CHECK_EQ(ingests(&g), 0);
	CHECK(g.net->most_at_once > 1);
}

TEST(a_reader_is_served_while_it_arrives_but_for_the_tail)
{
	RIG(g, FILL_VERIFY_AT_EOF, 20000);
	struct question first, tail, across;

	describe(g.f, &g.d, GOOD);
	fake_fault(g.net, GOOD, (struct fake_fault){.delay_us = 2000});
	ask(&tail, g.f, &g.d, SIZE - 10, 10);
	ask(&across, g.f, &g.d, SIZE - (64 << 10) - 1, 2);
	ask(&first, g.f, &g.d, 0, 4096);
	CHECK(WAIT(&first));
	CHECK(take(&first, 0, 4096));
	CHECK(fake_counter(g.net, &g.net->bytes) < SIZE);
	CHECK(!blob_exists(g.tmp.store, &g.d));
	CHECK(WAIT(&tail));
	CHECK(take(&tail, SIZE - 10, 10));
	CHECK_EQ(fake_counter(g.net, &g.net->bytes), SIZE);
	CHECK(WAIT(&across));
	CHECK(take(&across, SIZE - (64 << 10) - 1, 2));
}

TEST(connections_are_few_until_one_has_told_that_it_is_slow)
{
	RIG(g, FILL_VERIFY_STRICT, 20000);
	struct question q;

	describe(g.f, &g.d, GOOD);
	fake_fault(g.net, GOOD, (struct fake_fault){.stall = true});
	ask(&q, g.f, &g.d, 0, 1);
	EVENTUALLY(fake_counter(g.net, &g.net->requests) == 2);
	CHECK_EQ(fake_counter(g.net, &g.net->most_at_once), 2);
	/* A piece in 9 ms: told long before the first range ends. */
	fake_fault(g.net, GOOD, (struct fake_fault){.delay_us = 9000});
	EVENTUALLY(fake_counter(g.net, &g.net->most_at_once) > 2);
	CHECK(fake_counter(g.net, &g.net->bytes) < CHUNK_BYTES);
	fake_fault(g.net, GOOD, (struct fake_fault){.piece = 65536});
	CHECK(WAIT(&q));
	CHECK(take(&q, 0, 1));
}

TEST(what_a_reader_jumps_to_comes_first)
{
	RIG(g, FILL_VERIFY_AT_EOF, 20000);
	struct question far;

	describe(g.f, &g.d, GOOD);
	fake_fault(g.net, GOOD, (struct fake_fault){.delay_us = 3000});
	ask(&far, g.f, &g.d, 4 * CHUNK_BYTES + 5, 1000);
	CHECK(WAIT(&far));
	CHECK(take(&far, 4 * CHUNK_BYTES + 5, 1000));
	CHECK(fake_counter(g.net, &g.net->bytes) < CHUNK_BYTES);
}

TEST(strict_readers_see_no_wrong_byte_and_nothing_is_kept)
{
	RIG(g, FILL_VERIFY_STRICT, 20000);
	struct question q;
	struct blob_info info;

	describe(g.f, &g.d, BAD);
	fake_fault(g.net, BAD, (struct fake_fault){.wrong_at = 2 * CHUNK_BYTES + 7});
	ask(&q, g.f, &g.d, 0, 4096);
	CHECK(WAIT(&q));
	CHECK_EQ(q.result, -EBADMSG);
	CHECK(strstr(q.err.msg, "unexpected digest") != NULL);
	CHECK(strstr(q.err.msg, BAD) != NULL);
	EVENTUALLY(stats_of(g.f).active == 0);
	CHECK(!blob_exists(g.tmp.store, &g.d));
	CHECK_EQ(ingests(&g), 0);
	CHECK_EQ(fill_source(g.f)->ops->describe(fill_source(g.f), &g.d, &info), 0);
	CHECK(strstr(info.error, "unexpected digest") != NULL);
	CHECK_EQ(info.local, 0);
	/* The next one tries again. */
	fake_fault(g.net, BAD, (struct fake_fault){0});
	CHECK_EQ(fill_add_source(g.f, GOOD "/" REPO, NULL), 0);
	ask(&q, g.f, &g.d, 0, 4096);
	CHECK(WAIT(&q));
	CHECK(take(&q, 0, 4096));
}

TEST(a_good_host_makes_up_for_a_wrong_one)
{
	RIG(g, FILL_VERIFY_STRICT, 20000);
	struct question q;

	describe(g.f, &g.d, BAD);
	CHECK_EQ(fill_add_source(g.f, GOOD "/" REPO, NULL), 0);
	fake_fault(g.net, BAD, (struct fake_fault){.wrong_at = 1});
	ask(&q, g.f, &g.d, 0, 4096);
	CHECK(WAIT(&q));
	CHECK(take(&q, 0, 4096));
	CHECK_EQ(stats_of(g.f).mismatches, 1);
}

TEST(a_list_of_hosts_holds_each_once)
{
	char list[HOST_LIST_BYTES] = "", first[HOST_LIST_BYTES];

	host_list_add(list, "a:1");
	CHECK(!host_list_first(list, first));
	host_list_add(list, "a:11");
	host_list_add(list, "b");
	host_list_add(list, "a:1");
	CHECK_STR(list, "a:1 a:11 b");
	CHECK(host_list_first(list, first));
	CHECK_STR(first, "a:1");
	host_list_subtract(list, "b a:1 c");
	CHECK_STR(list, "a:11");
	host_list_subtract(list, list);
	CHECK_STR(list, "");
}

TEST(of_two_hosts_the_one_whose_bytes_are_right_is_found)
{
	for (int wrong = 0; wrong < 2; wrong++) {
		RIG(g, FILL_VERIFY_STRICT, 20000);
		const char *hosts[] = {"one.test", "two.test"};
		char source[64];
		struct question q;

		describe(g.f, &g.d, hosts[0]);
		(void)snprintf(source, sizeof(source), "%s/%s", hosts[1], REPO);
		CHECK_EQ(fill_add_source(g.f, source, NULL), 0);
		/* The first gives a part, the second the rest; one of them is wrong. */
		fake_fault(g.net, hosts[0],
			   (struct fake_fault){.fail_at = 2 * CHUNK_BYTES,
					       .heal_after = 1,
					       .wrong_at = wrong == 0 ? 5 : 0});
		fake_fault(g.net, hosts[1],
			   (struct fake_fault){.wrong_at = wrong == 1 ? 4 * CHUNK_BYTES : 0});
		ask(&q, g.f, &g.d, 0, 4096);
		CHECK(WAIT(&q));
		CHECK(take(&q, 0, 4096));
	}
}

struct ear {
	struct blob_listener listener;
	atomic_int n;
};

static void heard(struct blob_listener *l, const struct digest *d)
{
	(void)d;
	atomic_fetch_add(&list_entry(l, struct ear, listener)->n, 1);
}

TEST(readers_who_saw_wrong_bytes_are_told)
{
	RIG(g, FILL_VERIFY_AT_EOF, 20000);
	struct ear ear = {.listener = {.spoilt = heard}};
	struct question early, tail;

	fill_source(g.f)->ops->listen(fill_source(g.f), &ear.listener);
	describe(g.f, &g.d, BAD);
	fake_fault(g.net, BAD, (struct fake_fault){.wrong_at = 1, .delay_us = 500});
	ask(&early, g.f, &g.d, CHUNK_BYTES, 4096);
	CHECK(WAIT(&early));
	CHECK(take(&early, CHUNK_BYTES, 4096));
	ask(&tail, g.f, &g.d, SIZE - 1, 4096);
	CHECK(WAIT(&tail));
	CHECK_EQ(tail.result, -EBADMSG);
	CHECK_EQ(atomic_load(&ear.n), 1);
	EVENTUALLY(stats_of(g.f).active == 0);
	CHECK_EQ(ingests(&g), 0);
}

TEST(a_read_ends_at_its_deadline_and_the_fill_goes_on)
{
	RIG(g, FILL_VERIFY_STRICT, 100);
	struct question q;
	uint64_t start = clock_mono_ms();

	describe(g.f, &g.d, GOOD);
	fake_fault(g.net, GOOD, (struct fake_fault){.stall = true});
	ask(&q, g.f, &g.d, 0, 4096);
	CHECK(WAIT(&q));
	CHECK_EQ(q.result, -ETIMEDOUT);
	CHECK(clock_mono_ms() - start < 5000);
	fake_fault(g.net, GOOD, (struct fake_fault){0});
	EVENTUALLY(blob_exists(g.tmp.store, &g.d));
}

TEST(a_reader_that_leaves_is_gone_at_once_and_the_fill_goes_on)
{
	RIG(g, FILL_VERIFY_STRICT, 20000);
	struct question q;

	describe(g.f, &g.d, GOOD);
	fake_fault(g.net, GOOD, (struct fake_fault){.stall = true});
	ask(&q, g.f, &g.d, 0, 4096);
	CHECK(!atomic_load(&q.done));
	fill_source(g.f)->ops->cancel(fill_source(g.f), &q.wait);
	CHECK(atomic_load(&q.done));
	CHECK_EQ(q.result, -EINTR);
	fill_source(g.f)->ops->cancel(fill_source(g.f), &q.wait);
	fake_fault(g.net, GOOD, (struct fake_fault){0});
	EVENTUALLY(blob_exists(g.tmp.store, &g.d));
	CHECK_EQ(fake_counter(g.net, &g.net->bytes), SIZE);
}

TEST(what_came_before_a_failure_is_not_fetched_again)
{
	RIG(g, FILL_VERIFY_STRICT, 20000);
	struct question q;
	struct blob_info info;
	uint64_t before;

	describe(g.f, &g.d, GOOD);
	fake_fault(g.net, GOOD, (struct fake_fault){.fail_at = 3 * CHUNK_BYTES + 100000});
	ask(&q, g.f, &g.d, 0, 4096);
	CHECK(WAIT(&q));
	CHECK_EQ(q.result, -EIO);
	EVENTUALLY(stats_of(g.f).active == 0);
	before = fake_counter(g.net, &g.net->bytes);
	CHECK_EQ(ingests(&g), 1);
	CHECK_EQ(fill_source(g.f)->ops->describe(fill_source(g.f), &g.d, &info), 0);
	CHECK_EQ(info.local, before);
	fake_fault(g.net, GOOD, (struct fake_fault){0});
	ask(&q, g.f, &g.d, 0, 4096);
	CHECK(WAIT(&q));
	CHECK(take(&q, 0, 4096));
	CHECK_EQ(fake_counter(g.net, &g.net->bytes), SIZE);
	CHECK_EQ(stats_of(g.f).bytes_resumed, before);
}

TEST(another_engine_resumes_what_one_has_begun)
{
	RIG(g, FILL_VERIFY_STRICT, 20000);
	struct question q;
	uint64_t before;

	describe(g.f, &g.d, GOOD);
	fake_fault(g.net, GOOD, (struct fake_fault){.delay_us = 1000});
	ask(&q, g.f, &g.d, 0, 4096);
	EVENTUALLY(fake_counter(g.net, &g.net->bytes) > 2 * CHUNK_BYTES);
	g.f = fill_free(g.f);
	CHECK(WAIT(&q));
	CHECK_EQ(q.result, -EINTR);
	before = fake_counter(g.net, &g.net->bytes);
	CHECK(before < SIZE);
	fake_fault(g.net, GOOD, (struct fake_fault){0});
	g.f = new_engine(&g, FILL_VERIFY_STRICT, 20000);
	describe(g.f, &g.d, GOOD);
	ask(&q, g.f, &g.d, 0, 4096);
	CHECK(WAIT(&q));
	CHECK(take(&q, 0, 4096));
	CHECK_EQ(fake_counter(g.net, &g.net->bytes), SIZE);
}

static void one_follows_the_other(enum fill_verify verify)
{
	RIG(g, verify, 20000);
	struct fill *other = new_engine(&g, verify, 20000);
	struct question q, p;

	describe(g.f, &g.d, GOOD);
	describe(other, &g.d, GOOD);
	fake_fault(g.net, GOOD, (struct fake_fault){.delay_us = 1000});
	ask(&q, g.f, &g.d, 0, 4096);
	EVENTUALLY(fake_counter(g.net, &g.net->bytes) > CHUNK_BYTES);
	ask(&p, other, &g.d, SIZE - 1, 1);
	CHECK(WAIT(&p));
	CHECK(take(&p, SIZE - 1, 1));
	CHECK(WAIT(&q));
	CHECK(take(&q, 0, 4096));
	CHECK_EQ(fake_counter(g.net, &g.net->bytes), SIZE);
	CHECK_EQ(stats_of(other).followed, 1);
	fill_free(other);
}

TEST(two_engines_share_a_fill)
{
	one_follows_the_other(FILL_VERIFY_STRICT);
	one_follows_the_other(FILL_VERIFY_AT_EOF);
}

TEST(who_followed_takes_over)
{
	RIG(g, FILL_VERIFY_STRICT, 20000);
	struct fill *other = new_engine(&g, FILL_VERIFY_STRICT, 20000);
	struct question q, p;

	describe(g.f, &g.d, GOOD);
	describe(other, &g.d, GOOD);
	fake_fault(g.net, GOOD, (struct fake_fault){.delay_us = 1000});
	ask(&q, g.f, &g.d, 0, 4096);
	EVENTUALLY(fake_counter(g.net, &g.net->bytes) > CHUNK_BYTES);
	ask(&p, other, &g.d, 0, 4096);
	g.f = fill_free(g.f);
	CHECK(WAIT(&p));
	CHECK(take(&p, 0, 4096));
	CHECK_EQ(fake_counter(g.net, &g.net->bytes), SIZE);
	CHECK_EQ(stats_of(other).followed, 0);
	fill_free(other);
}

TEST(an_absent_blob_a_refusal_and_no_source_are_told_apart)
{
	RIG(g, FILL_VERIFY_STRICT, 20000);
	struct question q;
	struct digest none;

	CHECK_EQ(digest_of("x", 1, &none), 0);
	ask(&q, g.f, &none, 0, 1);
	CHECK(WAIT(&q));
	CHECK_EQ(q.result, -ENOENT);
	CHECK(strstr(q.err.msg, "no source") != NULL);
	describe(g.f, &none, GOOD);
	ask(&q, g.f, &none, 0, 1);
	CHECK(WAIT(&q));
	CHECK_EQ(q.result, -ENOENT);
	CHECK(strstr(q.err.msg, GOOD) != NULL);
	CHECK_EQ(fill_add_source(g.f, BAD "/" REPO, NULL), 0);
	fake_fault(g.net, BAD, (struct fake_fault){.fail = -EACCES});
	ask(&q, g.f, &none, 0, 1);
	CHECK(WAIT(&q));
	CHECK_EQ(q.result, -EACCES);
	EVENTUALLY(stats_of(g.f).active == 0);
	CHECK_EQ(ingests(&g), 0);
}

static int see(void *arg, const struct digest *d, const struct blob_info *info)
{
	(void)d;
	*(uint64_t *)arg += info->size;
	return 0;
}

static void looked_up(struct question *q, struct fill *f, const struct digest *d)
{
	memset(q, 0, sizeof(*q));
	q->wait.done = answered;
	fill_source(f)->ops->lookup(fill_source(f), d, &q->wait);
}

TEST(a_manifest_describes_its_children_without_a_request)
{
	RIG(g, FILL_VERIFY_STRICT, 20000);
	struct blob_source *src = fill_source(g.f);
	char text[1024];
	struct digest m, config;
	struct question q;
	struct blob_info info;
	uint64_t sum = 0;
	struct stat st;

	CHECK_EQ(digest_of("{}", 2, &config), 0);
	(void)snprintf(
		text, sizeof(text),
		"{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
		"\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\","
		"\"digest\":\"%s\",\"size\":2},\"layers\":[{\"mediaType\":"
		"\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"%s\",\"size\":%llu}]}",
		digest_text(&config).s, digest_text(&g.d).s, (unsigned long long)SIZE);
	m = fake_put(g.net, REPO, text, strlen(text), "application/vnd.oci.image.manifest.v1+json");
	CHECK_EQ(mkdirat(store_root_fd(g.tmp.store), "labels", 0755), 0);
	CHECK_EQ(tmp_store_put(&g.tmp, "labels/manifests", ""), 0);
	CHECK_EQ(fill_add_source(g.f, GOOD "/" REPO, NULL), 0);
	CHECK_EQ(src->ops->describe(src, &m, &info), -ENOENT);
	looked_up(&q, g.f, &m);
	CHECK(WAIT(&q));
	CHECK_EQ(q.result, 0);
	CHECK_EQ(q.wait.info.size, strlen(text));
	ask(&q, g.f, &m, 0, 10);
	CHECK(WAIT(&q));
	CHECK_EQ(q.result, 0);
	(void)close(q.wait.fd);
	fake_reset(g.net);
	CHECK_EQ(src->ops->describe(src, &g.d, &info), 0);
	CHECK_EQ(info.size, SIZE);
	CHECK_STR(info.source, GOOD "/" REPO);
	EVENTUALLY(stats_of(g.f).active == 0);
	CHECK_EQ(src->ops->known(src, see, &sum), 0);
	CHECK_EQ(sum, SIZE + 2);
	CHECK_EQ(fake_counter(g.net, &g.net->requests) + fake_counter(g.net, &g.net->stats), 0);
	/* It is parsed once, however many tell of it. */
	src->ops->committed(src, &m);
	src->ops->committed(src, &m);
	CHECK_EQ(fstatat(store_root_fd(g.tmp.store), "labels/manifests", &st, 0), 0);
	CHECK_EQ(st.st_size, DIGEST_HEX_LEN + 1);
	/* And again after a restart, which finds it in the store. */
	g.f = fill_free(g.f);
	{
		struct fill_config c = {.store = g.tmp.store, .registry = g.net, .scan = true};

		for (int i = 0; i < 2; i++) {
			CHECK_EQ(fill_new(&c, &g.f, NULL), 0);
			src = fill_source(g.f);
			CHECK_EQ(src->ops->describe(src, &g.d, &info), 0);
			CHECK_STR(info.source, GOOD "/" REPO);
			CHECK_EQ(src->ops->describe(src, &config, &info), 0);
			CHECK_STR(info.mediatype, "application/vnd.oci.image.config.v1+json");
			g.f = fill_free(g.f);
		}
	}
}

TEST(a_store_is_read_through_only_when_something_could_be_fetched)
{
	RIG(g, FILL_VERIFY_STRICT, 20000);
	struct fill_config c = {.store = g.tmp.store, .registry = g.net, .scan = true};

	g.f = fill_free(g.f);
	CHECK_EQ(fill_new(&c, &g.f, NULL), 0);
	g.f = fill_free(g.f); /* waits for a scan */
	CHECK(!tmp_store_has(&g.tmp, "labels/manifests"));
	CHECK_EQ(fill_new(&c, &g.f, NULL), 0);
	CHECK_EQ(fill_add_source(g.f, GOOD "/" REPO, NULL), 0);
	EVENTUALLY(tmp_store_has(&g.tmp, "labels/manifests"));
}

TEST(a_no_is_remembered_for_a_while)
{
	RIG(g, FILL_VERIFY_STRICT, 20000);
	struct digest none;
	struct question q;

	CHECK_EQ(digest_of("x", 1, &none), 0);
	CHECK_EQ(fill_add_source(g.f, GOOD "/" REPO, NULL), 0);
	CHECK_EQ(fill_add_source(g.f, BAD "/" REPO, NULL), 0);
	for (int i = 0; i < 5; i++) {
		looked_up(&q, g.f, &none);
		CHECK(WAIT(&q));
		CHECK_EQ(q.result, -ENOENT);
	}
	CHECK_EQ(fake_counter(g.net, &g.net->stats), 2);
	fake_fault(g.net, BAD, (struct fake_fault){.stall = true});
	looked_up(&q, g.f, &g.d);
	CHECK(WAIT(&q));
	CHECK_EQ(q.result, 0);
	CHECK_EQ(digest_of("y", 1, &none), 0);
	looked_up(&q, g.f, &none);
	CHECK(WAIT(&q));
	CHECK_EQ(q.result, -ETIMEDOUT);
}

static int count_calls(void *arg, uint64_t here, uint64_t total)
{
	(void)here;
	++*(int *)arg;
	return total == SIZE ? 0 : -ECANCELED;
}

TEST(a_program_gets_a_blob_and_sees_it_come)
{
	RIG(g, FILL_VERIFY_STRICT, 0);
	struct fill_object o = {
		.digest = g.d, .has_size = true, .size = SIZE, .source = GOOD "/" REPO};
	struct err err;
	int calls = 0;

	fake_fault(g.net, GOOD, (struct fake_fault){.delay_us = 1500});
	CHECK_EQ(fill_get(g.f, &o, 0, count_calls, &calls, &err), 0);
	CHECK(calls > 0);
	CHECK(blob_exists(g.tmp.store, &g.d));
	CHECK_EQ(fill_get(g.f, &o, 0, NULL, NULL, &err), 0);
	CHECK_EQ(fake_counter(g.net, &g.net->bytes), SIZE);
	o.source = "NO NAME";
	CHECK_EQ(fill_get(g.f, &o, 0, NULL, NULL, &err), -EINVAL);
}

static void a_reader_reads_all(enum fill_verify verify)
{
	RIG(g, verify, 0);
	struct fill_object o = {
		.digest = g.d, .has_size = true, .size = SIZE, .source = GOOD "/" REPO};
	struct fill_reader *r = NULL;
	unsigned char piece[100000];
	uint64_t at = 0;
	ssize_t n;

	CHECK_EQ(fill_reader_open(g.f, &o, &r, NULL), 0);
	while ((n = fill_reader_read(r, piece, sizeof(piece), NULL)) > 0) {
		if (memcmp(piece, bytes + at, (size_t)n) != 0)
			break;
		at += (uint64_t)n;
	}
	fill_reader_close(r);
	CHECK_EQ(n, 0);
	CHECK_EQ(at, SIZE);
}

TEST(a_reader_reads_what_arrives)
{
	a_reader_reads_all(FILL_VERIFY_STRICT);
	a_reader_reads_all(FILL_VERIFY_AT_EOF);
}

TEST(a_reader_of_wrong_bytes_never_comes_to_the_end)
{
	RIG(g, FILL_VERIFY_AT_EOF, 0);
	struct fill_object o = {
		.digest = g.d, .has_size = true, .size = SIZE, .source = BAD "/" REPO};
	struct fill_reader *r = NULL;
	unsigned char piece[65536];
	ssize_t n;

	fake_fault(g.net, BAD, (struct fake_fault){.wrong_at = 5});
	CHECK_EQ(fill_reader_open(g.f, &o, &r, NULL), 0);
	while ((n = fill_reader_read(r, piece, sizeof(piece), NULL)) > 0)
		;
	CHECK_EQ(n, -EBADMSG);
	fake_fault(g.net, BAD, (struct fake_fault){0});
	CHECK_EQ(fill_reader_read(r, piece, sizeof(piece), NULL), -EBADMSG);
	fill_reader_close(r);
}

TEST(the_empty_blob_and_one_of_unknown_size_arrive)
{
	RIG(g, FILL_VERIFY_AT_EOF, 0);
	struct digest empty = fake_put(g.net, REPO, "", 0, "application/octet-stream");
	struct fill_object o = {.digest = empty, .has_size = true, .source = GOOD "/" REPO};

	CHECK_EQ(fill_get(g.f, &o, 0, NULL, NULL, NULL), 0);
	CHECK(blob_exists(g.tmp.store, &empty));
	o = (struct fill_object){.digest = g.d, .source = GOOD "/" REPO};
	CHECK_EQ(fill_get(g.f, &o, 0, NULL, NULL, NULL), 0);
	CHECK(blob_exists(g.tmp.store, &g.d));
}

TEST(a_host_that_cuts_short_or_lies_about_the_size_is_an_error)
{
	RIG(g, FILL_VERIFY_STRICT, 20000);
	struct question q;

	describe(g.f, &g.d, BAD);
	fake_fault(g.net, BAD, (struct fake_fault){.short_end = true});
	ask(&q, g.f, &g.d, 0, 1);
	CHECK(WAIT(&q));
	CHECK_EQ(q.result, -EPROTO);
	fake_fault(g.net, BAD, (struct fake_fault){.stated_size = SIZE + 1});
	ask(&q, g.f, &g.d, 0, 1);
	CHECK(WAIT(&q));
	CHECK_EQ(q.result, -EPROTO);
	CHECK_EQ(fill_add_source(g.f, GOOD "/" REPO, NULL), 0);
	ask(&q, g.f, &g.d, 0, 1);
	CHECK(WAIT(&q));
	CHECK(take(&q, 0, 1));
}

static int first_row(void *arg, const char *ref, uint64_t size, uint64_t total, int64_t since_ns,
		     const char *state)
{
	(void)since_ns;
	(void)snprintf(arg, 512, "%s %llu %llu %s", ref, (unsigned long long)size,
		       (unsigned long long)total, state);
	return 1;
}

TEST(fills_are_shown_and_so_is_why_they_failed)
{
	RIG(g, FILL_VERIFY_STRICT, 20000);
	struct blob_source *src = fill_source(g.f);
	char row[512] = "", want[512];
	struct question q;

	describe(g.f, &g.d, GOOD);
	fake_fault(g.net, GOOD, (struct fake_fault){.stall = true});
	ask(&q, g.f, &g.d, 0, 1);
	EVENTUALLY(fake_counter(g.net, &g.net->requests) > 0);
	CHECK_EQ(src->ops->fills(src, first_row, row), 1);
	(void)snprintf(want, sizeof(want), "contentfs.fill@%s 0 %llu filling", digest_text(&g.d).s,
		       (unsigned long long)SIZE);
	CHECK_STR(row, want);
	fake_fault(g.net, GOOD, (struct fake_fault){.fail = -EIO});
	CHECK(WAIT(&q));
	EVENTUALLY(stats_of(g.f).active == 0);
	CHECK_EQ(src->ops->fills(src, first_row, row), 1);
	CHECK(strstr(row, "failed: good.test: ") != NULL);
}

TEST_MAIN()
