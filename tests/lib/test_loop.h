/*
 * The smallest loop that struct rpc_loop asks for, for tests.
 *
 *   struct test_loop l; test_loop_init(&l) -> test_loop_round(&l, max_wait_ms) ... ->
 * test_loop_done
 *
 * Include it once in a program.
 */
#ifndef TESTS_LIB_TEST_LOOP_H
#define TESTS_LIB_TEST_LOOP_H

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "rpc/loop_if.h"

enum { TEST_LOOP_TIMERS = 8, TEST_LOOP_IOS = 512 };

struct test_loop {
	struct rpc_loop loop; /* the first member */
	int epoll_fd;
	struct rpc_io *ios[TEST_LOOP_IOS]; /* to see that nothing is called after fd_del() */
	struct rpc_timer *timers[TEST_LOOP_TIMERS];
	uint64_t due_ms[TEST_LOOP_TIMERS];
};

static int test_loop_ctl(struct rpc_loop *l, int op, struct rpc_io *io, uint32_t events)
{
	struct test_loop *t = (struct test_loop *)l;
	struct epoll_event ev = {.events = events, .data.ptr = io};

	return epoll_ctl(t->epoll_fd, op, io->fd, &ev) < 0 ? -errno : 0;
}

static int test_loop_fd_add(struct rpc_loop *l, struct rpc_io *io, uint32_t events)
{
	struct test_loop *t = (struct test_loop *)l;

	for (int i = 0; i < TEST_LOOP_IOS; i++) {
		if (t->ios[i] != NULL)
			continue;
		t->ios[i] = io;
		return test_loop_ctl(l, EPOLL_CTL_ADD, io, events);
	}
	return -ENOSPC;
}

static int test_loop_fd_mod(struct rpc_loop *l, struct rpc_io *io, uint32_t events)
{
	return test_loop_ctl(l, EPOLL_CTL_MOD, io, events);
}

static void test_loop_fd_del(struct rpc_loop *l, struct rpc_io *io)
{
	struct test_loop *t = (struct test_loop *)l;

	for (int i = 0; i < TEST_LOOP_IOS; i++)
		if (t->ios[i] == io)
			t->ios[i] = NULL;
	(void)test_loop_ctl(l, EPOLL_CTL_DEL, io, 0);
}

static void test_loop_timer_clear(struct rpc_loop *l, struct rpc_timer *timer)
{
	struct test_loop *t = (struct test_loop *)l;

	for (int i = 0; i < TEST_LOOP_TIMERS; i++)
		if (t->timers[i] == timer)
			t->timers[i] = NULL;
}

static int test_loop_timer_set(struct rpc_loop *l, struct rpc_timer *timer, uint64_t in_ms)
{
	struct test_loop *t = (struct test_loop *)l;

	test_loop_timer_clear(l, timer);
	for (int i = 0; i < TEST_LOOP_TIMERS; i++) {
		if (t->timers[i] != NULL)
			continue;
		t->timers[i] = timer;
		t->due_ms[i] = clock_mono_ms() + in_ms;
		return 0;
	}
	return -ENOSPC;
}

static void test_loop_init(struct test_loop *t)
{
	*t = (struct test_loop){.loop = {.fd_add = test_loop_fd_add,
					 .fd_mod = test_loop_fd_mod,
					 .fd_del = test_loop_fd_del,
					 .timer_set = test_loop_timer_set,
					 .timer_clear = test_loop_timer_clear}};
	t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
}

static void test_loop_done(struct test_loop *t)
{
	(void)close(t->epoll_fd);
}

/* Descriptors, then timers. */
static void test_loop_round(struct test_loop *t, int max_wait_ms)
{
	struct epoll_event evs[64];
	uint64_t now_ms = clock_mono_ms();
	int n, wait_ms = max_wait_ms;

	for (int i = 0; i < TEST_LOOP_TIMERS; i++) {
		int in_ms = t->due_ms[i] > now_ms ? (int)(t->due_ms[i] - now_ms) : 0;

		if (t->timers[i] != NULL && (wait_ms < 0 || in_ms < wait_ms))
			wait_ms = in_ms;
	}
	n = epoll_wait(t->epoll_fd, evs, 64, wait_ms);
	for (int i = 0; i < n; i++)
		for (int j = 0; j < TEST_LOOP_IOS; j++)
			if (t->ios[j] != NULL && t->ios[j] == evs[i].data.ptr) {
				t->ios[j]->ready(t->ios[j], evs[i].events);
				break;
			}
	now_ms = clock_mono_ms();
	for (int i = 0; i < TEST_LOOP_TIMERS; i++) {
		struct rpc_timer *timer = t->timers[i];

		if (timer == NULL || t->due_ms[i] > now_ms)
			continue;
		t->timers[i] = NULL;
		timer->fired(timer);
	}
}

#endif
