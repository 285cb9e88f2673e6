#include "rpc/server.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "rpc/server_private.h"

enum {
	MAX_ACCEPTS = 16,      /* in a row: those who are here already want a turn */
	ACCEPT_PAUSE_MS = 100, /* without descriptors to spare */
};

static void set_size(size_t *value, size_t otherwise)
{
	if (*value == 0)
		*value = otherwise;
}

static void set_defaults(struct rpc_limits *l)
{
	set_size(&l->max_connections, 256);
	set_size(&l->max_streams, 256);
	set_size(&l->max_header_bytes, 8 << 10);
	set_size(&l->max_message_bytes, 4 << 20);
	set_size(&l->max_buffered_bytes, 16 << 20);
	set_size(&l->max_stream_queue_bytes, 64 << 10);
	l->handshake_ms = l->handshake_ms != 0 ? l->handshake_ms : 10000;
	l->request_ms = l->request_ms != 0 ? l->request_ms : 30000;
}

/* ---- time ---- */

void server_wake_at(struct rpc_server *s, uint64_t then_ms)
{
	struct rpc_loop *loop = s->options.loop;
	uint64_t now_ms = clock_mono_ms();

	if (then_ms < now_ms)
		then_ms = now_ms;
	if (s->timer_due_ms != 0 && s->timer_due_ms <= then_ms)
		return;
	if (loop->timer_set(loop, &s->timer, then_ms - now_ms) == 0)
		s->timer_due_ms = then_ms;
}

static void pump_kicked(struct rpc_server *s)
{
	struct list now;

	/* Who is kicked meanwhile waits for the next round: the rest of the program wants a turn.
	 */
	list_init(&now);
	while (!list_empty(&s->kicked)) {
		struct list *n = s->kicked.next;

		list_del(n);
		list_add_tail(&now, n);
	}
	while (!list_empty(&now))
		(void)server_conn_pump(list_entry(now.next, struct rpc_conn, kicked));
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t expire_conns(struct rpc_server *s, uint64_t now_ms)
{
	uint64_t next = UINT64_MAX;

	list_for_each (n, &s->conns)
		next = earlier(next,
			       server_conn_expire(list_entry(n, struct rpc_conn, node), now_ms));
	return next;
}

static uint64_t resume_listening(struct rpc_server *s, uint64_t now_ms)
{
	struct rpc_loop *loop = s->options.loop;

	if (s->paused_until_ms == 0 || !s->listening)
		return UINT64_MAX;
	if (now_ms < s->paused_until_ms)
		return s->paused_until_ms;
	s->paused_until_ms = 0;
	(void)loop->fd_mod(loop, &s->listen_io, EPOLLIN);
	return UINT64_MAX;
}

static void end_streams(struct rpc_server *s)
{
	bool again = true;

	while (again) {
		again = false;
		list_for_each (n, &s->calls) {
			struct rpc_call *call = list_entry(n, struct rpc_call, node);

			if (!call->method->streams || call->stream == NULL)
				continue;
			h2_stream_end(call->stream, RPC_UNAVAILABLE, "the server is shutting down");
			server_conn_kick(call->conn);
			server_call_gone(call, RPC_GONE_SHUTDOWN);
			again = true;
			break;
		}
	}
}

static void on_timer(struct rpc_timer *t)
{
	struct rpc_server *s = list_entry(t, struct rpc_server, timer);
	uint64_t now_ms = clock_mono_ms(), next;

	s->timer_due_ms = 0;
	if (s->shutting_down)
		end_streams(s);
	next = server_calls_expire(s, now_ms);
	next = earlier(next, expire_conns(s, now_ms));
	next = earlier(next, resume_listening(s, now_ms));
	pump_kicked(s);
	if (next != UINT64_MAX)
		server_wake_at(s, next);
	if (s->shutting_down && list_empty(&s->conns) && s->drained != NULL) {
		void (*drained)(void *) = s->drained;

		s->drained = NULL;
		drained(s->options.ctx); /* s may be no more */
	}
}

/* ---- connections ---- */

static bool is_allowed(const struct rpc_server *s, const struct ucred *peer)
{
	if (s->options.allow != NULL)
		return s->options.allow(peer, s->options.ctx);
	return peer->uid == 0 || peer->uid == geteuid();
}

/* At the limit the client that has been here longest and has no call open makes room. */
static bool make_room(struct rpc_server *s)
{
	if (s->stats.connections < s->options.limits.max_connections)
		return true;
	list_for_each (n, &s->conns) {
		struct rpc_conn *c = list_entry(n, struct rpc_conn, node);

		if (c->pumping || h2_server_n_streams(c->h2) > 0 || !h2_server_is_ready(c->h2))
			continue;
		h2_server_goaway(c->h2);
		if (server_conn_pump(c)) /* it did not take the GOAWAY */
			server_conn_close(c, RPC_GONE_CLIENT);
		return true;
	}
	return false;
}

int rpc_server_adopt(struct rpc_server *s, int fd)
{
	cleanup_fd int owned_fd = fd;
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return -errno;
	if (!is_allowed(s, &peer)) {
		s->stats.n_refused_peers++;
		return -EACCES;
	}
	if (s->shutting_down)
		return -ESHUTDOWN;
	if (!make_room(s))
		return -EMFILE;
	return server_conn_new(s, steal_fd(owned_fd), &peer);
}

static void on_listen_ready(struct rpc_io *io, uint32_t events)
{
	struct rpc_server *s = list_entry(io, struct rpc_server, listen_io);
	struct rpc_loop *loop = s->options.loop;

	(void)events;
	for (int i = 0; i < MAX_ACCEPTS; i++) {
		/* cppcheck-suppress nullPointer ; the peer's address is optional */
		int fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			/* A client that is not let in sees the end of the connection. */
			(void)rpc_server_adopt(s, fd);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			s->paused_until_ms = clock_mono_ms() + ACCEPT_PAUSE_MS;
			(void)loop->fd_mod(loop, io, 0);
			server_wake_at(s, s->paused_until_ms);
		}
		return;
	}
}

