/*
 * What labels said, so that they need not be read again while they do not change: one bit for
 * each, under 31 bits of the digest and 32 that change with the label's file. 8 bytes a slot. An
 * answer may be wrong once in 2^63 times: good for counting, never for removing.
 *
 *   struct evict_memo m = {0}; evict_memo_get / evict_memo_put -> evict_memo_reset
 *
 * Threads: the caller's own.
 */
#ifndef STORE_EVICT_MEMO_H
#define STORE_EVICT_MEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/digest.h"

struct evict_memo {
	uint64_t *slots; /* 0: empty */
	size_t n_slots;	 /* 0 or a power of two */
	size_t n_used;
};

/* 1, 0, or -1: not known for this state of the label's file. */
int evict_memo_get(const struct evict_memo *m, const struct digest *d, const struct stat *label);

/* Without memory nothing is remembered. */
void evict_memo_put(struct evict_memo *m, const struct digest *d, const struct stat *label,
		    bool bit);

/* Forget all, and give back the memory. */
void evict_memo_reset(struct evict_memo *m);

#endif
