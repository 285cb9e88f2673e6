/*
 * The decoders, on streams packed here by the libraries' own encoders (igzip for gzip), and fed in
 * pieces of every size.
 */
#include "unpack/decoder.h"

#include <assert.h>
#include <bzlib.h>
#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <lzma.h>
#include <zstd.h>

#include "base/cleanup.h"
#include "lib/test.h"

#define WINDOW ((size_t)32 << 20)

struct pieces {
	const uint8_t *p;
	size_t n, piece;
	uint8_t copy[64 << 10]; /* a piece is gone when the next one is asked for */
};

static ssize_t next_piece(void *arg, const uint8_t **ret, struct err *err)
{
	struct pieces *s = arg;
	size_t n = s->n < s->piece ? s->n : s->piece;

	(void)err;
	memset(s->copy, 0xee, sizeof(s->copy));
	memcpy(s->copy, s->p, n);
	s->p += n;
	s->n -= n;
	*ret = s->copy;
	return (ssize_t)n;
}

struct packed {
	uint8_t p[1 << 17];
	size_t n;
};

static void add_gzip(struct packed *out, const void *p, size_t n)
{
	static struct isal_zstream z;

	isal_deflate_stateless_init(&z);
	z.gzip_flag = IGZIP_GZIP;
	z.end_of_stream = 1;
	z.next_in = (uint8_t *)(uintptr_t)p;
	z.avail_in = (uint32_t)n;
	z.next_out = out->p + out->n;
	z.avail_out = (uint32_t)(sizeof(out->p) - out->n);
	assert(isal_deflate_stateless(&z) == COMP_OK);
	out->n = sizeof(out->p) - z.avail_out;
}

static void add_zstd(struct packed *out, const void *p, size_t n)
{
	ZSTD_CCtx *z = ZSTD_createCCtx();
	size_t r;

	assert(z != NULL && !ZSTD_isError(ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1)));
	r = ZSTD_compress2(z, out->p + out->n, sizeof(out->p) - out->n, p, n);
	assert(!ZSTD_isError(r));
	(void)ZSTD_freeCCtx(z);
	out->n += r;
}

static void add_xz(struct packed *out, const void *p, size_t n)
{
	assert(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC64, NULL, p, n, out->p, &out->n,
				       sizeof(out->p)) == LZMA_OK);
}

static void add_bzip2(struct packed *out, const void *p, size_t n)
{
	unsigned int room = (unsigned int)(sizeof(out->p) - out->n);

	assert(BZ2_bzBuffToBuffCompress((char *)out->p + out->n, &room, (char *)(uintptr_t)p,
					(unsigned int)n, 1, 0, 0) == BZ_OK);
	out->n += room;
}

static void add_plain(struct packed *out, const void *p, size_t n)
{
	memcpy(out->p + out->n, p, n);
	out->n += n;
}

static const struct {
	enum unpack_format format;
	void (*add)(struct packed *out, const void *p, size_t n);
} formats[] = {
	{UNPACK_PLAIN, add_plain}, {UNPACK_GZIP, add_gzip},   {UNPACK_ZSTD, add_zstd},
	{UNPACK_XZ, add_xz},	   {UNPACK_BZIP2, add_bzip2},
};

#define N_FORMATS (sizeof(formats) / sizeof(formats[0]))

/* Decode all of it in reads of step bytes; the length, or a negative errno. */
static ssize_t decode(const uint8_t *p, size_t n, size_t piece, size_t step, uint8_t *out,
		      size_t max, uint64_t *ret_trailing, struct err *err)
{
	struct pieces *s = calloc(1, sizeof(*s));
	struct decoder *d = NULL;
	struct bytes in;
	ssize_t got = 0, sum = 0;
	int r;

	assert(s != NULL);
	s->p = p;
	s->n = n;
	s->piece = piece;
	bytes_init(&in, next_piece, s);
	r = decoder_new(&in, WINDOW, &d, err);
	if (r < 0)
		sum = r;
	while (r == 0 && (size_t)sum < max) {
		size_t part = max - (size_t)sum < step ? max - (size_t)sum : step;

		got = decoder_read(d, out + sum, part, err);
		if (got <= 0)
			break;
		sum += got;
	}
	if (d != NULL && ret_trailing != NULL)
		*ret_trailing = decoder_trailing(d);
	(void)decoder_free(d);
	free(s);
	return got < 0 ? got : sum;
}

static void fill_text(uint8_t *p, size_t n)
{
	uint32_t seed = 7;

	for (size_t i = 0; i < n; i++) {
		seed = seed * 1664525U + 1013904223U;
		p[i] = (uint8_t)((seed >> 24) % 17 + 'a');
	}
}

