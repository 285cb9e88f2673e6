/*
 * A server of the shim's protocol that is no shim: each method does one thing that a client of
 * another make may be tested against. usage: rpc-peer SOCKET; ends on Exit.
 *
 *   Create  pid = length of id            Start   never answers
 *   Delete  answers after pid ms          Kill    fails with status signal and a text
 *   State   100000 processes              Watch   after events, then OK
 *   Events  one event, then silence       Inspect shim_pid = calls whose client has gone,
 *                                                 id = calls that Start holds
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lib/test_loop.h"
#include "rpc/server.h"
#include "shim_pb/shim.pb-c.h"

#define SHIM(name) Containerd__Shim__V1__##name
#define SHIM_DESCRIPTOR(name) (&containerd__shim__v1__##name##__descriptor)
#define METHOD(name, q, a, streams, fn)                                                            \
	{                                                                                          \
		"/containerd.shim.v1.Shim/" name, SHIM_DESCRIPTOR(q), SHIM_DESCRIPTOR(a), streams, \
			fn                                                                         \
	}

enum { BIG = 100000, MAX_DELAYED = 256 };

static struct test_loop loop;
static struct rpc_server *server;
static uint32_t n_held, n_gone;
static bool drained;
static struct {
	struct rpc_call *call;
	uint64_t due_ms;
} delayed[MAX_DELAYED];

static void gone(struct rpc_call *call, enum rpc_gone why)
{
	(void)why;
	n_gone++;
	rpc_fail(call, RPC_CANCELLED, "gone");
}

static void create(struct rpc_call *call, const ProtobufCMessage *m, void *ctx)
{
	SHIM(CreateResponse) a = CONTAINERD__SHIM__V1__CREATE_RESPONSE__INIT;

	(void)ctx;
	a.pid = (uint32_t)strlen(((const SHIM(CreateRequest) *)(const void *)m)->id);
	rpc_reply(call, &a.base);
}

static void hold(struct rpc_call *call, const ProtobufCMessage *m, void *ctx)
{
	(void)m;
	(void)ctx;
	n_held++;
	rpc_call_set_hooks(call, gone, NULL, NULL);
}

static void delay(struct rpc_call *call, const ProtobufCMessage *m, void *ctx)
{
	(void)ctx;
	for (int i = 0; i < MAX_DELAYED; i++) {
		if (delayed[i].call != NULL)
			continue;
		delayed[i].call = call;
		delayed[i].due_ms =
			clock_mono_ms() + ((const SHIM(DeleteRequest) *)(const void *)m)->pid;
		return;
	}
	rpc_fail(call, RPC_RESOURCE_EXHAUSTED, "too many");
}

static void refuse(struct rpc_call *call, const ProtobufCMessage *m, void *ctx)
{
	(void)ctx;
	rpc_fail(call, (enum rpc_status)((const SHIM(KillRequest) *)(const void *)m)->signal,
		 "100%% refused\nin two lines: \xc3\xa4");
}

static void state(struct rpc_call *call, const ProtobufCMessage *m, void *ctx)
{
	static SHIM(Process) process[BIG];
	static SHIM(Process) * list[BIG];
	SHIM(StateResponse) a = CONTAINERD__SHIM__V1__STATE_RESPONSE__INIT;

	(void)m;
	(void)ctx;
	for (uint32_t i = 0; i < BIG; i++) {
		containerd__shim__v1__process__init(&process[i]);
		process[i].pid = i;
		list[i] = &process[i];
	}
	a.n_processes = BIG;
	a.processes = list;
	rpc_reply(call, &a.base);
}

/* Goes on where the client's window ended. */
static void watch_more(struct rpc_call *call)
{
	const SHIM(WatchRequest) *q = (const void *)rpc_call_request(call);
	uint64_t *next = rpc_call_data(call);
	SHIM(Event) e = CONTAINERD__SHIM__V1__EVENT__INIT;
	SHIM(WatchEvent) w = CONTAINERD__SHIM__V1__WATCH_EVENT__INIT;

	e.id = (char *)"an event of a container whose name is long enough to fill windows";
	w.event = &e;
	while (*next < q->after) {
		int r;

		w.number = *next + 1;
		r = rpc_stream_send(call, &w.base);
		if (r == -EAGAIN)
			return;
		if (r < 0)
			break;
		(*next)++;
	}
	free(next);
	rpc_finish(call);
}

