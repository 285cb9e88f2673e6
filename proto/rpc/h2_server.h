/*
 * One connection of a gRPC server: bytes in, calls out; answers in, bytes out. No I/O, no clock.
 *
 *   h2_server_new -> h2_server_recv(bytes) -> h2_server_dispatch (ops are called)
 *                 -> h2_stream_add/_end ... -> h2_server_send (bytes) ... -> h2_server_free
 *
 * ops are called by h2_server_dispatch() alone; in them any h2_stream_ function may be used.
 * A stream is announced by ops->request once its request is whole, and lives until ops->closed
 * has returned (or h2_server_free()). What never becomes whole is never announced.
 *
 * HTTP rules that gRPC needs are checked here and not by nghttp2, since that refuses
 * an :authority that is the path of a socket, which is what some clients send.
 *
 * Threads: none.
 */
#ifndef RPC_H2_SERVER_H
#define RPC_H2_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "rpc/status.h"

struct h2_server;
struct h2_stream;

/* Request bytes that wait for their end, of all connections of one server. */
struct h2_budget {
	size_t used;
	size_t max;
};

struct h2_server_limits {
	size_t max_streams;
	size_t max_header_bytes;
	size_t max_message_bytes;
	struct h2_budget *budget; /* outlives the connection */
};

struct h2_server_ops {
	/* A whole request; look at it with h2_stream_path() and h2_stream_message(). */
	void (*request)(struct h2_stream *st, void *ctx);
	/* The stream is gone: by our end, the client's reset, or the connection's. */
	void (*closed)(struct h2_stream *st, void *ctx);
	/* Its queue got empty, and h2_stream_wants_room() was called since the last time. */
	void (*room)(struct h2_stream *st, void *ctx);
};

/* Returns 0 or -ENOMEM. */
int h2_server_new(const struct h2_server_limits *limits, const struct h2_server_ops *ops, void *ctx,
		  struct h2_server **ret);
/* Streams end without ops->closed. NULL is accepted; returns NULL. */
struct h2_server *h2_server_free(struct h2_server *h);

/*
 * Bytes from the client, any cut. now_ms becomes the h2_stream_begun_ms() of new streams.
 * Returns 0, -EPROTO (a GOAWAY may wait to be sent; receive no more), or -ENOMEM.
 */
int h2_server_recv(struct h2_server *h, const void *p, size_t n, uint64_t now_ms);

/* Bytes for the client into out, until it holds max_bytes or more. 0, -EPROTO or -ENOMEM. */
int h2_server_send(struct h2_server *h, struct buf *out, size_t max_bytes);

/* Call what is due; returns whether anything was called. */
bool h2_server_dispatch(struct h2_server *h);
bool h2_server_is_due(const struct h2_server *h);

/* The client's SETTINGS have come. */
bool h2_server_is_ready(const struct h2_server *h);
/* Both sides have said all: the socket can be closed. */
bool h2_server_is_over(const struct h2_server *h);
/* Streams that are not closed, announced or not. */
size_t h2_server_n_streams(const struct h2_server *h);

/* Take no new streams. */
void h2_server_goaway(struct h2_server *h);

/*
 * Refuse every stream that began before then_ms and is not whole yet. *ret_next: when the oldest
 * of those that stay began, or UINT64_MAX.
 */
void h2_server_expire(struct h2_server *h, uint64_t then_ms, uint64_t *ret_next);

/* ---- an announced stream ---- */

const char *h2_stream_path(const struct h2_stream *st);
/* 0: the client stated no timeout. */
uint64_t h2_stream_timeout_ms(const struct h2_stream *st);
uint64_t h2_stream_begun_ms(const struct h2_stream *st);
/* Valid until h2_stream_drop_message(). */
const uint8_t *h2_stream_message(const struct h2_stream *st, size_t *ret_len);
void h2_stream_drop_message(struct h2_stream *st);

void h2_stream_set_owner(struct h2_stream *st, void *owner);
void *h2_stream_owner(const struct h2_stream *st);

/* Send the response's headers now, ahead of the first message. */
int h2_stream_begin(struct h2_stream *st);
/*
 * Where to put a message of len bytes, its framing done; it will be sent. NULL: out of memory.
 * Not after h2_stream_end(), nor after ops->closed.
 */
uint8_t *h2_stream_add(struct h2_stream *st, size_t len);
/* Bytes that the client has not taken. */
size_t h2_stream_queued(const struct h2_stream *st);
void h2_stream_wants_room(struct h2_stream *st);
/* End with a status behind what is queued; message may be NULL. Only once. */
void h2_stream_end(struct h2_stream *st, enum rpc_status status, const char *message);

#endif
