/*
 * A gRPC server on unix sockets for programs with one thread and one loop.
 *
 *   rpc_server_new -> rpc_server_listen -> (the owner's loop runs: handlers are called)
 *                  -> rpc_server_shutdown -> drained() -> rpc_server_free
 *
 * A call, seen from its handler:
 *
 *   handle(call, request) -> now or any time later, exactly one of
 *       rpc_reply(call, message)                 unary
 *       rpc_finish(call)                         end of a stream, OK
 *       rpc_fail(call, status, "why")            either
 *
 * A struct rpc_call lives until then, whatever becomes of its client: when the client hangs up,
 * cancels, or its deadline passes, the gone() hook tells once (the handler may end the call within
 * it, or later), and what is sent afterwards is dropped. The request lives as long as the call.
 *
 * Hooks and handlers are called from the loop only, never from within a function of this header
 * (but for rpc_server_free()), so a handler may answer at once without being called back in
 * between.
 *
 * A server knows nothing of what it serves: methods are a table of paths and message descriptors.
 *
 * Limits, all of them options: connections, streams per connection, header list, message size,
 * request bytes buffered in the whole server, stream output buffered per call, time from accept
 * to a complete HTTP/2 preface, time from a request's first frame to its last. What is over a
 * limit is refused with RESOURCE_EXHAUSTED or closed; nothing else suffers.
 *
 * Threads: none.
 */
#ifndef RPC_SERVER_H
#define RPC_SERVER_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "rpc/loop_if.h"
#include "rpc/status.h"

struct rpc_server;
struct rpc_call;

struct rpc_method {
	const char *path; /* "/containerd.shim.v1.Shim/Create" */
	const ProtobufCMessageDescriptor *request;
	const ProtobufCMessageDescriptor *reply;
	bool streams; /* any number of replies, ended by rpc_finish() or rpc_fail() */
	/* request: of the type above, owned by the call. ctx: of the options. */
	void (*handle)(struct rpc_call *call, const ProtobufCMessage *request, void *ctx);
};

struct rpc_limits {		       /* zero: the default in brackets */
	size_t max_connections;	       /* [256] */
	size_t max_streams;	       /* of one connection [256] */
	size_t max_header_bytes;       /* name + value + 32 each, as HTTP/2 counts [8 KiB] */
	size_t max_message_bytes;      /* a request's and a reply's [4 MiB] */
	size_t max_buffered_bytes;     /* of incomplete requests, all connections [16 MiB] */
	size_t max_stream_queue_bytes; /* of replies that a client has not taken [64 KiB] */
	uint64_t handshake_ms;	       /* accept to preface and SETTINGS [10 s] */
	uint64_t request_ms;	       /* a request's HEADERS to its END_STREAM [30 s] */
};

struct rpc_server_options {
	struct rpc_loop *loop;		  /* outlives the server */
	const struct rpc_method *methods; /* ended by a NULL path; not copied */
	void *ctx;			  /* for the handlers and allow() */
	/*
	 * May this peer (SO_PEERCRED) connect? NULL: root and our own effective uid may. The
	 * connection of any other peer is closed at once.
	 */
	bool (*allow)(const struct ucred *peer, void *ctx);
	struct rpc_limits limits;
};

/* Returns 0, -EINVAL for a table with no method, or -ENOMEM. */
int rpc_server_new(const struct rpc_server_options *o, struct rpc_server **ret, struct err *err);

/*
 * Accept connections from listen_fd, a listening non-blocking unix socket, which stays the
 * caller's, open until rpc_server_shutdown() or _free(). Errors of the loop's fd_add().
 */
int rpc_server_listen(struct rpc_server *s, int listen_fd);

/*
 * Serve the connected stream socket fd, as if it had been accepted; it is the server's from here
 * on, also on failure. Returns 0, -EACCES (allow() said no), -ENOMEM, or the loop's error.
 */
int rpc_server_adopt(struct rpc_server *s, int fd);

/*
 * Take nothing new: stop listening, GOAWAY to every client, end the streaming calls with
 * UNAVAILABLE (after their gone() hook, RPC_GONE_SHUTDOWN). Unary calls under way go on. When the
 * last of them is answered and its bytes are out, or its client is gone, drained(ctx of the
 * options) is called, once, from the loop; the server may be freed in it.
 */
void rpc_server_shutdown(struct rpc_server *s, void (*drained)(void *ctx));

/*
 * Close everything now. Calls that were not ended get their gone() hook (RPC_GONE_SHUTDOWN), and
 * are no more afterwards, ended or not. Not from a handler or hook, but for drained(). NULL is
 * accepted; returns NULL.
 */
struct rpc_server *rpc_server_free(struct rpc_server *s);

struct rpc_server_stats {
	size_t connections; /* now */
	size_t calls;	    /* now: handed to a handler and not ended */
	uint64_t n_accepted, n_refused_peers, n_calls, n_failed, n_gone, n_broken_connections;
};
void rpc_server_stats(const struct rpc_server *s, struct rpc_server_stats *ret);

/* ---- a call ---- */

/* m is of the method's reply type and stays the caller's; one over max_message_bytes is INTERNAL.
 */
void rpc_reply(struct rpc_call *call, const ProtobufCMessage *m);
void rpc_finish(struct rpc_call *call);
/* status must not be RPC_OK. The message is cut behind 1 KiB. */
void rpc_fail(struct rpc_call *call, enum rpc_status status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* rpc_fail() with rpc_status_from_errno(r) and err's message. */
void rpc_fail_err(struct rpc_call *call, int r, const struct err *err);

/*
 * Queue one message of a stream.
 * Returns 0, or
 *   -EAGAIN   the client has not taken enough of what is queued: nothing was added, and the
 *             writable() hook will be called when there is room. A message goes into an empty
 *             queue whatever its size (up to max_message_bytes).
 *   -EPIPE    the client is gone (gone() has been or will be called)
 *   -E2BIG    over max_message_bytes
 *   -ENOMEM
 */
int rpc_stream_send(struct rpc_call *call, const ProtobufCMessage *m);

enum rpc_gone {
	RPC_GONE_CLIENT,   /* hung up, or reset the stream */
	RPC_GONE_DEADLINE, /* DEADLINE_EXCEEDED has been sent for you */
	RPC_GONE_SHUTDOWN, /* UNAVAILABLE has been sent for you */
};

/*
 * @gone      called at most once, not after the call was ended; may be NULL
 * @writable  after an -EAGAIN of rpc_stream_send(); may be NULL
 * @data      rpc_call_data()
 */
void rpc_call_set_hooks(struct rpc_call *call, void (*gone)(struct rpc_call *, enum rpc_gone why),
			void (*writable)(struct rpc_call *), void *data);
void *rpc_call_data(const struct rpc_call *call);

/* The ctx of the options. */
void *rpc_call_ctx(const struct rpc_call *call);
const ProtobufCMessage *rpc_call_request(const struct rpc_call *call);
const struct rpc_method *rpc_call_method(const struct rpc_call *call);
/* Nobody listens any more: its client is gone or its deadline has passed. */
bool rpc_call_is_gone(const struct rpc_call *call);
/* CLOCK_MONOTONIC in ms, 0: none. */
uint64_t rpc_call_deadline_ms(const struct rpc_call *call);
/* pid and uid of the client as they were when it connected; pid is 0 where it is in no namespace of
 * ours. */
const struct ucred *rpc_call_peer(const struct rpc_call *call);

#endif
