/* chunkmap: what is noted is there after a crash, and what is not as noted is not. */
#include <errno.h>
#include <fcntl.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "lib/test.h"
#include "store/chunkmap.h"

#define SIZE (3 * CHUNK_BYTES + 1000)

CLEANUP_DEFINE(struct chunkmap *, chunkmap_free);
#define cleanup_map cleanup(chunkmap_freep)

/* A directory with data, whose bytes are all known. */
struct dir {
	char path[64];
	int fd, data_fd;
	unsigned char *bytes;
};

static void dir_close(struct dir *d)
{
	if (d->data_fd >= 0)
		(void)close(d->data_fd);
	if (d->fd >= 0)
		(void)close(d->fd);
	free(d->bytes);
	(void)fd_remove_tree(AT_FDCWD, d->path);
}

static void dir_open_tmp(struct dir *d)
{
	*d = (struct dir){.path = "/tmp/chunkmap-test.XXXXXX", .fd = -1, .data_fd = -1};
	if (mkdtemp(d->path) == NULL)
		return;
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d->data_fd = openat(d->fd, "data", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
	d->bytes = malloc(SIZE);
	for (size_t i = 0; i < SIZE; i++)
		d->bytes[i] = (unsigned char)(i * 2654435761U >> 13);
	(void)fd_pwrite_full(d->data_fd, d->bytes, SIZE, 0);
}

static uint64_t xxh3(const struct dir *d, uint64_t i, uint64_t n)
{
	return XXH3_64bits(d->bytes + i * CHUNK_BYTES, n);
}

static void note(struct chunkmap *m, const struct dir *d, uint64_t i, uint64_t n)
{
	chunkmap_note(m, i, n, xxh3(d, i, n));
}

TEST(what_is_noted_is_there_after_a_restart)
{
	cleanup(dir_close) struct dir d;
	cleanup_map struct chunkmap *m = NULL, *again = NULL;
	struct hasher_state st = {.n_bytes = CHUNK_BYTES,
				  .words = {1, 2, 3, 4, 5, 6, 7, 0xffffffff}};
	struct hasher_state got;

	dir_open_tmp(&d);
	CHECK_EQ(chunkmap_load(d.fd, SIZE, false, &m), -ENOENT);
	CHECK_EQ(chunkmap_create(d.fd, SIZE, &m), 0);
	CHECK_EQ(chunkmap_count(m), 4);
	CHECK_EQ(chunkmap_len(m, 3), 1000);
	note(m, &d, 0, CHUNK_BYTES);
	note(m, &d, 1, 70000);
	note(m, &d, 3, 1000);
	for (int i = 0; i < 3; i++) {
		st.words[0] = (uint32_t)i;
		chunkmap_save_hash(m, &st);
	}
	CHECK_EQ(chunkmap_load(d.fd, SIZE, false, &again), 0);
	CHECK_EQ(chunkmap_check(again, d.data_fd), 0);
	CHECK_EQ(chunkmap_here(again), CHUNK_BYTES + 71000);
	CHECK_EQ(chunkmap_front(again), CHUNK_BYTES + 70000);
	CHECK(chunkmap_has(again, 5, CHUNK_BYTES + 69995));
	CHECK(!chunkmap_has(again, 5, CHUNK_BYTES + 69996));
	CHECK(chunkmap_has(again, 3 * CHUNK_BYTES, CHUNK_BYTES));
	CHECK(!chunkmap_has(again, 3 * CHUNK_BYTES - 1, 2));
	CHECK(chunkmap_hash(again, &got));
	CHECK_EQ(memcmp(&got, &st, sizeof(st)), 0);
}

TEST(bytes_that_changed_are_not_here_and_take_the_hash_along)
{
	cleanup(dir_close) struct dir d;
	cleanup_map struct chunkmap *m = NULL, *again = NULL;
	struct hasher_state st = {.n_bytes = 2 * CHUNK_BYTES};

	dir_open_tmp(&d);
	CHECK_EQ(chunkmap_create(d.fd, SIZE, &m), 0);
	for (uint64_t i = 0; i < 4; i++)
		note(m, &d, i, chunkmap_len(m, i));
	CHECK_EQ(chunkmap_front(m), SIZE);
	chunkmap_save_hash(m, &st);
	CHECK_EQ(pwrite(d.data_fd, "x", 1, CHUNK_BYTES + 7), 1);
	CHECK_EQ(ftruncate(d.data_fd, SIZE - 1), 0);
	CHECK_EQ(chunkmap_load(d.fd, SIZE, false, &again), 0);
	CHECK(chunkmap_hash(again, &st));
	CHECK_EQ(chunkmap_check(again, d.data_fd), 0);
	CHECK_EQ(chunkmap_front(again), CHUNK_BYTES);
	CHECK(!chunkmap_whole(again, 1));
	CHECK(chunkmap_whole(again, 2));
	CHECK_EQ(chunkmap_got(again, 3), 0);
	CHECK(!chunkmap_hash(again, &st));
	again = chunkmap_free(again);
	CHECK_EQ(chunkmap_load(d.fd, SIZE, false, &again), 0);
	CHECK_EQ(chunkmap_here(again), 2 * CHUNK_BYTES);
}

TEST(a_garbled_map_is_refused_or_reads_as_less)
{
	cleanup(dir_close) struct dir d;
	cleanup_map struct chunkmap *m = NULL;
	cleanup_fd int fd = -1;
	unsigned char file[224], bad[224];
	struct hasher_state st = {.n_bytes = CHUNK_BYTES};

	dir_open_tmp(&d);
	CHECK_EQ(chunkmap_create(d.fd, SIZE, &m), 0);
	for (uint64_t i = 0; i < 4; i++)
		note(m, &d, i, chunkmap_len(m, i));
	chunkmap_save_hash(m, &st);
	fd = openat(d.fd, "chunks", O_RDWR | O_CLOEXEC);
	CHECK_EQ(fd_pread_full(fd, file, sizeof(file), 0), (ssize_t)sizeof(file));
	for (size_t bit = 0; bit < sizeof(file) * 8; bit++) {
		struct chunkmap *got = NULL;
		int r;

		memcpy(bad, file, sizeof(file));
		bad[bit / 8] ^= (unsigned char)(1U << bit % 8);
		r = chunkmap_parse(bad, sizeof(bad), SIZE, &got);
		if (bit / 8 < 32)
			CHECK_EQ(r, -EBADMSG);
		else
			CHECK_EQ(r, 0);
		if (bit / 8 >= 160)
			CHECK(chunkmap_here(got) < SIZE && chunkmap_here(got) >= 2 * CHUNK_BYTES);
		chunkmap_free(got);
	}
	for (size_t n = 0; n < sizeof(file); n++) {
		struct chunkmap *got = NULL;
		int r = chunkmap_parse(file, n, SIZE, &got);

		CHECK_EQ(r, n < 32 ? -EBADMSG : 0);
		if (r == 0)
			CHECK_EQ(chunkmap_front(got), n < 176 ? 0 : (n - 160) / 16 * CHUNK_BYTES);
		chunkmap_free(got);
	}
	m = chunkmap_free(m);
	CHECK_EQ(chunkmap_load(d.fd, SIZE + 1, false, &m), -EBADMSG);
	CHECK_EQ(ftruncate(fd, 1 << 20), 0);
	CHECK_EQ(chunkmap_load(d.fd, SIZE, false, &m), -EBADMSG);
}

TEST(an_empty_blob_is_here_at_once)
{
	cleanup_map struct chunkmap *m = NULL;

	CHECK_EQ(chunkmap_create(-1, 0, &m), 0);
	CHECK_EQ(chunkmap_count(m), 0);
	CHECK_EQ(chunkmap_front(m), 0);
	CHECK(chunkmap_has(m, 0, 4096));
	m = chunkmap_free(m);
	CHECK_EQ(chunkmap_create(-1, UINT64_MAX, &m), -EFBIG);
}

TEST(a_hash_goes_on_where_it_was_saved)
{
	struct hasher *a = NULL, *b = NULL;
	struct hasher_state st;
	struct digest one, two;

	CHECK_EQ(hasher_new(&a), 0);
	CHECK_EQ(hasher_new(&b), 0);
	hasher_update(a, "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 64);
	CHECK_EQ(hasher_save(a, &st), 0);
	CHECK_EQ(st.n_bytes, 64);
	CHECK_EQ(hasher_load(b, &st), 0);
	hasher_update(a, "tail", 4);
	hasher_update(b, "tail", 4);
	CHECK_EQ(hasher_save(a, &st), -EINVAL);
	hasher_final(a, &one);
	hasher_final(b, &two);
	CHECK(digest_equal(&one, &two));
	st.n_bytes = 63;
	CHECK_EQ(hasher_load(b, &st), -EINVAL);
	hasher_free(a);
	hasher_free(b);
}

TEST_MAIN()
