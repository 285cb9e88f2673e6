/*
 * Bytes that come in pieces, pulled: what decoders and the tar reader read from.
 *
 *   bytes_init(&b, next, arg) -> { bytes_fill(&b) -> use b.p, b.n -> bytes_skip(&b, used) } ...
 *
 * Threads: one at a time.
 */
#ifndef UNPACK_BYTES_H
#define UNPACK_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * The next piece: its length and *ret, which is valid until the next call; 0 at the end, and from
 * then on; or a negative errno with err set.
 */
typedef ssize_t bytes_next_fn(void *arg, const uint8_t **ret, struct err *err);

struct bytes {
	const uint8_t *p; /* what is at hand */
	size_t n;
	uint64_t offset; /* of p in the whole */
	bytes_next_fn *next;
	void *arg;
};

static inline void bytes_init(struct bytes *b, bytes_next_fn *next, void *arg)
{
	*b = (struct bytes){.next = next, .arg = arg};
}

/* Have at least one byte at hand: 1, or 0 at the end, or a negative errno. */
static inline int bytes_fill(struct bytes *b, struct err *err)
{
	ssize_t n;

	if (b->n > 0)
		return 1;
	n = b->next(b->arg, &b->p, err);
	b->n = n > 0 ? (size_t)n : 0;
	return n > 0 ? 1 : (int)n;
}

/* n <= b->n */
static inline void bytes_skip(struct bytes *b, size_t n)
{
	b->p += n;
	b->n -= n;
	b->offset += n;
}

/* Copy n bytes out, fewer only at the end: their count, or a negative errno. */
ssize_t bytes_read(struct bytes *b, void *buf, size_t n, struct err *err);

/* Pass over n bytes, fewer only at the end: 1 when there were so many, 0, or a negative errno. */
int bytes_pass(struct bytes *b, uint64_t n, struct err *err);

#endif
