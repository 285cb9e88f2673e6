/*
 * The signals that would end us, held back while there is something that is not to stay behind.
 *
 *   interrupt_hold -> interrupt_taken, whenever we could stop ... -> interrupt_release
 *
 * A signal that is ignored (nohup(1), a shell's job in the background) stays so.
 *
 * Threads: none.
 */
#ifndef SHIMCTL_INTERRUPT_H
#define SHIMCTL_INTERRUPT_H

#include <signal.h>
#include <stdbool.h>

#include "base/err.h"

struct interrupt {
	int fd; /* readable when one has come; -1: none is held back */
	int sig;
	sigset_t old_mask; /* for children */
};

/* SIGINT, SIGTERM, SIGQUIT and SIGHUP, as far as they are not ignored, into set. */
void interrupt_signals(sigset_t *set);

int interrupt_hold(struct interrupt *i, struct err *err);
/* The first that has come since then; 0 when none has. */
int interrupt_taken(struct interrupt *i);
/* Those that have come are dropped. */
void interrupt_release(struct interrupt *i);

#endif
