/*
 * What both ends of HTTP/2 write in headers. Threads: pure functions.
 */
#ifndef RPC_H2_UTIL_H
#define RPC_H2_UTIL_H

#include <nghttp2/nghttp2.h>
#include <stddef.h>

#include "base/buf.h"
#include "rpc/status.h"

/* A header of two string literals. nghttp2 copies both; its struct only lacks the const. */
#define H2_NV(n, v)                                                                                \
	{                                                                                          \
		(uint8_t *)(n), (uint8_t *)(v), sizeof(n) - 1, sizeof(v) - 1, NGHTTP2_NV_FLAG_NONE \
	}

/* A header of a literal and a string. */
nghttp2_nv h2_nv(const char *name, const char *value);

/* grpc-status and grpc-message, alone or behind the headers of a response without messages. */
struct h2_trailers {
	nghttp2_nv nv[4];
	size_t n;
	char status[8];
	struct buf text;
};

/* message may be NULL; it is cut where it gets too long for a header. */
void h2_trailers_init(struct h2_trailers *t, enum rpc_status status, const char *message);
void h2_trailers_done(struct h2_trailers *t);
/* Put :status and content-type in front. */
void h2_trailers_add_headers(struct h2_trailers *t, const char *http_status);

#endif
