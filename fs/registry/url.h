/*
 * URLs: of whom they are, and how they look in a message. Threads: pure functions.
 */
#ifndef REGISTRY_URL_H
#define REGISTRY_URL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define URL_MAX_BYTES 16384
#define URL_ORIGIN_MAX 300

/* What secrets are bound to: "https://host:port", lower case, the port always there. */
struct url_origin {
	char s[URL_ORIGIN_MAX];
};

/*
 * Take an http or https URL apart. Returns 0, or -EINVAL: it is none, or has a user in it (a
 * server that we are sent to does not choose who we are).
 */
int url_origin(const char *url, struct url_origin *ret);

bool url_is_plain(const char *url); /* http: whoever listens reads along */

/* Whether "host", "host:port" is this machine: localhost, 127.*, [::1]. */
bool url_is_loopback(const char *host);

/*
 * Where location (absolute or relative) leads from base. Returns 0 and a string to free(), -EINVAL
 * as above, or -ENOMEM.
 */
int url_join(const char *base, const char *location, char **ret);

/*
 * Whether s may stand in a path as it is: ASCII letters, digits and the characters of more (which
 * may hold "/"), no empty part, no "..".
 */
bool url_is_path(const char *s, const char *more);

/* Cut at the query, which may hold a signature: for messages. */
void url_show(const char *url, char *out, size_t n);

/* Append value with everything but RFC 3986's unreserved characters escaped: 0, -E2BIG, -ENOMEM. */
int url_escape(struct buf *b, const char *value);

/* Append "?name=value" or "&name=value", as it fits what is in b. */
int url_add_query(struct buf *b, const char *name, const char *value);

#endif
