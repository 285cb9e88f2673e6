/*
 * What proto/rpc asks of the loop of its owner: watch descriptors, fire a timer.
 *
 * The owner fills in a struct rpc_loop, the first member of something of its own, and hands it
 * over; rpc embeds struct rpc_io and struct rpc_timer in its objects. The field impl belongs to
 * the owner's loop, e.g. for its own record of the descriptor; it is NULL before fd_add() and
 * before the first timer_set().
 *
 * fd_del() and timer_clear() are called from any callback, also of an io or a timer that is due
 * in the same round: no callback of it may follow. The memory may be freed right afterwards.
 *
 * Threads: none.
 */
#ifndef RPC_LOOP_IF_H
#define RPC_LOOP_IF_H

#include <stdint.h>

struct rpc_io {
	int fd;
	void (*ready)(struct rpc_io *io, uint32_t events); /* EPOLL* bits, level triggered */
	void *impl;
};

struct rpc_timer {
	void (*fired)(struct rpc_timer *t); /* once for each timer_set() */
	void *impl;
};

struct rpc_loop {
	/* Watch io->fd for EPOLLIN and EPOLLOUT; errors and hangup always. 0 or negative errno. */
	int (*fd_add)(struct rpc_loop *l, struct rpc_io *io, uint32_t events);
	int (*fd_mod)(struct rpc_loop *l, struct rpc_io *io, uint32_t events);
	void (*fd_del)(struct rpc_loop *l, struct rpc_io *io); /* io->fd is still open */
	/* Fire in_ms from now, never from within this call; replaces an earlier setting. */
	int (*timer_set)(struct rpc_loop *l, struct rpc_timer *t, uint64_t in_ms);
	/* Also legal when it is not set. Must release whatever impl holds. */
	void (*timer_clear)(struct rpc_loop *l, struct rpc_timer *t);
};

#endif
