/*
 * A server of the shim's messages in this process, and clients of it over socketpairs.
 *
 *   struct fixture f; fixture_init(&f, limits) -> fixture_client / fixture_socket
 *                     -> fixture_pump(&f, condition) ... -> fixture_done(&f)
 *
 * Methods: Create answers pid 42 with the id's length added; Start keeps its call in f.held;
 * State fails with NOT_FOUND and the text "no such process 100%"; Events keeps its call in
 * f.stream; Exit shuts the server down and answers. Include it once in a program.
 */
#ifndef TESTS_LIB_RPC_FIXTURE_H
#define TESTS_LIB_RPC_FIXTURE_H

#include <stdbool.h>
#include <sys/socket.h>

#include "lib/test_loop.h"
#include "rpc/client.h"
#include "rpc/server.h"
#include "shim_pb/shim.pb-c.h"

#define SHIM_PATH(name) "/containerd.shim.v1.Shim/" name

struct fixture {
	struct test_loop loop;
	struct rpc_server *server;
	struct rpc_client *clients[256];
	size_t n_clients;
	struct rpc_call *held;	 /* Start, not answered */
	struct rpc_call *stream; /* Events, not ended */
	int n_gone, n_writable, n_drained;
	enum rpc_gone why;
	bool refuse_peers, end_when_gone;
};

static void fixture_gone(struct rpc_call *call, enum rpc_gone why)
{
	struct fixture *f = rpc_call_data(call);

	f->n_gone++;
	f->why = why;
	if (!f->end_when_gone)
		return;
	if (f->stream == call)
		f->stream = NULL;
	if (f->held == call)
		f->held = NULL;
	rpc_fail(call, RPC_CANCELLED, "nobody listens");
}

static void fixture_writable(struct rpc_call *call)
{
	((struct fixture *)rpc_call_data(call))->n_writable++;
}

static void fixture_create(struct rpc_call *call, const ProtobufCMessage *m, void *ctx)
{
	const Containerd__Shim__V1__CreateRequest *q = (const void *)m;
	Containerd__Shim__V1__CreateResponse a = CONTAINERD__SHIM__V1__CREATE_RESPONSE__INIT;

	(void)ctx;
	a.pid = 42 + (uint32_t)strlen(q->id);
	rpc_reply(call, &a.base);
}

static void fixture_start(struct rpc_call *call, const ProtobufCMessage *m, void *ctx)
{
	struct fixture *f = ctx;

	(void)m;
	f->held = call;
	rpc_call_set_hooks(call, fixture_gone, NULL, f);
}

static void fixture_state(struct rpc_call *call, const ProtobufCMessage *m, void *ctx)
{
	(void)m;
	(void)ctx;
	rpc_fail(call, RPC_NOT_FOUND, "no such process %d%%", 100);
}

static void fixture_events(struct rpc_call *call, const ProtobufCMessage *m, void *ctx)
{
	struct fixture *f = ctx;

	(void)m;
	f->stream = call;
	rpc_call_set_hooks(call, fixture_gone, fixture_writable, f);
}

static void fixture_drained(void *ctx)
{
	((struct fixture *)ctx)->n_drained++;
}

static void fixture_exit(struct rpc_call *call, const ProtobufCMessage *m, void *ctx)
{
	struct fixture *f = ctx;
	Containerd__Shim__V1__Empty a = CONTAINERD__SHIM__V1__EMPTY__INIT;

	(void)m;
	rpc_server_shutdown(f->server, fixture_drained);
	rpc_reply(call, &a.base);
}

static bool fixture_allow(const struct ucred *peer, void *ctx)
{
	return peer->pid == getpid() && !((struct fixture *)ctx)->refuse_peers;
}

static const struct rpc_method fixture_methods[] = {
	{SHIM_PATH("Create"), &containerd__shim__v1__create_request__descriptor,
	 &containerd__shim__v1__create_response__descriptor, false, fixture_create},
	{SHIM_PATH("Start"), &containerd__shim__v1__start_request__descriptor,
	 &containerd__shim__v1__empty__descriptor, false, fixture_start},
	{SHIM_PATH("State"), &containerd__shim__v1__state_request__descriptor,
	 &containerd__shim__v1__state_response__descriptor, false, fixture_state},
	{SHIM_PATH("Events"), &containerd__shim__v1__events_request__descriptor,
	 &containerd__shim__v1__event__descriptor, true, fixture_events},
	{SHIM_PATH("Exit"), &containerd__shim__v1__exit_request__descriptor,
	 &containerd__shim__v1__empty__descriptor, false, fixture_exit},
	{0},
};

