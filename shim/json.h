/*
 * The little JSON that a shim needs: to write strings, and to find a string member of a flat
 * object that a runtime wrote. No tree, no allocation beyond the buffer (RFC 8259).
 *
 * Threads: pure functions.
 */
#ifndef SHIM_JSON_H
#define SHIM_JSON_H

#include <stddef.h>

#include "base/buf.h"

/*
 * Append s as a JSON string, its quotes included.
 * Returns 0, -EINVAL when s is not UTF-8 (b is then unfinished), -E2BIG or -ENOMEM.
 */
int json_add_string(struct buf *b, const char *s);

/*
 * The string member key of the object at p. Escapes are undone, the value is cut to fit out[out_n],
 * which is always terminated. Members that come twice: the first counts.
 *
 * Returns the number of bytes of p that the object takes, -ENOENT when it has no such string, or
 * -EBADMSG when p does not begin with a whole object (out is "" then).
 */
long json_find_string(const char *p, size_t n, const char *key, char *out, size_t out_n);

/*
 * What a runtime's log (one JSON object a line, as runc and crun write it) gives as the reason
 * of a failure: the msg of the last line of level error, fatal or panic, else of the last line
 * that has one. Lines that are no JSON are passed over.
 * Returns 0, or -ENOENT when there is no msg at all (out is "" then).
 */
int json_log_reason(const char *p, size_t n, char *out, size_t out_n);

#endif
