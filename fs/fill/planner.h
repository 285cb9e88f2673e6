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
 * long run few round trips, up to a limit, and so that as many as there may be connections end at
 * about the same time. The limit is 16 MiB, or as much as comes in half a second, up to 64: who
 * wants the end of what has been asked for waits no longer than that.
 *
 * @max_connections  of the fill
 * @bytes_per_s      of one connection, of late; 0: nothing is known yet
 */
uint64_t planner_length(uint64_t previous, uint64_t left, unsigned int max_connections,
			uint64_t bytes_per_s);

/*
 * Over how many connections. Many make up for round trips, and for what a network gives to each.
 * One that brings 131 MB/s, the whole of a gigabit, is held up by the machine as much as by the
 * network: there more of them only share what there is, and what is read first comes later for it.
 * Two then, so that none waits for the other's next request. Two as well until one has told.
 */
unsigned int planner_connections(unsigned int max, uint64_t bytes_per_s);

/* The first moments of a connection after which it is judged: a chunk is here or it is not fast. */
#define PLANNER_JUDGE_NS ((uint64_t)8 * 1000000)
/* And how long it is looked at later. */
#define PLANNER_WINDOW_NS ((uint64_t)250 * 1000000)

#endif
