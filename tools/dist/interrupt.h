/*
 * SIGINT, SIGTERM and SIGHUP of a command that has something to tidy up before it ends.
 *
 *   interrupt_begin (before the first thread) -> [interrupt_hold -> what must be tidied up]
 *     -> interrupt_end
 *
 * Until interrupt_hold() they end the process, as always. Behind it the first of them is kept:
 * stop() is called, interrupted() is true, and interrupt_end() lets it end the process. A second
 * one ends it at once. Those that are ignored (nohup, a background job) stay ignored.
 *
 * Threads: begin, hold and end by one thread; interrupted() by any. stop() is called by a thread
 * of its own, at most once.
 */
#ifndef DIST_INTERRUPT_H
#define DIST_INTERRUPT_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

#include "base/err.h"

struct interrupt {
	sigset_t set;
	int signal_fd, end_fd;
	pthread_t thread;
	pthread_mutex_t lock;
	bool held; /* protected by lock, like the next two */
	void (*stop)(void *arg);
	void *arg;
	_Atomic int signal; /* the one that came, or 0 */
};

/* Returns 0 or from signalfd(2), eventfd(2), pthread_create(3). */
int interrupt_begin(struct interrupt *in, struct err *err);

/* stop: NULL or what makes the command notice soon. */
void interrupt_hold(struct interrupt *in, void (*stop)(void *arg), void *arg);

bool interrupted(const struct interrupt *in);

/* Does not return when a signal was kept. */
void interrupt_end(struct interrupt *in);

#endif
