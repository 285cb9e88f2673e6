/* bzip2 by libbz2, all streams of a file (bzip2(1): "concatenation of several files"). */
#include <bzlib.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include "unpack/codec.h"

static int fail(const struct codec_state *s, int r, struct err *err)
{
	if (r == BZ_MEM_ERROR)
		return err_set(err, ENOMEM, "out of memory");
	return err_set(err, EBADMSG, "damaged before byte %llu", (unsigned long long)s->in->offset);
}

static int begin_stream(struct codec_state *s, struct err *err)
{
	int r = BZ2_bzDecompressInit(s->own, /* verbosity= */ 0, /* small= */ 0);

	if (r != BZ_OK)
		return fail(s, r, err);
	s->inside = true;
	return 0;
}

static int bzip2_init(struct codec_state *s, struct err *err)
{
	s->own = calloc(1, sizeof(bz_stream));
	if (s->own == NULL)
		return err_set(err, ENOMEM, "out of memory");
	return begin_stream(s, err);
}

static void end_stream(struct codec_state *s)
{
	if (s->inside)
		(void)BZ2_bzDecompressEnd(s->own);
	s->inside = false;
}

static ssize_t bzip2_read(struct codec_state *s, void *buf, size_t n, struct err *err)
{
	bz_stream *z = s->own;

	n = n > UINT_MAX ? UINT_MAX : n;
	for (;;) {
		int r = bytes_fill(s->in, err);
		size_t before = s->in->n;
		int b;

		if (r < 0 || (r == 0 && !s->inside))
			return r;
		if (!s->inside) {
			r = begin_stream(s, err);
			if (r < 0)
				return r;
		}
		z->next_in = (char *)(uintptr_t)s->in->p;
		z->avail_in = (unsigned int)before;
		z->next_out = buf;
		z->avail_out = (unsigned int)n;
		b = BZ2_bzDecompress(z);
		bytes_skip(s->in, before - z->avail_in);
		if (b == BZ_STREAM_END)
			end_stream(s);
		else if (b != BZ_OK)
			return fail(s, b, err);
		if (z->avail_out < n)
			return (ssize_t)(n - z->avail_out);
		if (before == 0 && s->inside)
			return err_set(err, EBADMSG, "cut short");
	}
}

static void bzip2_done(struct codec_state *s)
{
	end_stream(s);
	free(s->own);
}

const struct codec codec_bzip2 = {bzip2_init, bzip2_read, bzip2_done};
