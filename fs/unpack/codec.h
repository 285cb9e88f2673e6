/*
 * The decoders of each format, behind one table. Inside of fs/unpack: decoder.c alone calls them.
 */
#ifndef UNPACK_CODEC_H
#define UNPACK_CODEC_H

#include "unpack/bytes.h"

struct codec_state {
	struct bytes *in;
	size_t max_window;
	uint64_t trailing; /* see decoder_trailing() */
	bool inside;	   /* a frame, member or stream began and has not ended */
	void *own;	   /* the codec's */
};

struct codec {
	int (*init)(struct codec_state *s, struct err *err);
	/* As decoder_read(), but it may give fewer bytes before the end, though never 0. */
	ssize_t (*read)(struct codec_state *s, void *buf, size_t n, struct err *err);
	void (*done)(struct codec_state *s); /* own may be NULL */
};

extern const struct codec codec_gzip, codec_zstd, codec_xz, codec_bzip2;

#endif
