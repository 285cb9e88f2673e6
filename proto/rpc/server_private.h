/*
 * Between the files of the server: server.c (accept, time, shutdown), server_conn.c (a socket and
 * its HTTP/2 session), server_call.c (what handlers hold).
 *
 * Everything that calls hooks runs in server_conn_pump() and server_expire_calls(), and those run
 * from the loop: functions that a handler may call only queue, and then "kick" the connection, so
 * that it is pumped later in the same round.
 */
#ifndef RPC_SERVER_PRIVATE_H
#define RPC_SERVER_PRIVATE_H

#include "base/list.h"
#include "rpc/h2_server.h"
#include "rpc/server.h"

struct rpc_conn {
	struct rpc_io io;
	struct list node;   /* in server->conns */
	struct list kicked; /* in server->kicked, or pointing to itself */
	struct rpc_server *server;
	struct h2_server *h2;
	struct ucred peer;
	struct buf out; /* what the socket did not take */
	size_t out_sent;
	uint64_t accepted_ms;
	uint32_t events; /* watched for */
	bool broken;	 /* to be closed by the next pump */
	bool pumping;
};

struct rpc_call {
	struct list node; /* in server->calls */
	struct rpc_server *server;
	struct h2_stream *stream; /* NULL: nobody listens any more */
	struct rpc_conn *conn;	  /* NULL with stream */
	const struct rpc_method *method;
	ProtobufCMessage *request;
	struct ucred peer;
	uint64_t deadline_ms;
	void (*gone)(struct rpc_call *call, enum rpc_gone why);
	void (*writable)(struct rpc_call *call);
	void *data;
};

struct rpc_server {
	struct rpc_server_options options;
	struct h2_budget budget;
	struct rpc_io listen_io;
	bool listening;
	uint64_t paused_until_ms; /* accept() found no descriptors; 0: not paused */
	struct rpc_timer timer;
	uint64_t timer_due_ms; /* 0: not set */
	struct list conns;     /* the oldest first */
	struct list kicked;
	struct list calls;
	bool shutting_down;
	void (*drained)(void *ctx);
	struct rpc_server_stats stats;
};

/* server.c: have the timer fire in time for then_ms. */
void server_wake_at(struct rpc_server *s, uint64_t then_ms);

/* server_conn.c */
int server_conn_new(struct rpc_server *s, int fd, const struct ucred *peer);
/* Close now, its calls are gone with why; c is no more. */
void server_conn_close(struct rpc_conn *c, enum rpc_gone why);
/* Have c pumped from the loop. */
void server_conn_kick(struct rpc_conn *c);
/* Call what is due, write what is there. c may be no more afterwards: returns whether it lives. */
bool server_conn_pump(struct rpc_conn *c);
/* When c's own time limits want to be looked at again; UINT64_MAX: never. */
uint64_t server_conn_expire(struct rpc_conn *c, uint64_t now_ms);

/* server_call.c */
extern const struct h2_server_ops server_call_ops; /* ctx: the struct rpc_conn */
/* End calls whose deadline has passed; returns the next deadline, or UINT64_MAX. */
uint64_t server_calls_expire(struct rpc_server *s, uint64_t now_ms);
/* Nobody listens to it any more: tell its handler. The call may be ended afterwards. */
void server_call_gone(struct rpc_call *call, enum rpc_gone why);
void server_call_free(struct rpc_call *call);

#endif
