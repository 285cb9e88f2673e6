/*
 * A gRPC client on one unix socket, for programs that wait with poll(2).
 *
 *   rpc_client_connect -> rpc_client_call (blocks for its answer) ... -> rpc_client_close
 *
 * and, where something else is to be watched meanwhile or the answer is a stream:
 *
 *   rpc_client_start(ops) -> poll(rpc_client_fd, rpc_client_events, rpc_client_timeout_ms)
 *                         -> rpc_client_process ... until ops->done
 *
 * Any number of calls may be under way. Callbacks come from rpc_client_process() and from
 * rpc_client_call(), which processes everything while it waits; they may start and cancel calls,
 * but neither block in rpc_client_call() nor close the client.
 *
 * Errors: a call that the server refused has a struct err with the text of the server in msg and
 * the gRPC status in detail; the return value is rpc_status_to_errno(status). When the connection
 * breaks, every call ends with UNAVAILABLE.
 *
 * Threads: none.
 */
#ifndef RPC_CLIENT_H
#define RPC_CLIENT_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "rpc/status.h"

struct rpc_client;
struct rpc_client_call;

/*
 * Connect to the socket at path, which may be longer than sockaddr_un has room for.
 * Returns 0, -ENOENT, -ECONNREFUSED (nobody listens), -EACCES, -ENOMEM, or of connect(2).
 */
int rpc_client_connect(const char *path, struct rpc_client **ret, struct err *err);
/* The same over a connected stream socket, the client's from here on. 0 or -ENOMEM. */
int rpc_client_adopt(int fd, struct rpc_client **ret, struct err *err);
/* Calls under way end without ops->done. NULL is accepted; returns NULL. */
struct rpc_client *rpc_client_close(struct rpc_client *c);

struct rpc_client_ops {
	/* One message of the answer; m is freed afterwards. */
	void (*message)(struct rpc_client_call *call, const ProtobufCMessage *m, void *data);
	/* The end, once; the call is no more afterwards. text: "" where there is none. */
	void (*done)(struct rpc_client_call *call, enum rpc_status status, const char *text,
		     void *data);
};

/*
 * Send a request; ops (kept, not copied) tells of the answer.
 *
 * @path        "/containerd.shim.v1.Shim/State"
 * @reply       descriptor of the messages of the answer
 * @timeout_ms  0: none; otherwise told to the server, and kept here too
 * @ret         may be NULL
 *
 * Returns 0, -EPIPE (the connection is broken) or -ENOMEM; then no callback follows.
 */
int rpc_client_start(struct rpc_client *c, const char *path, const ProtobufCMessage *request,
		     const ProtobufCMessageDescriptor *reply, uint64_t timeout_ms,
		     const struct rpc_client_ops *ops, void *data, struct rpc_client_call **ret);
/* Forget the call and tell the server so; ops->done is not called. */
void rpc_client_cancel(struct rpc_client_call *call);

/* For poll(2); timeout_ms is the time to the next deadline, -1 for none. */
int rpc_client_fd(const struct rpc_client *c);
short rpc_client_events(const struct rpc_client *c);
int rpc_client_timeout_ms(const struct rpc_client *c);
/* Read and write what goes without waiting, end what is over its deadline, call back. */
void rpc_client_process(struct rpc_client *c);

/*
 * Send a request and wait for its one answer.
 * @ret  the answer, end it with protobuf_c_message_free_unpacked(*ret, NULL); NULL: not wanted
 * Returns 0 or as told above; -EPROTO for an answer of no or of several messages.
 */
int rpc_client_call(struct rpc_client *c, const char *path, const ProtobufCMessage *request,
		    const ProtobufCMessageDescriptor *reply, uint64_t timeout_ms,
		    ProtobufCMessage **ret, struct err *err);

#endif
