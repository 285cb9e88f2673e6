#include "shim/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"

static int control(struct rpc_loop *rl, int op, struct rpc_io *io, uint32_t events)
{
	struct loop *l = (struct loop *)rl;
	struct epoll_event ev = {.events = events, .data.ptr = io};

	return epoll_ctl(l->epoll_fd, op, io->fd, &ev) < 0 ? -errno : 0;
}

static int fd_add(struct rpc_loop *rl, struct rpc_io *io, uint32_t events)
{
	return control(rl, EPOLL_CTL_ADD, io, events);
}

static int fd_mod(struct rpc_loop *rl, struct rpc_io *io, uint32_t events)
{
	return control(rl, EPOLL_CTL_MOD, io, events);
}

static void fd_del(struct rpc_loop *rl, struct rpc_io *io)
{
	struct loop *l = (struct loop *)rl;

	(void)control(rl, EPOLL_CTL_DEL, io, 0);
	for (int i = 0; i < l->n_batch; i++)
		if (l->batch[i].data.ptr == io)
			l->batch[i].data.ptr = NULL;
}

static void timer_clear(struct rpc_loop *rl, struct rpc_timer *t)
{
	struct loop *l = (struct loop *)rl;

	for (size_t i = 0; i < l->n_timers; i++)
		if (l->timers[i].timer == t) {
			l->timers[i] = l->timers[--l->n_timers];
			return;
		}
}

static int timer_set(struct rpc_loop *rl, struct rpc_timer *t, uint64_t in_ms)
{
	struct loop *l = (struct loop *)rl;

	timer_clear(rl, t);
	if (l->n_timers == l->cap_timers) {
		size_t cap = l->cap_timers > 0 ? l->cap_timers * 2 : 8;
		void *p = reallocarray(l->timers, cap, sizeof(*l->timers));

		if (p == NULL)
			return -ENOMEM;
		l->timers = p;
		l->cap_timers = cap;
	}
	l->timers[l->n_timers++] =
		(struct loop_timer){.timer = t, .due_ms = clock_mono_ms() + in_ms};
	return 0;
}

int loop_init(struct loop *l)
{
	*l = (struct loop){.rpc = {.fd_add = fd_add,
				   .fd_mod = fd_mod,
				   .fd_del = fd_del,
				   .timer_set = timer_set,
				   .timer_clear = timer_clear}};
	l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	return l->epoll_fd < 0 ? -errno : 0;
}

void loop_done(struct loop *l)
{
	if (l->epoll_fd >= 0)
		(void)close(l->epoll_fd);
	l->epoll_fd = -1;
	free(l->timers);
	l->timers = NULL;
	l->n_timers = l->cap_timers = 0;
}

static int wait_ms(const struct loop *l)
{
	uint64_t now_ms = clock_mono_ms(), next_ms = UINT64_MAX;

	for (size_t i = 0; i < l->n_timers; i++)
		if (l->timers[i].due_ms < next_ms)
			next_ms = l->timers[i].due_ms;
	if (next_ms == UINT64_MAX)
		return -1;
	if (next_ms <= now_ms)
		return 0;
	return next_ms - now_ms < INT_MAX ? (int)(next_ms - now_ms) : INT_MAX;
}

/* The earliest that was due when the round began: one set meanwhile waits for the next round. */
static struct rpc_timer *take_due(struct loop *l, uint64_t now_ms)
{
	struct loop_timer *first = NULL;
	struct rpc_timer *t;

	for (size_t i = 0; i < l->n_timers; i++)
		if (l->timers[i].due_ms <= now_ms &&
		    (first == NULL || l->timers[i].due_ms < first->due_ms))
			first = &l->timers[i];
	if (first == NULL)
		return NULL;
	t = first->timer;
	*first = l->timers[--l->n_timers];
	return t;
}

static void fire_timers(struct loop *l)
{
	uint64_t now_ms = clock_mono_ms();
	struct rpc_timer *t;

	/* No more than there are, or timers that set themselves for now would keep us here. */
	for (size_t n = l->n_timers; n > 0 && (t = take_due(l, now_ms)) != NULL; n--)
		t->fired(t);
}

int loop_run(struct loop *l)
{
	l->stopping = false;
	while (!l->stopping) {
		int n = epoll_wait(l->epoll_fd, l->batch, LOOP_BATCH, wait_ms(l));

		if (n < 0 && errno != EINTR)
			return -errno;
		l->n_batch = n > 0 ? n : 0;
		for (int i = 0; i < l->n_batch; i++) {
			struct rpc_io *io = l->batch[i].data.ptr;

			if (io != NULL)
				io->ready(io, l->batch[i].events);
		}
		l->n_batch = 0;
		fire_timers(l);
	}
	return 0;
}

void loop_stop(struct loop *l)
{
	l->stopping = true;
}

int loop_add(struct loop *l, struct rpc_io *io, uint32_t events)
{
	return fd_add(&l->rpc, io, events);
}

int loop_mod(struct loop *l, struct rpc_io *io, uint32_t events)
{
	return fd_mod(&l->rpc, io, events);
}

void loop_del(struct loop *l, struct rpc_io *io)
{
	fd_del(&l->rpc, io);
}

int loop_set_timer(struct loop *l, struct rpc_timer *t, uint64_t in_ms)
{
	return timer_set(&l->rpc, t, in_ms);
}

void loop_clear_timer(struct loop *l, struct rpc_timer *t)
{
	timer_clear(&l->rpc, t);
}
