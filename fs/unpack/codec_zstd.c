/* zstd by libzstd, which passes over skippable frames itself. */
#include <errno.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "unpack/codec.h"

/* Base 2 logarithm, rounded down. */
static int log2_of(size_t n)
{
	int bits = 0;

	while (n > 1) {
		n >>= 1;
		bits++;
	}
	return bits;
}

static int zstd_init(struct codec_state *s, struct err *err)
{
	ZSTD_DStream *z = ZSTD_createDStream();

	if (z == NULL)
		return err_set(err, ENOMEM, "out of memory");
	s->own = z;
	if (ZSTD_isError(ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, log2_of(s->max_window))))
		return err_set(err, EINVAL, "no window may be so large as %zu bytes",
			       s->max_window);
	return 0;
}

static int fail(const struct codec_state *s, size_t r, struct err *err)
{
	if (ZSTD_getErrorCode(r) == ZSTD_error_frameParameter_windowTooLarge)
		return err_set(err, E2BIG, "needs a window of more than %zu bytes", s->max_window);
	if (ZSTD_getErrorCode(r) == ZSTD_error_memory_allocation)
		return err_set(err, ENOMEM, "out of memory");
	return err_set(err, EBADMSG, "damaged before byte %llu: %s",
		       (unsigned long long)s->in->offset, ZSTD_getErrorName(r));
}

static ssize_t zstd_read(struct codec_state *s, void *buf, size_t n, struct err *err)
{
	ZSTD_outBuffer out = {.dst = buf, .size = n};

	for (;;) {
		int r = bytes_fill(s->in, err);
		ZSTD_inBuffer in = {.src = s->in->p, .size = s->in->n};
		size_t want;

		if (r < 0)
			return r;
		if (r == 0 && !s->inside)
			return 0;
		want = ZSTD_decompressStream(s->own, &out, &in);
		bytes_skip(s->in, in.pos);
		if (ZSTD_isError(want))
			return fail(s, want, err);
		s->inside = want != 0; /* 0: a frame ended, and all of it is out */
		if (out.pos > 0)
			return (ssize_t)out.pos;
		if (r == 0 && s->inside)
			return err_set(err, EBADMSG, "cut short");
	}
}

static void zstd_done(struct codec_state *s)
{
	(void)ZSTD_freeDStream(s->own);
}

const struct codec codec_zstd = {zstd_init, zstd_read, zstd_done};
