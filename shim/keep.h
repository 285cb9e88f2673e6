/*
 * The shim's side of its keeper (shim/keeper.h): a second hand on what must stay open.
 *
 *   keep_open (asks the keeper of an earlier shim) -> keep_take for each process -> keep_taken
 *       -> keep_put, keep_drop -> keep_close
 *
 * A keeper is started with the first thing to keep, and ends with the last one. Without one all
 * works, until the shim is killed.
 *
 * Threads: none.
 */
#ifndef SHIM_KEEP_H
#define SHIM_KEEP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "shim/keep_wire.h"

struct keep_entry;

struct keep {
	int fd;	   /* to the keeper; -1: there is none */
	pid_t pid; /* of it */
	struct keep_entry *entries;
	size_t n, cap;
};

void keep_init(struct keep *k);
/*
 * What the keeper of an earlier shim has, for keep_take(). 0 also when there is none; else the
 * keeper does not answer, and is done without.
 */
int keep_open(struct keep *k, struct err *err);
/* The descriptors of a process are the caller's, and go on being kept; -1 where there is none. */
void keep_take(struct keep *k, uint32_t serial, int fds[KEEP_SLOTS]);
/* All others are of nobody any more. */
void keep_taken(struct keep *k);

/* Keep these as well, as long as keep_drop() does not say otherwise; -1: none. */
int keep_put(struct keep *k, uint32_t serial, const int fds[KEEP_SLOTS], struct err *err);
/* slots: 1 << enum keep_slot. Those that are not kept are passed over. */
void keep_drop(struct keep *k, uint32_t serial, uint32_t slots);

/* The keeper stays if it has anything. */
void keep_close(struct keep *k);

#endif
