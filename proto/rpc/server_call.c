#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "rpc/server_private.h"

enum { MAX_STATUS_TEXT = 1024 };

void server_call_free(struct rpc_call *call)
{
	list_del(&call->node);
	call->server->stats.calls--;
	if (call->request != NULL)
		protobuf_c_message_free_unpacked(call->request, NULL);
	free(call);
}

/* ---- from the wire to the handler ---- */

static const struct rpc_method *find_method(const struct rpc_server *s, const char *path)
{
	for (const struct rpc_method *m = s->options.methods; m->path != NULL; m++)
		if (strcmp(m->path, path) == 0)
			return m;
	return NULL;
}

static int unpack_request(struct rpc_call *call)
{
	size_t len;
	const uint8_t *p = h2_stream_message(call->stream, &len);

	call->request = protobuf_c_message_unpack(call->method->request, NULL, len, p);
	h2_stream_drop_message(call->stream);
	return call->request != NULL ? 0 : -EBADMSG;
}

static void on_request(struct h2_stream *st, void *ctx)
{
	struct rpc_conn *c = ctx;
	struct rpc_server *s = c->server;
	const struct rpc_method *m = find_method(s, h2_stream_path(st));
	uint64_t timeout_ms = h2_stream_timeout_ms(st);
	struct rpc_call *call;

	s->stats.n_calls++;
	if (m == NULL || s->shutting_down) {
		s->stats.n_failed++;
		if (m == NULL)
			h2_stream_end(st, RPC_UNIMPLEMENTED, "unknown method");
		else
			h2_stream_end(st, RPC_UNAVAILABLE, "the server is shutting down");
		return;
	}
	call = calloc(1, sizeof(*call));
	if (call == NULL) {
		h2_stream_end(st, RPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	*call = (struct rpc_call){
		.server = s, .stream = st, .conn = c, .method = m, .peer = c->peer};
	list_add_tail(&s->calls, &call->node);
	s->stats.calls++;
	h2_stream_set_owner(st, call);
	if (unpack_request(call) < 0) {
		rpc_fail(call, RPC_INVALID_ARGUMENT, "the request is no %s", m->request->name);
		return;
	}
	if (timeout_ms > 0) {
		call->deadline_ms = h2_stream_begun_ms(st) + timeout_ms;
		server_wake_at(s, call->deadline_ms);
	}
	if (m->streams) /* so that the client knows that it is being served */
		(void)h2_stream_begin(st);
	m->handle(call, call->request, s->options.ctx);
}

void server_call_gone(struct rpc_call *call, enum rpc_gone why)
{
	void (*gone)(struct rpc_call *, enum rpc_gone) = call->gone;

	if (call->stream != NULL)
		h2_stream_set_owner(call->stream, NULL);
	call->stream = NULL;
	call->conn = NULL;
	call->gone = NULL;
	call->server->stats.n_gone++;
	if (gone != NULL)
		gone(call, why);
}

static void on_closed(struct h2_stream *st, void *ctx)
{
	struct rpc_call *call = h2_stream_owner(st);

	(void)ctx;
	if (call != NULL)
		server_call_gone(call, RPC_GONE_CLIENT);
}

static void on_room(struct h2_stream *st, void *ctx)
{
	struct rpc_call *call = h2_stream_owner(st);

	(void)ctx;
	if (call != NULL && call->writable != NULL)
		call->writable(call);
}

const struct h2_server_ops server_call_ops = {
	.request = on_request,
	.closed = on_closed,
	.room = on_room,
};

uint64_t server_calls_expire(struct rpc_server *s, uint64_t now_ms)
{
	uint64_t next = UINT64_MAX;
	bool again = true;

	/* A hook may end any call, so the walk starts over behind each. */
	while (again) {
		again = false;
		next = UINT64_MAX;
		list_for_each (n, &s->calls) {
			struct rpc_call *call = list_entry(n, struct rpc_call, node);

			if (call->stream == NULL || call->deadline_ms == 0)
				continue;
			if (call->deadline_ms <= now_ms) {
				h2_stream_end(call->stream, RPC_DEADLINE_EXCEEDED,
					      "the deadline has passed");
				server_conn_kick(call->conn);
				s->stats.n_failed++;
				server_call_gone(call, RPC_GONE_DEADLINE);
				again = true;
				break;
			}
			if (call->deadline_ms < next)
				next = call->deadline_ms;
		}
	}
	return next;
}

/* ---- from the handler to the wire ---- */

static int queue_message(struct rpc_call *call, const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	uint8_t *p;

	assert(m->descriptor == call->method->reply);
	if (len > call->server->options.limits.max_message_bytes)
		return -E2BIG;
	p = h2_stream_add(call->stream, len);
	if (p == NULL)
		return -ENOMEM;
	(void)protobuf_c_message_pack(m, p);
	server_conn_kick(call->conn);
	return 0;
}

static void end_call(struct rpc_call *call, enum rpc_status status, const char *message)
{
	if (call->stream != NULL) {
		h2_stream_set_owner(call->stream, NULL);
		h2_stream_end(call->stream, status, message);
		server_conn_kick(call->conn);
		if (status != RPC_OK)
			call->server->stats.n_failed++;
	}
	server_call_free(call);
}

void rpc_reply(struct rpc_call *call, const ProtobufCMessage *m)
{
	int r = 0;

	assert(!call->method->streams);
	if (call->stream != NULL)
		r = queue_message(call, m);
	if (r == -E2BIG)
		end_call(call, RPC_INTERNAL, "the reply is larger than the server sends");
	else if (r < 0)
		end_call(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
	else
		end_call(call, RPC_OK, NULL);
}

void rpc_finish(struct rpc_call *call)
{
	assert(call->method->streams);
	end_call(call, RPC_OK, NULL);
}

void rpc_fail(struct rpc_call *call, enum rpc_status status, const char *fmt, ...)
{
	char text[MAX_STATUS_TEXT];
	va_list ap;

	assert(status != RPC_OK);
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	end_call(call, status, text);
}

void rpc_fail_err(struct rpc_call *call, int r, const struct err *err)
{
	assert(r < 0);
	end_call(call, rpc_status_from_errno(r), err_text(err, r));
}

int rpc_stream_send(struct rpc_call *call, const ProtobufCMessage *m)
{
	size_t queued, len;

	assert(call->method->streams);
	if (call->stream == NULL)
		return -EPIPE;
	queued = h2_stream_queued(call->stream);
	len = protobuf_c_message_get_packed_size(m);
	if (queued > 0 && queued + len > call->server->options.limits.max_stream_queue_bytes) {
		h2_stream_wants_room(call->stream);
		return -EAGAIN;
	}
	return queue_message(call, m);
}

void rpc_call_set_hooks(struct rpc_call *call, void (*gone)(struct rpc_call *, enum rpc_gone why),
			void (*writable)(struct rpc_call *), void *data)
{
	call->gone = call->stream != NULL ? gone : NULL;
	call->writable = writable;
	call->data = data;
}

void *rpc_call_data(const struct rpc_call *call)
{
	return call->data;
}

void *rpc_call_ctx(const struct rpc_call *call)
{
	return call->server->options.ctx;
}

const ProtobufCMessage *rpc_call_request(const struct rpc_call *call)
{
	return call->request;
}

const struct rpc_method *rpc_call_method(const struct rpc_call *call)
{
	return call->method;
}

bool rpc_call_is_gone(const struct rpc_call *call)
{
	return call->stream == NULL;
}

uint64_t rpc_call_deadline_ms(const struct rpc_call *call)
{
	return call->deadline_ms;
}

const struct ucred *rpc_call_peer(const struct rpc_call *call)
{
	return &call->peer;
}
