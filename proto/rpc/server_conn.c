#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "rpc/server_private.h"

enum {
	READ_BYTES = 16 << 10,
	MAX_READS = 8,	      /* of one connection in a row: the others want a turn */
	MAX_TURNS = 32,	      /* of writing and calling back: a stream may have no end */
	OUT_BYTES = 32 << 10, /* gathered for one write */
};

/*
 * While the socket does not take what we have, nothing more is read: a client that floods us with
 * requests and reads no answer waits for itself.
 */
static uint32_t wanted_events(const struct rpc_conn *c)
{
	return c->out.len > c->out_sent ? EPOLLOUT : EPOLLIN;
}

static void write_out(struct rpc_conn *c)
{
	while (c->out_sent < c->out.len) {
		ssize_t n = send(c->io.fd, c->out.data + c->out_sent, c->out.len - c->out_sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			c->broken = c->broken || errno != EAGAIN;
			return;
		}
		c->out_sent += (size_t)n;
	}
	buf_done(&c->out); /* an idle connection holds no memory for what it once said */
	c->out_sent = 0;
}

static void flush(struct rpc_conn *c)
{
	while (!c->broken) {
		write_out(c);
		if (c->broken || c->out.len > 0)
			return;
		if (h2_server_send(c->h2, &c->out, OUT_BYTES) < 0)
			c->broken = true;
		if (c->out.len == 0)
			return;
	}
}

static void read_in(struct rpc_conn *c)
{
	for (int i = 0; i < MAX_READS && !c->broken; i++) {
		uint8_t bytes[READ_BYTES];
		ssize_t n = recv(c->io.fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			c->broken = true;
			return;
		}
		if (h2_server_recv(c->h2, bytes, (size_t)n, clock_mono_ms()) < 0) {
			c->server->stats.n_broken_connections++;
			flush(c); /* the GOAWAY that says why */
			c->broken = true;
		}
		if ((size_t)n < sizeof(bytes))
			return;
	}
}

bool server_conn_pump(struct rpc_conn *c)
{
	struct rpc_server *s = c->server;
	bool again = true, drained;

	list_del(&c->kicked);
	c->pumping = true;
	for (int i = 0; i < MAX_TURNS && again; i++) {
		flush(c);
		again = h2_server_dispatch(c->h2);
	}
	c->pumping = false;
	if (again)
		server_conn_kick(c);

	drained = c->out.len == 0 && !again;
	if (c->broken || (drained && h2_server_is_over(c->h2))) {
		server_conn_close(c, RPC_GONE_CLIENT);
		return false;
	}
	if (wanted_events(c) != c->events) {
		c->events = wanted_events(c);
		if (s->options.loop->fd_mod(s->options.loop, &c->io, c->events) < 0) {
			server_conn_close(c, RPC_GONE_CLIENT);
			return false;
		}
	}
	return true;
}

void server_conn_kick(struct rpc_conn *c)
{
	/* While it is pumped it is looked at again anyway. */
	if (c->pumping || !list_empty(&c->kicked))
		return;
	list_add_tail(&c->server->kicked, &c->kicked);
	server_wake_at(c->server, 0);
}

static void on_ready(struct rpc_io *io, uint32_t events)
{
	struct rpc_conn *c = list_entry(io, struct rpc_conn, io);
	struct rpc_server *s = c->server;

	c->pumping = true; /* nothing that is called here has to be woken */
	if ((events & EPOLLIN) != 0) {
		read_in(c);
		if (h2_server_n_streams(c->h2) > 0) /* one may never be sent to its end */
			server_wake_at(s, clock_mono_ms() + s->options.limits.request_ms + 1);
	}
	if ((events & EPOLLIN) == 0 && (events & (EPOLLHUP | EPOLLERR)) != 0)
		c->broken = true;
	(void)server_conn_pump(c);
	if (s->shutting_down && list_empty(&s->conns))
		server_wake_at(s, 0);
}

static int conn_init(struct rpc_conn *c, struct rpc_server *s, const struct ucred *peer)
{
	const struct rpc_limits *limits = &s->options.limits;
	const struct h2_server_limits h2_limits = {
		.max_streams = limits->max_streams,
		.max_header_bytes = limits->max_header_bytes,
		.max_message_bytes = limits->max_message_bytes,
		.budget = &s->budget,
	};

	c->server = s;
	c->peer = *peer;
	c->accepted_ms = clock_mono_ms();
	list_init(&c->kicked);
	buf_init(&c->out, SIZE_MAX / 2);
	return h2_server_new(&h2_limits, &server_call_ops, c, &c->h2);
}

int server_conn_new(struct rpc_server *s, int fd, const struct ucred *peer)
{
	struct rpc_loop *loop = s->options.loop;
	cleanup_fd int owned_fd = fd;
	cleanup_free struct rpc_conn *c = calloc(1, sizeof(*c));
	int r;

	if (c == NULL)
		return -ENOMEM;
	r = conn_init(c, s, peer);
	if (r < 0)
		return r;
	c->io = (struct rpc_io){.fd = fd, .ready = on_ready};
	c->events = EPOLLIN;
	r = loop->fd_add(loop, &c->io, c->events);
	if (r < 0) {
		c->h2 = h2_server_free(c->h2);
		return r;
	}
	list_add_tail(&s->conns, &c->node);
	s->stats.connections++;
	s->stats.n_accepted++;
	server_wake_at(s, c->accepted_ms + s->options.limits.handshake_ms);
	server_conn_kick(c); /* our SETTINGS */
	(void)steal_ptr(c);  /* the list's */
	(void)steal_fd(owned_fd);
	return 0;
}

/* A hook may end any call of the server, so the walk starts over behind each. */
static void conn_calls_gone(struct rpc_conn *c, enum rpc_gone why)
{
	bool again = true;

	while (again) {
		again = false;
		list_for_each (n, &c->server->calls) {
			struct rpc_call *call = list_entry(n, struct rpc_call, node);

			if (call->conn == c) {
				server_call_gone(call, why);
				again = true;
				break;
			}
		}
	}
}

void server_conn_close(struct rpc_conn *c, enum rpc_gone why)
{
	struct rpc_server *s = c->server;

	c->pumping = true; /* it is not kicked by what the hooks do */
	conn_calls_gone(c, why);
	s->options.loop->fd_del(s->options.loop, &c->io);
	(void)close(c->io.fd);
	list_del(&c->node);
	list_del(&c->kicked);
	buf_done(&c->out);
	c->h2 = h2_server_free(c->h2);
	s->stats.connections--;
	free(c);
}

uint64_t server_conn_expire(struct rpc_conn *c, uint64_t now_ms)
{
	const struct rpc_limits *limits = &c->server->options.limits;
	uint64_t next = UINT64_MAX, begun;

	if (!h2_server_is_ready(c->h2)) {
		if (now_ms >= c->accepted_ms + limits->handshake_ms) {
			c->broken = true;
			server_conn_kick(c);
			return UINT64_MAX;
		}
		return c->accepted_ms + limits->handshake_ms;
	}
	h2_server_expire(c->h2, now_ms > limits->request_ms ? now_ms - limits->request_ms : 0,
			 &begun);
	if (begun != UINT64_MAX)
		next = begun + limits->request_ms + 1;
	server_conn_kick(c); /* for what was refused */
	return next;
}
