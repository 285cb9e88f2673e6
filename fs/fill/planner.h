/*
 * Which bytes of a blob to ask for next. Threads: pure functions.
 */
#ifndef FILL_PLANNER_H
#define FILL_PLANNER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/chunkmap.h"

struct span {
	uint64_t start, end; /* [start, end) */
};

/*
 * The first bytes in [from, to) that are neither here nor asked for: from the first gap on, at
 * most max_bytes (rounded up to a chunk) and no further than the next chunk that is whole or that
 * one of the n spans in flight touches. A chunk that is here in part is gone on with behind that.
 * The end is a chunk's, or the blob's. false: there is nothing to ask for.
 */
bool planner_next(const struct chunkmap *m, const struct span *flying, size_t n, uint64_t from,
		  uint64_t to, uint64_t max_bytes, struct span *ret);

/*
 * How much to ask for at once: twice as much each time, so that a small need costs little and a
 * long run few round trips, up to a limit, and so that `connections` end at about the same time.
 * The limit is 16 MiB, or as much as comes in half a second, up to 64: who wants the end of what
 * has been asked for waits no longer than that.
 *
 * @bytes_per_s  of the last range that came whole; 0: none did
 */
uint64_t planner_length(uint64_t previous, uint64_t left, unsigned int connections,
			uint64_t bytes_per_s);

#endif
