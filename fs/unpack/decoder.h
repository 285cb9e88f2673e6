/*
 * Decompression by magic: what is packed by gzip, zstd, xz or bzip2 comes out unpacked, anything
 * else as it is.
 *
 *   decoder_new(&in, limits) -> decoder_read ... until 0 -> decoder_free
 *
 * All frames, members and streams of a file are read, one behind the other (RFC 1952 2.2, RFC 8878
 * 3.1: skippable frames too), and every checksum is checked. What stands behind the last one:
 * gzip: zeros are padding, anything else is passed over and told by decoder_trailing(), as gzip(1)
 * does; zstd, xz, bzip2: an error, as their tools say.
 *
 * Threads: one at a time.
 */
#ifndef UNPACK_DECODER_H
#define UNPACK_DECODER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "unpack/bytes.h"
#include "unpack/unpack.h"

struct decoder;

/*
 * Reads the first bytes to see what it is.
 *
 * @in          borrowed until decoder_free()
 * @max_window  memory for the window of zstd and xz; a stream that asks for more is -E2BIG
 *
 * Returns 0, -ENOMEM, or from in->next.
 */
int decoder_new(struct bytes *in, size_t max_window, struct decoder **ret, struct err *err);

enum unpack_format decoder_format(const struct decoder *d);

/*
 * Fill buf with n bytes, fewer only at the end, 0 when there are none.
 * -EBADMSG damaged or cut short, -E2BIG, -ENOMEM, or from in->next.
 */
ssize_t decoder_read(struct decoder *d, void *buf, size_t n, struct err *err);

/* Of what is plain, the next piece as it came, without a copy: see bytes_next_fn. */
ssize_t decoder_next(struct decoder *d, const uint8_t **ret, struct err *err);

/* Bytes behind the end of a gzip file that are no padding; known at the end. */
uint64_t decoder_trailing(const struct decoder *d);

/* NULL is accepted; returns NULL. */
struct decoder *decoder_free(struct decoder *d);

#endif
