/*
 * The loop of a program with one thread: descriptors by epoll, timers, and work for the end of a
 * round. It is what rpc/loop_if.h asks for, and everything in the shim uses it by that interface.
 *
 *   loop_init -> fd_add, timer_set ... -> loop_run -> (loop_stop from a callback) -> loop_done
 *
 * Threads: none.
 */
#ifndef SHIM_LOOP_H
#define SHIM_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "rpc/loop_if.h"

enum { LOOP_BATCH = 32 };

struct loop_timer {
	struct rpc_timer *timer;
	uint64_t due_ms;
};

struct loop {
	struct rpc_loop rpc; /* the first member */
	int epoll_fd;
	struct epoll_event batch[LOOP_BATCH]; /* of this round; data.ptr is NULL once deleted */
	int n_batch;
	struct loop_timer *timers; /* in no order: there are few */
	size_t n_timers, cap_timers;
	bool stopping;
};

/* Returns 0 or a negative errno. */
int loop_init(struct loop *l);
void loop_done(struct loop *l);

/* Until loop_stop(). Returns 0, or a negative errno of epoll_wait(2). */
int loop_run(struct loop *l);
void loop_stop(struct loop *l);

/* Shorter names for what struct rpc_loop offers. */
int loop_add(struct loop *l, struct rpc_io *io, uint32_t events);
int loop_mod(struct loop *l, struct rpc_io *io, uint32_t events);
void loop_del(struct loop *l, struct rpc_io *io);
int loop_set_timer(struct loop *l, struct rpc_timer *t, uint64_t in_ms);
void loop_clear_timer(struct loop *l, struct rpc_timer *t);

#endif
