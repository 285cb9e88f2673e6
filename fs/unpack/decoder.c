#include "unpack/decoder.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "unpack/codec.h"

#define MAGIC_BYTES 6 /* the longest */

struct decoder {
	struct codec_state state;
	const struct codec *codec; /* NULL: plain */
	enum unpack_format format;
	/* The first bytes, read to see the magic, in front of the rest. */
	struct bytes in;
	uint8_t head[MAGIC_BYTES];
};

CLEANUP_DEFINE(struct decoder *, decoder_free);

/*
 * gzip: RFC 1952 2.3.1 (deflate is the only method). zstd: RFC 8878 3.1.1, and 3.1.2 for skippable
 * frames. xz: "The .xz File Format" 2.1.1.1. bzip2: "BZh" and the block size.
 */
static enum unpack_format sniff(const uint8_t *p, size_t n)
{
	if (n >= 3 && p[0] == 0x1f && p[1] == 0x8b && p[2] == 8)
		return UNPACK_GZIP;
	if (n >= 4 && memcmp(p, "\x28\xb5\x2f\xfd", 4) == 0)
		return UNPACK_ZSTD;
	if (n >= 4 && (p[0] & 0xf0) == 0x50 && memcmp(p + 1, "\x2a\x4d\x18", 3) == 0)
		return UNPACK_ZSTD;
	if (n >= 6 && memcmp(p,
			     "\xfd"
			     "7zXZ\0",
			     6) == 0)
		return UNPACK_XZ;
	if (n >= 4 && memcmp(p, "BZh", 3) == 0 && p[3] >= '1' && p[3] <= '9')
		return UNPACK_BZIP2;
	return UNPACK_PLAIN;
}

static ssize_t next_of_rest(void *arg, const uint8_t **ret, struct err *err)
{
	struct bytes *rest = arg;
	int r = bytes_fill(rest, err);
	size_t n = rest->n;

	if (r <= 0)
		return r;
	*ret = rest->p;
	bytes_skip(rest, n);
	return (ssize_t)n;
}

int decoder_new(struct bytes *in, size_t max_window, struct decoder **ret, struct err *err)
{
	static const struct codec *const codecs[] = {[UNPACK_GZIP] = &codec_gzip,
						     [UNPACK_ZSTD] = &codec_zstd,
						     [UNPACK_XZ] = &codec_xz,
						     [UNPACK_BZIP2] = &codec_bzip2};
	cleanup(decoder_freep) struct decoder *d = calloc(1, sizeof(*d));
	ssize_t n;
	int r = 0;

	if (d == NULL)
		return err_set(err, ENOMEM, "out of memory");
	n = bytes_read(in, d->head, sizeof(d->head), err);
	if (n < 0)
		return (int)n;
	bytes_init(&d->in, next_of_rest, in);
	d->in.p = d->head;
	d->in.n = (size_t)n;
	d->state.in = &d->in;
	d->state.max_window = max_window;
	d->format = sniff(d->head, (size_t)n);
	d->codec = codecs[d->format];
	if (d->codec != NULL)
		r = d->codec->init(&d->state, err);
	if (r < 0)
		return r;
	*ret = steal_ptr(d);
	return 0;
}

enum unpack_format decoder_format(const struct decoder *d)
{
	return d->format;
}

ssize_t decoder_read(struct decoder *d, void *buf, size_t n, struct err *err)
{
	size_t done = 0;

	if (d->codec == NULL)
		return bytes_read(&d->in, buf, n, err);
	while (done < n) {
		ssize_t r = d->codec->read(&d->state, (uint8_t *)buf + done, n - done, err);

		if (r < 0)
			return err_wrap(err, (int)r, "%s", unpack_format_name(d->format));
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

ssize_t decoder_next(struct decoder *d, const uint8_t **ret, struct err *err)
{
	assert(d->codec == NULL);
	return next_of_rest(&d->in, ret, err);
}

uint64_t decoder_trailing(const struct decoder *d)
{
	return d->state.trailing;
}

struct decoder *decoder_free(struct decoder *d)
{
	if (d == NULL)
		return NULL;
	if (d->codec != NULL)
		d->codec->done(&d->state);
	free(d);
	return NULL;
}

const char *unpack_format_name(enum unpack_format format)
{
	static const char *const names[] = {[UNPACK_PLAIN] = "plain",
					    [UNPACK_GZIP] = "gzip",
					    [UNPACK_ZSTD] = "zstd",
					    [UNPACK_XZ] = "xz",
					    [UNPACK_BZIP2] = "bzip2"};

	return names[format];
}