static void watch_gone(struct rpc_call *call, enum rpc_gone why)
{
	free(rpc_call_data(call));
	gone(call, why);
}

static void watch(struct rpc_call *call, const ProtobufCMessage *m, void *ctx)
{
	(void)m;
	(void)ctx;
	rpc_call_set_hooks(call, watch_gone, watch_more, calloc(1, sizeof(uint64_t)));
	watch_more(call);
}

static void events(struct rpc_call *call, const ProtobufCMessage *m, void *ctx)
{
	SHIM(Event) e = CONTAINERD__SHIM__V1__EVENT__INIT;

	(void)m;
	(void)ctx;
	e.id = (char *)"c1";
	rpc_call_set_hooks(call, gone, NULL, NULL);
	(void)rpc_stream_send(call, &e.base);
}

static void inspect(struct rpc_call *call, const ProtobufCMessage *m, void *ctx)
{
	SHIM(InspectResponse) a = CONTAINERD__SHIM__V1__INSPECT_RESPONSE__INIT;
	char held[16];

	(void)m;
	(void)ctx;
	(void)snprintf(held, sizeof(held), "%u", n_held);
	a.id = held;
	a.shim_pid = n_gone;
	rpc_reply(call, &a.base);
}

static void on_drained(void *ctx)
{
	(void)ctx;
	drained = true;
}

static void leave(struct rpc_call *call, const ProtobufCMessage *m, void *ctx)
{
	SHIM(Empty) a = CONTAINERD__SHIM__V1__EMPTY__INIT;

	(void)m;
	(void)ctx;
	rpc_server_shutdown(server, on_drained);
	rpc_reply(call, &a.base);
}

static const struct rpc_method methods[] = {
	METHOD("Create", create_request, create_response, false, create),
	METHOD("Start", start_request, empty, false, hold),
	METHOD("Delete", delete_request, delete_response, false, delay),
	METHOD("Kill", kill_request, empty, false, refuse),
	METHOD("State", state_request, state_response, false, state),
	METHOD("Events", events_request, event, true, events),
	METHOD("Watch", watch_request, watch_event, true, watch),
	METHOD("Inspect", inspect_request, inspect_response, false, inspect),
	METHOD("Exit", exit_request, empty, false, leave),
	{0},
};

static void answer_delayed(void)
{
	SHIM(DeleteResponse) a = CONTAINERD__SHIM__V1__DELETE_RESPONSE__INIT;

	for (int i = 0; i < MAX_DELAYED; i++) {
		if (delayed[i].call == NULL || clock_mono_ms() < delayed[i].due_ms)
			continue;
		rpc_reply(delayed[i].call, &a.base);
		delayed[i].call = NULL;
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct rpc_server_options o = {.loop = &loop.loop, .methods = methods};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (argc != 2 || strlen(argv[1]) >= sizeof(address.sun_path))
		return 2;
	memcpy(address.sun_path, argv[1], strlen(argv[1]) + 1);
	test_loop_init(&loop);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(fd, 128) < 0 || rpc_server_new(&o, &server, NULL) < 0 ||
	    rpc_server_listen(server, fd) < 0) {
		perror("rpc-peer");
		return 1;
	}
	while (!drained) {
		test_loop_round(&loop, 5);
		answer_delayed();
	}
	server = rpc_server_free(server);
	test_loop_done(&loop);
	(void)close(fd);
	return 0;
}
