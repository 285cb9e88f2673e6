#include "store/front_hasher.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "lib/test.h"

CLEANUP_DEFINE(struct front_hasher *, front_hasher_free);

static uint32_t seed;

static uint32_t draw(uint32_t below)
{
	seed = seed * 1664525U + 1013904223U;
	return (uint32_t)(((uint64_t)seed * below) >> 32);
}

/* What the file's first size bytes hash to, read anew. */
static int model(int fd, uint64_t size, struct digest *ret)
{
	cleanup_free unsigned char *all = malloc(size > 0 ? size : 1);

	if (all == NULL || fd_pread_full(fd, all, size, 0) != (ssize_t)size)
		return -1;
	return digest_of(all, size, ret);
}

static void hashed_write(struct front_hasher *h, int fd, const void *p, size_t n, uint64_t offset)
{
	front_hasher_begin(h, offset, n);
	if (fd_pwrite_full(fd, p, n, offset) == 0)
		front_hasher_end(h, offset, n);
}

static unsigned char *random_bytes(size_t n)
{
	unsigned char *p = malloc(n);

	for (size_t i = 0; p != NULL && i < n; i++)
		p[i] = (unsigned char)draw(256);
	return p;
}

#define CHECK_AGREES(h, fd, size)                                 \
	do {                                                      \
		struct digest got_, want_;                        \
		CHECK_EQ(front_hasher_finish(h, size, &got_), 0); \
		CHECK_EQ(model(fd, size, &want_), 0);             \
		CHECK(digest_equal(&got_, &want_));               \
	} while (0)

TEST(files_of_every_size_around_the_chunks_hash_right)
{
	static const size_t sizes[] = {0,	1,	 255,	  262143,  262144, 262145,
				       1048575, 1048576, 1048577, 3000000, 4194304};
	cleanup_free unsigned char *p = random_bytes(4194304);

	CHECK(p != NULL);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		cleanup_fd int fd = memfd_create("t", MFD_CLOEXEC);
		cleanup(front_hasher_freep) struct front_hasher *h = NULL;

		CHECK_EQ(front_hasher_new(fd, 0, &h), 0);
		for (size_t at = 0; at < sizes[i]; at += 100000)
			hashed_write(h, fd, p + at, sizes[i] - at < 100000 ? sizes[i] - at : 100000,
				     at);
		CHECK_AGREES(h, fd, sizes[i]);
	}
}

TEST(what_was_there_before_counts)
{
	cleanup_fd int fd = memfd_create("t", MFD_CLOEXEC);
	cleanup(front_hasher_freep) struct front_hasher *h = NULL;
	cleanup_free unsigned char *p = random_bytes(3000000);

	CHECK(p != NULL);
	CHECK_EQ(fd_pwrite_full(fd, p, 2000000, 0), 0);
	CHECK_EQ(front_hasher_new(fd, 2000000, &h), 0);
	hashed_write(h, fd, p + 2000000, 1000000, 2000000);
	CHECK_AGREES(h, fd, 3000000);
}

TEST(finish_can_be_asked_again_after_more_writes)
{
	cleanup_fd int fd = memfd_create("t", MFD_CLOEXEC);
	cleanup(front_hasher_freep) struct front_hasher *h = NULL;
	cleanup_free unsigned char *p = random_bytes(1500000);

	CHECK(p != NULL);
	CHECK_EQ(front_hasher_new(fd, 0, &h), 0);
	for (unsigned int i = 0; i < 6; i++) {
		hashed_write(h, fd, p, 1500000, i * 1500000ULL);
		CHECK_AGREES(h, fd, (i + 1) * 1500000ULL);
	}
	hashed_write(h, fd, p, 10, 5); /* and over what has been hashed */
	CHECK_AGREES(h, fd, 9000000);
	CHECK_AGREES(h, fd, 9000000);
}

TEST(a_file_cut_under_the_hash_is_an_error_and_can_be_mended)
{
	cleanup_fd int fd = memfd_create("t", MFD_CLOEXEC);
	cleanup(front_hasher_freep) struct front_hasher *h = NULL;
	cleanup_free unsigned char *p = random_bytes(3000000);
	struct digest d;

	CHECK(p != NULL);
	CHECK_EQ(front_hasher_new(fd, 0, &h), 0);
	hashed_write(h, fd, p, 3000000, 0);
	CHECK_EQ(front_hasher_finish(h, 3000001, &d), -EIO);
	CHECK_AGREES(h, fd, 3000000);
	CHECK_EQ(ftruncate(fd, 1000), 0);
	CHECK_EQ(front_hasher_finish(h, 3000002, &d), -EIO);
	front_hasher_truncated(h, 1000);
	CHECK_AGREES(h, fd, 1000);
}