static int fixture_init(struct fixture *f, const struct rpc_limits *limits)
{
	struct rpc_server_options o = {.methods = fixture_methods, .allow = fixture_allow};

	*f = (struct fixture){0};
	test_loop_init(&f->loop);
	o.loop = &f->loop.loop;
	o.ctx = f;
	if (limits != NULL)
		o.limits = *limits;
	return rpc_server_new(&o, &f->server, NULL);
}

static void fixture_done(struct fixture *f)
{
	for (size_t i = 0; i < f->n_clients; i++)
		f->clients[i] = rpc_client_close(f->clients[i]);
	f->server = rpc_server_free(f->server);
	test_loop_done(&f->loop);
}

/* A socket whose other end is served, or -1. */
static int fixture_socket(struct fixture *f)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
		return -1;
	if (rpc_server_adopt(f->server, fds[1]) < 0) {
		(void)close(fds[0]);
		return -1;
	}
	return fds[0];
}

static struct rpc_client *fixture_client(struct fixture *f)
{
	int fd = fixture_socket(f);
	struct rpc_client *c = NULL;

	if (fd >= 0 && rpc_client_adopt(fd, &c, NULL) == 0)
		f->clients[f->n_clients++] = c;
	return c;
}

static void fixture_round(struct fixture *f)
{
	test_loop_round(&f->loop, 1);
	for (size_t i = 0; i < f->n_clients; i++)
		rpc_client_process(f->clients[i]);
}

/* Let everybody work until cond holds; what comes of it is for a CHECK(cond) behind. */
#define fixture_pump(f, cond)                                  \
	do {                                                   \
		uint64_t until_ms_ = clock_mono_ms() + 20000;  \
		while (!(cond) && clock_mono_ms() < until_ms_) \
			fixture_round(f);                      \
	} while (0)

/* The answer to a call, as it comes. */
struct answer {
	int n_messages, n_done;
	enum rpc_status status;
	char text[256];
	uint32_t pid;	    /* of the last message that has one */
	uint32_t last_seen; /* exit_status of the last event */
};

static void answer_message(struct rpc_client_call *call, const ProtobufCMessage *m, void *data)
{
	struct answer *a = data;

	(void)call;
	a->n_messages++;
	if (m->descriptor == &containerd__shim__v1__create_response__descriptor)
		a->pid = ((const Containerd__Shim__V1__CreateResponse *)m)->pid;
	if (m->descriptor == &containerd__shim__v1__event__descriptor)
		a->last_seen = ((const Containerd__Shim__V1__Event *)m)->exit_status;
}

static void answer_done(struct rpc_client_call *call, enum rpc_status status, const char *text,
			void *data)
{
	struct answer *a = data;

	(void)call;
	a->n_done++;
	a->status = status;
	(void)snprintf(a->text, sizeof(a->text), "%s", text);
}

static const struct rpc_client_ops answer_ops = {.message = answer_message, .done = answer_done};

/* Start a call of the fixture's method at table index i, with an empty request. */
static struct rpc_client_call *fixture_call(struct rpc_client *c, const char *path,
					    uint64_t timeout_ms, struct answer *a)
{
	Containerd__Shim__V1__Empty q = CONTAINERD__SHIM__V1__EMPTY__INIT;
	const ProtobufCMessageDescriptor *reply = &containerd__shim__v1__empty__descriptor;
	struct rpc_client_call *call = NULL;

	for (const struct rpc_method *m = fixture_methods; m->path != NULL; m++)
		if (strcmp(m->path, path) == 0)
			reply = m->reply;
	*a = (struct answer){0};
	(void)rpc_client_start(c, path, &q.base, reply, timeout_ms, &answer_ops, a, &call);
	return call;
}

#endif
