#include "shim/copier.h"

#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/list.h"

enum { MAX_TURNS = 16 }; /* in a row: the others want a turn */

static int watch(struct copier *c, struct rpc_io *io, uint32_t events, bool *flag, bool want)
{
	int r = 0;

	/* Not watched rather than watched for nothing: a hangup would be told for ever. */
	if (want && !*flag)
		r = loop_add(c->loop, io, events);
	else if (!want && *flag)
		loop_del(c->loop, io);
	*flag = want && r == 0;
	return r;
}

static int watch_only(struct copier *c, bool from, bool to)
{
	int r = watch(c, &c->from, EPOLLIN, &c->watches_from, from);
	int r2 = watch(c, &c->to, EPOLLOUT, &c->watches_to, to);

	return r < 0 ? r : r2;
}

static void end(struct copier *c, int r)
{
	(void)watch_only(c, false, false);
	c->ended = true;
	if (c->on_end != NULL)
		c->on_end(c, r);
}

/* Returns 1 when all is written, 0 when it has to wait. */
static int write_out(struct copier *c)
{
	while (c->start < c->end) {
		ssize_t n = write(c->to.fd, c->bytes + c->start, c->end - c->start);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		c->start += (size_t)n;
	}
	return 1;
}

static void copy(struct copier *c)
{
	for (int i = 0; i < MAX_TURNS; i++) {
		int r = write_out(c);
		ssize_t n;

		if (r == 0)
			r = watch_only(c, false, true);
		else if (r == 1)
			r = watch_only(c, true, false);
		if (r < 0) {
			end(c, r);
			return;
		}
		if (c->watches_to)
			return;
		n = read(c->from.fd, c->bytes, sizeof(c->bytes));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (c->on_idle != NULL)
				c->on_idle(c);
			return;
		}
		if (n <= 0) {
			end(c, n < 0 ? -errno : 0);
			return;
		}
		c->start = 0;
		c->end = (size_t)n;
	}
}

static void on_from(struct rpc_io *io, uint32_t events)
{
	(void)events;
	copy(list_entry(io, struct copier, from));
}

static void on_to(struct rpc_io *io, uint32_t events)
{
	(void)events;
	copy(list_entry(io, struct copier, to));
}

void copier_init(struct copier *c, struct loop *loop, int from_fd, int to_fd)
{
	c->loop = loop;
	c->from = (struct rpc_io){.fd = from_fd, .ready = on_from};
	c->to = (struct rpc_io){.fd = to_fd, .ready = on_to};
	c->watches_from = c->watches_to = c->ended = false;
	c->on_end = NULL;
	c->on_idle = NULL;
	c->start = c->end = 0;
}

int copier_start(struct copier *c)
{
	c->ended = false;
	return c->start < c->end ? watch_only(c, false, true) : watch_only(c, true, false);
}

static void close_one(struct rpc_io *io)
{
	if (io->fd >= 0)
		(void)close(io->fd);
	io->fd = -1;
}

void copier_done(struct copier *c)
{
	(void)watch_only(c, false, false);
	close_one(&c->from);
	close_one(&c->to);
}
