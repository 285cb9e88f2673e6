#include "store/chunkmap.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "base/fd.h"

#define HEADER_BYTES ((size_t)32)
#define HASH_BYTES ((size_t)64)
#define RECORDS_AT (HEADER_BYTES + 2 * HASH_BYTES)
#define RECORD_BYTES ((size_t)16)

static const unsigned char magic[8] = {'c', 'f', 'c', 'h', 'u', 'n', 'k', '1'};

struct chunk {
	uint64_t xxh3;
	uint32_t got;
};

struct chunkmap {
	uint64_t size;
	uint64_t n;
	uint64_t here;	/* bytes */
	uint64_t whole; /* chunks from 0 on that are whole */
	int fd;		/* chunks, -1: in memory alone */
	bool has_hash;
	struct hasher_state hash;
	uint64_t serial; /* of the hash in the file */
	struct chunk chunks[];
};

CLEANUP_DEFINE(struct chunkmap *, chunkmap_free);

static void put32(unsigned char *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static void put64(unsigned char *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

static uint32_t get32(const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint64_t get64(const unsigned char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static int new_map(uint64_t size, struct chunkmap **ret)
{
	uint64_t n = size / CHUNK_BYTES + (size % CHUNK_BYTES > 0);
	struct chunkmap *m;

	if (size > CHUNKMAP_BLOB_MAX)
		return -EFBIG;
	m = calloc(1, sizeof(*m) + n * sizeof(m->chunks[0]));
	if (m == NULL)
		return -ENOMEM;
	m->size = size;
	m->n = n;
	m->fd = -1;
	*ret = m;
	return 0;
}

static void encode_header(const struct chunkmap *m, unsigned char out[HEADER_BYTES])
{
	memcpy(out, magic, sizeof(magic));
	put64(out + 8, m->size);
	put32(out + 16, (uint32_t)CHUNK_BYTES);
	put32(out + 20, 0);
	put64(out + 24, XXH3_64bits(out, 24));
}

static void encode_hash(const struct hasher_state *st, uint64_t serial,
			unsigned char out[HASH_BYTES])
{
	memset(out, 0, HASH_BYTES);
	put64(out, serial);
	put64(out + 8, st->n_bytes);
	for (size_t i = 0; i < 8; i++)
		put32(out + 16 + 4 * i, st->words[i]);
	put64(out + 56, XXH3_64bits(out, 56));
}

static void decode_hash(struct chunkmap *m, const unsigned char *p)
{
	struct hasher_state st = {.n_bytes = get64(p + 8)};
	uint64_t serial = get64(p);

	if (get64(p + 56) != XXH3_64bits(p, 56) || (m->has_hash && serial < m->serial) ||
	    st.n_bytes > m->size || st.n_bytes % HASHER_BLOCK_BYTES != 0)
		return;
	for (size_t i = 0; i < 8; i++)
		st.words[i] = get32(p + 16 + 4 * i);
	m->hash = st;
	m->serial = serial;
	m->has_hash = true;
}

static uint32_t record_check(const unsigned char *record, uint64_t i)
{
	return (uint32_t)XXH3_64bits_withSeed(record, 12, i);
}

static void encode_record(const struct chunk *c, uint64_t i, unsigned char out[RECORD_BYTES])
{
	put64(out, c->xxh3);
	put32(out + 8, c->got);
	put32(out + 12, record_check(out, i));
}

static void decode_record(struct chunkmap *m, uint64_t i, const unsigned char *p)
{
	struct chunk *c = &m->chunks[i];

	if (get32(p + 12) != record_check(p, i) || get32(p + 8) > chunkmap_len(m, i))
		return;
	c->xxh3 = get64(p);
	c->got = get32(p + 8);
}

/* here, whole and the reach of the hash follow from the chunks. */
static void recount(struct chunkmap *m)
{
	m->here = m->whole = 0;
	for (uint64_t i = 0; i < m->n; i++)
		m->here += m->chunks[i].got;
	while (m->whole < m->n && chunkmap_whole(m, m->whole))
		m->whole++;
	if (m->has_hash && m->hash.n_bytes > chunkmap_front(m))
		m->has_hash = false;
}

int chunkmap_parse(const void *p, size_t n, uint64_t size, struct chunkmap **ret)
{
	cleanup(chunkmap_freep) struct chunkmap *m = NULL;
	unsigned char header[HEADER_BYTES];
	const unsigned char *at = p;
	int r = new_map(size, &m);

	if (r < 0)
		return r;
	encode_header(m, header);
	if (n < HEADER_BYTES || memcmp(at, header, HEADER_BYTES) != 0)
		return -EBADMSG;
	for (size_t i = 0; i < 2 && n >= HEADER_BYTES + (i + 1) * HASH_BYTES; i++)
		decode_hash(m, at + HEADER_BYTES + i * HASH_BYTES);
	for (uint64_t i = 0; i < m->n && n >= RECORDS_AT + (i + 1) * RECORD_BYTES; i++)
		decode_record(m, i, at + RECORDS_AT + i * RECORD_BYTES);
	recount(m);
	*ret = steal_ptr(m);
	return 0;
}

int chunkmap_create(int dir_fd, uint64_t size, struct chunkmap **ret)
{
	cleanup(chunkmap_freep) struct chunkmap *m = NULL;
	unsigned char header[HEADER_BYTES];
	int r = new_map(size, &m);

	if (r < 0)
		return r;
	if (dir_fd >= 0) {
		/* A new file: who looks at the old one keeps it whole. */
		if (unlinkat(dir_fd, "chunks", 0) < 0 && errno != ENOENT)
			return -errno;
		m->fd = openat(dir_fd, "chunks", O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			       0644);
		if (m->fd < 0)
			return -errno;
		encode_header(m, header);
		r = fd_pwrite_full(m->fd, header, sizeof(header), 0);
		if (r < 0)
			return r;
	}
	*ret = steal_ptr(m);
	return 0;
}

int chunkmap_load(int dir_fd, uint64_t size, bool read_only, struct chunkmap **ret)
{
	cleanup_fd int fd =
		openat(dir_fd, "chunks",
		       (read_only ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	cleanup_free unsigned char *bytes = NULL;
	struct chunkmap *m;
	struct stat st;
	ssize_t n;
	int r;

	if (fd < 0)
		return errno == ELOOP ? -EBADMSG : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || size > CHUNKMAP_BLOB_MAX ||
	    (uint64_t)st.st_size > RECORDS_AT + (size / CHUNK_BYTES + 1) * RECORD_BYTES)
		return -EBADMSG;
	bytes = malloc((size_t)st.st_size + 1);
	if (bytes == NULL)
		return -ENOMEM;
	n = fd_pread_full(fd, bytes, (size_t)st.st_size, 0);
	if (n < 0)
		return (int)n;
	r = chunkmap_parse(bytes, (size_t)n, size, &m);
	if (r < 0)
		return r;
	if (!read_only)
		m->fd = steal_fd(fd);
	*ret = m;
	return 0;
}

struct chunkmap *chunkmap_free(struct chunkmap *m)
{
	if (m != NULL)
		cleanup_closep(&m->fd);
	free(m);
	return NULL;
}

static void save_record(struct chunkmap *m, uint64_t i)
{
	unsigned char record[RECORD_BYTES];

	if (m->fd < 0)
		return;
	encode_record(&m->chunks[i], i, record);
	(void)fd_pwrite_full(m->fd, record, sizeof(record), RECORDS_AT + i * RECORD_BYTES);
}

int chunkmap_check(struct chunkmap *m, int data_fd)
{
	cleanup_free void *bytes = malloc(CHUNK_BYTES);

	if (bytes == NULL)
		return -ENOMEM;
	for (uint64_t i = 0; i < m->n; i++) {
		struct chunk *c = &m->chunks[i];
		ssize_t n;

		if (c->got == 0)
			continue;
		n = fd_pread_full(data_fd, bytes, c->got, i * CHUNK_BYTES);
		if (n < 0)
			return (int)n;
		if ((size_t)n == c->got && XXH3_64bits(bytes, c->got) == c->xxh3)
			continue;
		*c = (struct chunk){0};
		save_record(m, i);
	}
	recount(m);
	return 0;
}

uint64_t chunkmap_size(const struct chunkmap *m)
{
	return m->size;
}

uint64_t chunkmap_count(const struct chunkmap *m)
{
	return m->n;
}

uint64_t chunkmap_len(const struct chunkmap *m, uint64_t i)
{
	uint64_t left = m->size - i * CHUNK_BYTES;

	return left < CHUNK_BYTES ? left : CHUNK_BYTES;
}

uint64_t chunkmap_got(const struct chunkmap *m, uint64_t i)
{
	return m->chunks[i].got;
}

bool chunkmap_whole(const struct chunkmap *m, uint64_t i)
{
	return m->chunks[i].got == chunkmap_len(m, i);
}

uint64_t chunkmap_here(const struct chunkmap *m)
{
	return m->here;
}

uint64_t chunkmap_front(const struct chunkmap *m)
{
	if (m->whole == m->n)
		return m->size;
	return m->whole * CHUNK_BYTES + m->chunks[m->whole].got;
}

bool chunkmap_has(const struct chunkmap *m, uint64_t offset, uint64_t n)
{
	uint64_t end = n < m->size && offset < m->size - n ? offset + n : m->size;

	if (end <= chunkmap_front(m))
		return true;
	while (offset < end) {
		uint64_t i = offset / CHUNK_BYTES;
		uint64_t stop = end < (i + 1) * CHUNK_BYTES ? end : (i + 1) * CHUNK_BYTES;

		if (m->chunks[i].got < stop - i * CHUNK_BYTES)
			return false;
		offset = stop;
	}
	return true;
}

void chunkmap_note(struct chunkmap *m, uint64_t i, uint64_t got, uint64_t xxh3)
{
	struct chunk *c = &m->chunks[i];

	if (got <= c->got)
		return;
	m->here += got - c->got;
	c->got = (uint32_t)got;
	c->xxh3 = xxh3;
	while (m->whole < m->n && chunkmap_whole(m, m->whole))
		m->whole++;
	save_record(m, i);
}

bool chunkmap_hash(const struct chunkmap *m, struct hasher_state *ret)
{
	if (m->has_hash)
		*ret = m->hash;
	return m->has_hash;
}

void chunkmap_save_hash(struct chunkmap *m, const struct hasher_state *st)
{
	unsigned char bytes[HASH_BYTES];

	m->hash = *st;
	m->has_hash = true;
	m->serial++;
	if (m->fd < 0)
		return;
	/* The older of the two goes: a write that is cut short leaves the other. */
	encode_hash(st, m->serial, bytes);
	(void)fd_pwrite_full(m->fd, bytes, sizeof(bytes),
			     HEADER_BYTES + (m->serial % 2) * HASH_BYTES);
}
