/*
 * gzip by ISA-L. Its inflate state is 80 KB, parses headers and checks CRC and length of each
 * member itself; only what lies between and behind members is ours.
 */
#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>

#include "unpack/codec.h"

struct gzip {
	struct inflate_state z;
};

static void next_member(struct gzip *g)
{
	isal_inflate_reset(&g->z);
	g->z.crc_flag = ISAL_GZIP;
}

static int gzip_init(struct codec_state *s, struct err *err)
{
	struct gzip *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return err_set(err, ENOMEM, "out of memory");
	isal_inflate_init(&g->z);
	next_member(g);
	s->own = g;
	return 0;
}

static int fail(const struct codec_state *s, int r, struct err *err)
{
	const char *why = "damaged data";

	if (r == ISAL_INCORRECT_CHECKSUM)
		why = "wrong checksum";
	else if (r == ISAL_UNSUPPORTED_METHOD || r == ISAL_INVALID_WRAPPER)
		why = "damaged header";
	return err_set(err, EBADMSG, "%s before byte %llu", why, (unsigned long long)s->in->offset);
}

/* All of the rest is zeros: padding, or counts as trailing bytes. */
static int pass_padding(struct codec_state *s, uint64_t trailing, struct err *err)
{
	int r;

	while ((r = bytes_fill(s->in, err)) > 0) {
		for (size_t i = 0; trailing == 0 && i < s->in->n; i++)
			if (s->in->p[i] != 0)
				trailing = 1;
		if (trailing > 0)
			s->trailing += s->in->n;
		bytes_skip(s->in, s->in->n);
	}
	s->trailing += r == 0 && trailing > 1 ? trailing - 1 : 0;
	return r;
}

/*
 * Behind a member: 1 when another one begins, 0 at the end. Two bytes decide, as in gzip(1); one of
 * them may be the last of a piece.
 */
static int at_member_end(struct codec_state *s, struct err *err)
{
	int r = bytes_fill(s->in, err);
	bool second;

	if (r <= 0)
		return r;
	if (s->in->p[0] != 0x1f)
		return pass_padding(s, 0, err);
	bytes_skip(s->in, 1);
	r = bytes_fill(s->in, err);
	if (r < 0)
		return r;
	second = r > 0 && s->in->p[0] == 0x8b;
	return second ? 1 : pass_padding(s, 2, err);
}

/* The first byte of a member's header was taken by at_member_end(). */
static void feed_first_byte(struct gzip *g)
{
	static uint8_t id1[] = {0x1f};
	uint8_t none[1];

	g->z.next_in = id1;
	g->z.avail_in = 1;
	g->z.next_out = none;
	g->z.avail_out = 0;
	(void)isal_inflate(&g->z);
}

static ssize_t gzip_read(struct codec_state *s, void *buf, size_t n, struct err *err)
{
	struct gzip *g = s->own;

	for (;;) {
		size_t before, made;
		int r;

		if (g->z.block_state == ISAL_BLOCK_FINISH) {
			r = at_member_end(s, err);
			if (r <= 0)
				return r;
			next_member(g);
			feed_first_byte(g);
		}
		r = bytes_fill(s->in, err);
		if (r < 0)
			return r;
		before = s->in->n;
		g->z.next_in = (uint8_t *)(uintptr_t)s->in->p;
		g->z.avail_in = (uint32_t)before;
		g->z.next_out = buf;
		g->z.avail_out = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
		n = g->z.avail_out;
		r = isal_inflate(&g->z);
		/* A damaged block may make it give back more than this piece was. */
		if ((r != ISAL_DECOMP_OK && r != ISAL_END_INPUT) || g->z.avail_in > before)
			return fail(s, r, err);
		bytes_skip(s->in, before - g->z.avail_in);
		made = n - g->z.avail_out;
		if (made > 0)
			return (ssize_t)made;
		if (before == 0 && g->z.block_state != ISAL_BLOCK_FINISH)
			return err_set(err, EBADMSG, "cut short");
	}
}

static void gzip_done(struct codec_state *s)
{
	free(s->own);
}

const struct codec codec_gzip = {gzip_init, gzip_read, gzip_done};
