/*
 * A growing byte buffer with a stated limit, for text and for bytes that a peer sends.
 *
 *   struct buf b; buf_init(&b, max) -> buf_add/buf_printf ... -> b.data, b.len -> buf_done(&b)
 *
 * data is always NUL-terminated behind len once anything was added (the NUL does not count),
 * and "" before. buf_done() may be called twice. Threads: one at a time.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>

struct buf {
	char *data;
	size_t len;
	size_t cap; /* allocated bytes, 0 while data is static */
	size_t max; /* upper bound of len */
};

void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b);
#define cleanup_buf __attribute__((__cleanup__(buf_done))) /* whether or not cleanup.h is here */

/* Each returns 0, -E2BIG when the limit would be passed, or -ENOMEM; then b is unchanged. */
int buf_add(struct buf *b, const void *p, size_t n);
int buf_puts(struct buf *b, const char *s);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Make room for n more bytes at b->data + b->len; the caller raises len by what it wrote. */
int buf_reserve(struct buf *b, size_t n);

/* Forget the first n bytes (n <= len). */
void buf_consume(struct buf *b, size_t n);

/* Hand over the storage (free() it); b is empty then. NULL when memory is short. */
char *buf_steal(struct buf *b);

#endif
