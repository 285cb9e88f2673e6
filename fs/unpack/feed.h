/*
 * A bounded queue of buffers between threads: one fills it, each of its readers sees all of it.
 *
 *   writer:  while ((p = feed_reserve(f)) != NULL) feed_push(f, bytes written to p)
 *            feed_end(f, 0 or why it ends early)
 *   reader:  while ((n = feed_next(f, reader, &p, err)) > 0) use p[0..n)
 *   anyone:  feed_stop(f): both sides end soon
 *
 * Threads: one writer, one thread for each reader. Locks: a leaf lock of its own.
 */
#ifndef UNPACK_FEED_H
#define UNPACK_FEED_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define FEED_BYTES ((size_t)256 << 10) /* of each buffer */
#define FEED_MAX_READERS 2

struct feed;

/* Returns 0 or -ENOMEM. */
int feed_new(unsigned int n_readers, unsigned int n_buffers, struct feed **ret);

/* FEED_BYTES to write to, once every reader has left them; NULL: stopped. */
uint8_t *feed_reserve(struct feed *f);

/* Publish the first n > 0 bytes of what was reserved. */
void feed_push(struct feed *f, size_t n);

/* Nothing follows; r < 0: what readers are told at the end, with err's message (or NULL). */
void feed_end(struct feed *f, int r, const struct err *err);

/*
 * The next buffer, the one before is given back: its length, 0 at the end, what feed_end() was
 * given, or -ECANCELED when stopped.
 */
ssize_t feed_next(struct feed *f, unsigned int reader, const uint8_t **ret, struct err *err);

void feed_stop(struct feed *f);

/* NULL is accepted; returns NULL. No thread may be in any other call. */
struct feed *feed_free(struct feed *f);

#endif
