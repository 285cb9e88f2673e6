/* The stages and their threads: sources that fail, wait for ever, or come in drops. */
#include "unpack/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "lib/test.h"
#include "unpack/feed.h"

static int make_dir(char *path)
{
	return mkdtemp(path) != NULL ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
}

static void drop_dir(const char *path)
{
	(void)fd_remove_tree(AT_FDCWD, path);
}

/* A ustar header; every field that is not given is empty. */
static void header(uint8_t *block, const char *name, char type, unsigned long size)
{
	static const uint8_t magic[8] = {'u', 's', 't', 'a', 'r', '\0', '0', '0'};
	unsigned int sum = 8 * ' ';

	memset(block, 0, 512);
	(void)snprintf((char *)block, 100, "%s", name);
	(void)snprintf((char *)block + 100, 8, "0000644");
	(void)snprintf((char *)block + 124, 12, "%011lo", size);
	block[156] = (uint8_t)type;
	memcpy(block + 257, magic, sizeof(magic));
	for (int i = 0; i < 512; i++)
		sum += block[i];
	(void)snprintf((char *)block + 148, 8, "%06o", sum);
}

struct memory {
	const uint8_t *p;
	size_t n, piece;
	int fail; /* in the place of the end */
};

static ssize_t read_memory(void *arg, void *buf, size_t n, struct err *err)
{
	struct memory *m = arg;

	if (n > m->piece)
		n = m->piece;
	if (n > m->n)
		n = m->n;
	if (n == 0 && m->fail != 0)
		return err_set(err, m->fail, "the line is dead");
	memcpy(buf, m->p, n);
	m->p += n;
	m->n -= n;
	return (ssize_t)n;
}

TEST(a_layer_in_drops_is_the_same_layer)
{
	static uint8_t tar[512 * 3 + 1024];
	static const size_t pieces[] = {1, 3, 512, 100000};

	header(tar, "dir/file", '0', 600);
	memset(tar + 512, 'x', 600);
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		char path[] = "/tmp/contentfs-test.XXXXXX";
		cleanup_fd int fd = make_dir(path);
		struct memory m = {.p = tar, .n = sizeof(tar), .piece = pieces[i]};
		struct unpack_source src = {read_memory, NULL, &m};
		struct unpack_result res;
		struct err err = {0};
		struct digest want;
		struct stat st;
		int r = unpack_layer(fd, &src, NULL, &res, &err), s;

		s = fstatat(fd, "dir/file", &st, 0);
		drop_dir(path);
		CHECK_STR(err.msg, "");
		CHECK_EQ(r, 0);
		CHECK_EQ(s, 0);
		CHECK_EQ(st.st_size, 600);
		CHECK_EQ(res.n_entries, 1);
		CHECK_EQ(res.size, sizeof(tar));
		CHECK_EQ(digest_of(tar, sizeof(tar), &want), 0);
		CHECK(digest_equal(&res.diff_id, &want));
		CHECK(digest_equal(&res.digest, &want));
	}
}

TEST(a_source_that_fails_is_told_with_the_entry_and_its_own_words)
{
	static uint8_t tar[1024];
	char path[] = "/tmp/contentfs-test.XXXXXX";
	cleanup_fd int fd = make_dir(path);
	struct memory m = {.p = tar, .n = sizeof(tar), .piece = 700, .fail = ETIMEDOUT};
	struct unpack_source src = {read_memory, NULL, &m};
	struct unpack_result res = {.n_entries = 77};
	struct err err = {0};
	int r;

	header(tar, "dir/file", '0', 600);
	r = unpack_layer(fd, &src, NULL, &res, &err);
	drop_dir(path);
	CHECK_EQ(r, -ETIMEDOUT);
	CHECK_STR(err.msg, "dir/file: the line is dead");
	CHECK_EQ(res.n_entries, 77);
}

