/*
 * The fifos by which a process of the container talks to us: the client makes them, and opens its
 * ends before the shim hears of them, so nothing is lost and nobody waits.
 *
 *   fifos_make -> paths into the request -> attach, or fifos_done
 *
 * Threads: none.
 */
#ifndef SHIMCTL_FIFOS_H
#define SHIMCTL_FIFOS_H

#include <stdbool.h>

#include "base/err.h"

struct fifos {
	bool terminal; /* no stderr */
	/* Absolute, "" for none. */
	char in[4096], out[4096], err[4096];
	int in_fd, out_fd, err_fd; /* our ends, -1 while not open */
	char temp_dir[64];	   /* of fifos that nobody named; "" when there are none */
};

/* Nothing is there yet; fifos_done() is legal. */
void fifos_init(struct fifos *f);

/*
 * Make the fifos that are named (one that exists is taken as it is), and, with attach, those that
 * are not named in a directory of our own; open our ends of those that we will use.
 *
 * @in, @out, @err_path  paths, NULL for not named
 * Returns 0, or errors of mkfifo(3) and open(2), -ENOTSUP for a path that is no fifo.
 */
int fifos_make(struct fifos *f, const char *in, const char *out, const char *err_path,
	       bool terminal, bool attach, struct err *err);

/* Open our ends of the fifos of a process that runs; "" for those it has not. */
int fifos_open(struct fifos *f, const char *in, const char *out, const char *err_path,
	       bool terminal, struct err *err);

/* Close our ends, remove what fifos_make() put into a directory of its own. */
void fifos_done(struct fifos *f);

#endif