TEST(after_a_cut_to_nothing_the_thread_starts_anew)
{
	cleanup_fd int fd = memfd_create("t", MFD_CLOEXEC);
	cleanup(front_hasher_freep) struct front_hasher *h = NULL;
	cleanup_free unsigned char *p = random_bytes(4000000);

	CHECK(p != NULL);
	CHECK_EQ(front_hasher_new(fd, 0, &h), 0);
	for (int round = 0; round < 50; round++) {
		size_t n = 1200000 + draw(2800000);

		CHECK_EQ(ftruncate(fd, 0), 0);
		front_hasher_truncated(h, 0);
		for (size_t at = 0; at < n; at += 300000)
			hashed_write(h, fd, p + at, n - at < 300000 ? n - at : 300000, at);
		if (round % 3 == 2)
			CHECK_AGREES(h, fd, n);
	}
}

/* Writes, overwrites, holes, cuts in a fixed random order, against reading it all anew. */
TEST(five_hundred_random_histories_agree_with_a_model)
{
	cleanup_free unsigned char *p = random_bytes(1 << 20);

	CHECK(p != NULL);
	for (int history = 0; history < 500; history++) {
		cleanup_fd int fd = memfd_create("t", MFD_CLOEXEC);
		cleanup(front_hasher_freep) struct front_hasher *h = NULL;
		uint64_t size = 0;
		int steps = 1 + (int)draw(30);

		seed = (uint32_t)history;
		CHECK_EQ(front_hasher_new(fd, 0, &h), 0);
		for (int i = 0; i < steps; i++) {
			uint32_t what = draw(10);
			uint64_t offset = what < 7 ? size : draw(4 << 20);
			size_t n = 1 + draw(what == 0 ? 1 << 20 : 1 << 18);

			if (what == 9) {
				offset = draw(3) == 0 ? 0 : draw(5 << 20);
				CHECK_EQ(ftruncate(fd, (off_t)offset), 0);
				front_hasher_truncated(h, offset);
				size = offset;
			} else {
				hashed_write(h, fd, p + draw((1 << 20) - (uint32_t)n + 1), n,
					     offset);
				size = offset + n > size ? offset + n : size;
			}
			if (draw(20) == 0)
				CHECK_AGREES(h, fd, size);
		}
		CHECK_AGREES(h, fd, size);
	}
}

struct writer {
	struct front_hasher *h;
	int fd;
	const unsigned char *p;
	uint64_t start, end, step;
};

static void *write_part(void *arg)
{
	struct writer *w = arg;

	for (uint64_t at = w->start; at < w->end; at += w->step)
		hashed_write(w->h, w->fd, w->p + at, 65536, at);
	return NULL;
}

TEST(writers_side_by_side_and_on_top_of_each_other_hash_right)
{
	enum { N = 4, SIZE = 16 << 20 };
	cleanup_free unsigned char *p = random_bytes(SIZE);

	CHECK(p != NULL);
	for (int over = 0; over < 2; over++) {
		cleanup_fd int fd = memfd_create("t", MFD_CLOEXEC);
		cleanup(front_hasher_freep) struct front_hasher *h = NULL;
		struct writer w[N];
		pthread_t t[N];

		CHECK_EQ(front_hasher_new(fd, 0, &h), 0);
		for (unsigned int i = 0; i < N; i++) {
			/* interleaved blocks, or all of them writing all */
			w[i] = (struct writer){
				.h = h,
				.fd = fd,
				.p = p,
				.start = over ? 0 : i * 65536ULL,
				.end = SIZE,
				.step = over ? 65536 : 65536ULL * N,
			};
			CHECK_EQ(pthread_create(&t[i], NULL, write_part, &w[i]), 0);
		}
		for (unsigned int i = 0; i < N; i++)
			(void)pthread_join(t[i], NULL);
		CHECK_AGREES(h, fd, SIZE);
	}
}

TEST_MAIN()