TEST(a_bad_layer_does_not_wait_for_a_source_that_is_silent)
{
	uint8_t tar[1024] = {0};
	char path[] = "/tmp/contentfs-test.XXXXXX";
	cleanup_fd int fd = make_dir(path);
	struct unpack_result res;
	struct unpack_source src;
	struct unpack_fd f;
	struct err err = {0};
	int pipe_fds[2], r;

	CHECK_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
	CHECK_EQ(unpack_fd_open(&f, pipe_fds[0]), 0);
	header(tar, ".wh..", '0', 0);
	CHECK_EQ(write(pipe_fds[1], tar, sizeof(tar)), sizeof(tar));
	src = unpack_fd_source(&f);
	r = unpack_layer(fd, &src, NULL, &res, &err); /* the other end stays open */
	drop_dir(path);
	unpack_fd_close(&f);
	unpack_fd_close(&f);
	(void)close(pipe_fds[0]);
	(void)close(pipe_fds[1]);
	CHECK_EQ(r, -EBADMSG);
	CHECK_STR(err.msg, ".wh..: a whiteout of what is no name");
}

TEST(the_number_of_entries_is_bounded)
{
	static uint8_t tar[512 * 5];
	char path[] = "/tmp/contentfs-test.XXXXXX";
	cleanup_fd int fd = make_dir(path);
	struct memory m = {.p = tar, .n = sizeof(tar), .piece = 4096};
	struct unpack_source src = {read_memory, NULL, &m};
	struct unpack_options o = {.max_entries = 2};
	struct unpack_result res;
	struct err err = {0};
	int r;

	header(tar, "a", '0', 0);
	header(tar + 512, "b", '0', 0);
	header(tar + 1024, "c", '0', 0);
	r = unpack_layer(fd, &src, &o, &res, &err);
	drop_dir(path);
	CHECK_EQ(r, -E2BIG);
	CHECK_STR(err.msg, "c: more than 2 entries");
}

struct reader {
	struct feed *feed;
	unsigned int i;
	uint64_t sum, n;
	ssize_t end;
};

static void *read_feed(void *arg)
{
	struct reader *r = arg;
	const uint8_t *p;

	while ((r->end = feed_next(r->feed, r->i, &p, NULL)) > 0)
		for (ssize_t i = 0; i < r->end; i++, r->n++)
			r->sum += p[i] * (r->n % 251);
	return NULL;
}

TEST(each_reader_of_a_feed_sees_all_of_it_in_order)
{
	struct reader r[2] = {{.i = 0}, {.i = 1}};
	pthread_t t[2];
	uint64_t sum = 0, n = 0;
	struct feed *f;

	CHECK_EQ(feed_new(2, 3, &f), 0);
	for (int i = 0; i < 2; i++) {
		r[i].feed = f;
		CHECK_EQ(pthread_create(&t[i], NULL, read_feed, &r[i]), 0);
	}
	for (unsigned int k = 1; k <= 300; k++) {
		uint8_t *p = feed_reserve(f);

		for (unsigned int i = 0; i < k; i++, n++) {
			p[i] = (uint8_t)(k ^ i);
			sum += p[i] * (n % 251);
		}
		feed_push(f, k);
	}
	feed_end(f, -EIO, NULL);
	for (int i = 0; i < 2; i++) {
		CHECK_EQ(pthread_join(t[i], NULL), 0);
		CHECK_EQ(r[i].sum, sum);
		CHECK_EQ(r[i].end, -EIO);
	}
	(void)feed_free(f);
}

TEST(a_stopped_feed_lets_everybody_go)
{
	struct reader r = {.i = 0};
	struct feed *f;
	pthread_t t;

	CHECK_EQ(feed_new(1, 2, &f), 0);
	r.feed = f;
	CHECK_EQ(pthread_create(&t, NULL, read_feed, &r), 0);
	feed_stop(f);
	CHECK_EQ(pthread_join(t, NULL), 0);
	CHECK_EQ(r.end, -ECANCELED);
	CHECK(feed_reserve(f) == NULL);
	(void)feed_free(f);
}

TEST_MAIN()
