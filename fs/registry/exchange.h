/*
 * One HTTP request and its reply, over the client's connection pool, with the redirects on the
 * way.
 *
 *   fill in what is asked; exchange_start -> head() once, body() ..., done() once
 *
 * Secrets (authorization, the headers and the client certificate of a host) go to the origin that
 * they are meant for and no further: a redirect to any other scheme, host or port is followed
 * without. At most ten are followed, none twice, none from a request with a body.
 *
 * A reply that keeps silent for the client's stall_ms, or trickles, ends with -ETIMEDOUT. Replies
 * with more than 128 KiB of header, and those with a Content-Encoding (none was asked for),
 * end with -EPROTO.
 *
 * Threads: the network thread alone. head() and body() are called inside libcurl and must
 * neither start nor stop exchanges; done() may do both, and free x.
 */
#ifndef REGISTRY_EXCHANGE_H
#define REGISTRY_EXCHANGE_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "registry/challenge.h"
#include "registry/fields.h"
#include "registry/private.h"

/* What head() and body() return to end the exchange well before the reply does. */
#define EXCHANGE_ENOUGH 1

struct reply {
	int status;
	bool has_length; /* Content-Length */
	uint64_t length;
	bool has_range; /* Content-Range; range_is_bad: but it cannot be read */
	bool range_is_bad;
	struct content_range range;
	char mediatype[128];
	char digest[128]; /* Docker-Content-Digest, "" when there is none */
	char upload_range[64];
	uint64_t chunk_min; /* OCI-Chunk-Min-Length */
	uint64_t retry_after_ms;
	struct challenge challenge;
	char *location; /* as sent, or NULL */
	bool encoded;	/* Content-Encoding: not the bytes themselves */
};

enum exchange_method {
	EXCHANGE_GET,
	EXCHANGE_HEAD,
	EXCHANGE_POST,
	EXCHANGE_PUT,
	EXCHANGE_PATCH,
	EXCHANGE_DELETE,
};

struct exchange {
	/* The asker's: what is asked; strings are borrowed until done(). */
	enum exchange_method method;
	const char *url;
	const struct host *host;   /* how to speak to it: TLS, proxy, headers */
	const char *authorization; /* value of Authorization, or NULL; for the origin of url */
	const char *accept;	   /* value of Accept, or NULL */
	uint64_t range_first;	   /* Range, when has_range */
	uint64_t range_last;	   /* UINT64_MAX: to the end */
	bool has_range;
	bool no_plain;		   /* do not follow a redirect from https to http */
	const char *content_type;  /* of the body, or NULL */
	const char *content_range; /* "0-1023", of an upload; or NULL */
	const void *body;	   /* to be sent, body_len bytes; or body_fd from body_offset on */
	int body_fd;
	uint64_t body_offset, body_len;
	uint64_t max_bytes_per_s; /* 0: no bound */
	uint64_t stall_ms;	  /* 0: the client's */

	/* The header is here and it is no redirect. 0: go on; EXCHANGE_ENOUGH; negative: failed. */
	int (*head)(struct exchange *x);
	/* Bytes of the body of a reply with a status below 300. -EAGAIN: pause; the same comes
	 * again. */
	int (*data)(struct exchange *x, const void *p, size_t n);
	/*
	 * 0: the reply is whole (or was enough); reply.status may still say no, and text what it
	 * said. Else what head() or data() returned, or -ETIMEDOUT, -EIO (connecting, broken
	 * connections, also in the middle), -EPROTO, -ENOMEM, -EACCES (TLS: not who it should be).
	 */
	void (*done)(struct exchange *x, int r, const struct err *err);
	void *arg;

	struct reply reply;
	struct buf text; /* body of a reply with a status from 400 on, as far as it is short */

	/* Ours. */
	struct registry *r;
	CURL *easy;
	struct curl_slist *headers;
	char *at; /* the URL now, once redirected; else NULL */
	char *seen[11];
	unsigned int n_seen;
	size_t header_bytes;
	int stopped;   /* what head() or data() returned, once it was not 0 */
	bool has_head; /* head() has been called */
	bool paused;
	bool running;  /* in the multi handle */
	uint64_t sent; /* of the body */
	uint64_t started_ms, last_byte_ms;
	uint64_t window_ms, window_bytes; /* of the speed that is the least we accept */
	uint64_t bytes;			  /* of the reply's body so far */
	struct timer watch;
	char curl_error[CURL_ERROR_SIZE];
};

/* All fields zero, none running. */
void exchange_init(struct exchange *x);

/* Returns 0, and done() comes later; or a negative errno, and it does not. */
int exchange_start(struct registry *r, struct exchange *x, struct err *err);

/* End it without done(). Harmless when none is running. */
void exchange_stop(struct exchange *x);

/* After a pause: offer what was not taken. */
void exchange_resume(struct exchange *x);

/* libcurl's end of a transfer. */
void exchange_finished(struct exchange *x, CURLcode code);

/* "GET https://host/path" for messages. */
void exchange_describe(const struct exchange *x, char *out, size_t n);

/*
 * What a registry's error reply says (OCI distribution spec, "Error codes"), else what its status
 * means where many meet it, else "".
 */
void exchange_reason(const struct exchange *x, char *out, size_t n);

#endif