/* ---- the server ---- */

int rpc_server_new(const struct rpc_server_options *o, struct rpc_server **ret, struct err *err)
{
	struct rpc_server *s;

	if (o->methods == NULL || o->methods[0].path == NULL)
		return err_set(err, EINVAL, "a server without methods");
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return err_set(err, ENOMEM, "out of memory");
	s->options = *o;
	set_defaults(&s->options.limits);
	s->budget.max = s->options.limits.max_buffered_bytes;
	s->timer.fired = on_timer;
	list_init(&s->conns);
	list_init(&s->kicked);
	list_init(&s->calls);
	*ret = s;
	return 0;
}

int rpc_server_listen(struct rpc_server *s, int listen_fd)
{
	struct rpc_loop *loop = s->options.loop;
	int r;

	s->listen_io = (struct rpc_io){.fd = listen_fd, .ready = on_listen_ready};
	r = loop->fd_add(loop, &s->listen_io, EPOLLIN);
	s->listening = r == 0;
	return r;
}

static void stop_listening(struct rpc_server *s)
{
	if (s->listening)
		s->options.loop->fd_del(s->options.loop, &s->listen_io);
	s->listening = false;
}

void rpc_server_shutdown(struct rpc_server *s, void (*drained)(void *ctx))
{
	if (s->shutting_down)
		return;
	s->shutting_down = true;
	s->drained = drained;
	stop_listening(s);
	list_for_each (n, &s->conns) {
		struct rpc_conn *c = list_entry(n, struct rpc_conn, node);

		h2_server_goaway(c->h2);
		server_conn_kick(c);
	}
	server_wake_at(s, 0);
}

struct rpc_server *rpc_server_free(struct rpc_server *s)
{
	if (s == NULL)
		return NULL;
	s->shutting_down = true;
	stop_listening(s);
	while (!list_empty(&s->conns))
		server_conn_close(list_entry(s->conns.next, struct rpc_conn, node),
				  RPC_GONE_SHUTDOWN);
	/* Their clients went before: the handlers know, and have not ended them yet. */
	list_for_each_safe (n, &s->calls)
		server_call_free(list_entry(n, struct rpc_call, node));
	s->options.loop->timer_clear(s->options.loop, &s->timer);
	free(s);
	return NULL;
}

void rpc_server_stats(const struct rpc_server *s, struct rpc_server_stats *ret)
{
	*ret = s->stats;
}