TEST(every_format_in_pieces_and_reads_of_every_size_gives_the_same_bytes)
{
	static uint8_t text[9000], out[10000];
	static const size_t sizes[] = {1, 2, 3, 5, 7, 64, 511, 512, 4096, 60000};

	fill_text(text, sizeof(text));
	for (size_t f = 0; f < N_FORMATS; f++) {
		static struct packed packed;

		packed.n = 0;
		formats[f].add(&packed, text, sizeof(text));
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
				struct err err = {0};
				ssize_t n = decode(packed.p, packed.n, sizes[i], sizes[k], out,
						   sizeof(out), NULL, &err);

				CHECK_STR(err.msg, "");
				CHECK_EQ(n, sizeof(text));
				CHECK(memcmp(text, out, sizeof(text)) == 0);
			}
		}
	}
}

TEST(members_cut_anywhere_by_the_pieces_follow_each_other)
{
	static uint8_t text[3000], out[4000];

	fill_text(text, sizeof(text));
	for (size_t f = 1; f < N_FORMATS; f++) {
		static struct packed packed;

		packed.n = 0;
		formats[f].add(&packed, text, 1000);
		formats[f].add(&packed, text + 1000, 0);
		formats[f].add(&packed, text + 1000, 1);
		formats[f].add(&packed, text + 1001, 1999);
		for (size_t piece = 1; piece < 200; piece++) {
			struct err err = {0};
			ssize_t n = decode(packed.p, packed.n, piece, 4096, out, sizeof(out), NULL,
					   &err);

			CHECK_STR(err.msg, "");
			CHECK_EQ(n, sizeof(text));
			CHECK(memcmp(text, out, sizeof(text)) == 0);
		}
	}
}

TEST(every_cut_is_an_error)
{
	static uint8_t text[2000], out[4000];

	fill_text(text, sizeof(text));
	for (size_t f = 1; f < N_FORMATS; f++) {
		static struct packed packed;

		packed.n = 0;
		formats[f].add(&packed, text, sizeof(text));
		for (size_t cut = 6; cut < packed.n; cut++) {
			struct err err = {0};

			CHECK_EQ(decode(packed.p, cut, 333, 4096, out, sizeof(out), NULL, &err),
				 -EBADMSG);
			CHECK(strstr(err.msg, unpack_format_name(formats[f].format)) == err.msg);
		}
	}
}

TEST(no_flipped_bit_goes_unnoticed)
{
	/* libbz2 may give out 5 MB of garbage before it has a block's checksum. */
	static uint8_t text[800], out[8 << 20];

	fill_text(text, sizeof(text));
	for (size_t f = 1; f < N_FORMATS; f++) {
		static struct packed packed;

		packed.n = 0;
		formats[f].add(&packed, text, sizeof(text));
		/* The ten bytes of a gzip header hold flags and times that change no data. */
		for (size_t at = formats[f].format == UNPACK_GZIP ? 10 : 6; at < packed.n; at++) {
			for (int bit = 0; bit < 8; bit++) {
				ssize_t n;

				packed.p[at] ^= (uint8_t)(1 << bit);
				n = decode(packed.p, packed.n, 77, 4096, out, sizeof(out), NULL,
					   NULL);
				packed.p[at] ^= (uint8_t)(1 << bit);
				CHECK(n < 0 ||
				      (n == sizeof(text) && memcmp(out, text, sizeof(text)) == 0));
			}
		}
	}
}

TEST(bytes_behind_gzip_are_counted_unless_they_are_zeros)
{
	static const struct {
		const char *tail;
		size_t len;
		uint64_t trailing;
	} table[] = {{"", 0, 0},     {"\0\0\0", 3, 0},	      {"x", 1, 1},
		     {"\x1f", 1, 1}, {"\x1f\x8c more", 7, 7}, {"\0\0x", 3, 3}};
	static uint8_t out[100];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		for (size_t piece = 1; piece < 40; piece++) {
			static struct packed packed;
			uint64_t trailing = 99;

			packed.n = 0;
			add_gzip(&packed, "data", 4);
			add_plain(&packed, table[i].tail, table[i].len);
			CHECK_EQ(decode(packed.p, packed.n, piece, 10, out, sizeof(out), &trailing,
					NULL),
				 4);
			/* Zeros that went by before what is no zero are not counted. */
			CHECK(trailing <= table[i].trailing);
			CHECK_EQ(trailing > 0, table[i].trailing > 0);
			if (piece >= 30)
				CHECK_EQ(trailing, table[i].trailing);
		}
	}
}

TEST(a_bomb_is_read_no_further_than_it_is_asked)
{
	static uint8_t zeros[1 << 20], out[4096];

	for (size_t f = 1; f < N_FORMATS; f++) {
		static struct packed packed;

		packed.n = 0;
		for (int i = 0; i < 8; i++)
			formats[f].add(&packed, zeros, sizeof(zeros));
		CHECK(packed.n < 20000);
		CHECK_EQ(decode(packed.p, packed.n, 1000, 100, out, sizeof(out), NULL, NULL),
			 sizeof(out));
	}
}

TEST(short_input_is_plain)
{
	static uint8_t out[16];

	for (size_t n = 0; n < 6; n++)
		CHECK_EQ(decode((const uint8_t *)"\xfd"
						 "7zXZ",
				n, 2, 16, out, sizeof(out), NULL, NULL),
			 n);
}

TEST_MAIN()
