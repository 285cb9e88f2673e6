/* xz by liblzma, all streams of a file and the padding between them. */
#include <errno.h>
#include <lzma.h>
#include <stdlib.h>

#include "unpack/codec.h"

/* What the decoder needs beside the dictionary: "about 65 MiB" for one of 64 MiB, by xz(1). */
#define BESIDE_WINDOW ((uint64_t)1 << 20)

static int fail(const struct codec_state *s, lzma_ret r, struct err *err)
{
	switch (r) {
	case LZMA_MEMLIMIT_ERROR:
		return err_set(err, E2BIG, "needs a dictionary of more than %zu bytes",
			       s->max_window);
	case LZMA_MEM_ERROR:
		return err_set(err, ENOMEM, "out of memory");
	case LZMA_BUF_ERROR:
		return err_set(err, EBADMSG, "cut short");
	case LZMA_OPTIONS_ERROR:
		return err_set(err, EBADMSG, "unknown options in its header");
	default:
		return err_set(err, EBADMSG, "damaged before byte %llu",
			       (unsigned long long)s->in->offset);
	}
}

static int xz_init(struct codec_state *s, struct err *err)
{
	static const lzma_stream init = LZMA_STREAM_INIT;
	lzma_stream *z = malloc(sizeof(*z));
	lzma_ret r;

	if (z == NULL)
		return err_set(err, ENOMEM, "out of memory");
	*z = init;
	s->own = z;
	r = lzma_stream_decoder(z, s->max_window + BESIDE_WINDOW, LZMA_CONCATENATED);
	return r == LZMA_OK ? 0 : fail(s, r, err);
}

static ssize_t xz_read(struct codec_state *s, void *buf, size_t n, struct err *err)
{
	lzma_stream *z = s->own;

	for (;;) {
		int r = bytes_fill(s->in, err);
		lzma_ret l;

		if (r < 0)
			return r;
		z->next_in = s->in->p;
		z->avail_in = s->in->n;
		z->next_out = buf;
		z->avail_out = n;
		l = lzma_code(z, r == 0 ? LZMA_FINISH : LZMA_RUN);
		bytes_skip(s->in, s->in->n - z->avail_in);
		if (z->avail_out < n)
			return (ssize_t)(n - z->avail_out);
		if (l == LZMA_STREAM_END)
			return 0;
		if (l != LZMA_OK)
			return fail(s, l, err);
	}
}

static void xz_done(struct codec_state *s)
{
	if (s->own != NULL)
		lzma_end(s->own);
	free(s->own);
}

const struct codec codec_xz = {xz_init, xz_read, xz_done};
