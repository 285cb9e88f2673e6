/*
 * Copies bytes from one descriptor to another as both allow, neither ever waited for.
 *
 *   copier_init -> copier_start -> (the loop runs) -> ended() -> copier_done
 *
 * It owns both descriptors. While the reader is slow nothing is read, so that the writer at the
 * other end waits, and nobody else.
 *
 * Threads: none.
 */
#ifndef SHIM_COPIER_H
#define SHIM_COPIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim/loop.h"

enum { COPIER_BYTES = 4096 };

struct copier {
	struct loop *loop;
	struct rpc_io from, to;	       /* fd -1: closed */
	bool watches_from, watches_to; /* one of both */
	bool ended;
	/*
	 * Once, when from has ended (r 0) or either has failed (a negative errno, -EIO from a
	 * terminal that nobody holds open). Both are still open.
	 */
	void (*on_end)(struct copier *c, int r);
	/* from has nothing more for now, and all is written; may be NULL. */
	void (*on_idle)(struct copier *c);
	size_t start, end; /* what is read and not written */
	uint8_t bytes[COPIER_BYTES];
};

void copier_init(struct copier *c, struct loop *loop, int from_fd, int to_fd);
/* Also to go on behind an end. 0 or the loop's error. */
int copier_start(struct copier *c);
/* Stop, and close both. */
void copier_done(struct copier *c);

#endif
