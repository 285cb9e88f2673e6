/*
 * A JSON document from outside, with bounds, and its members with their types checked. Private to
 * fs/oci.
 *
 *   doc_load -> doc_string/doc_size/doc_member ... -> json_decref
 *
 * What is null counts as absent: Go writes `"Env": null`. Messages name the member. Every getter
 * returns 0 or -EBADMSG (another type than it must have), -E2BIG (over a limit).
 *
 * Threads: a document belongs to one thread at a time.
 */
#ifndef OCI_DOC_H
#define OCI_DOC_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"

#define DOC_DEPTH_MAX 32
#define DOC_VALUES_MAX 200000 /* each may cost 100 bytes and more of memory */

/*
 * Parse an object of at most max_bytes; a key that stands twice in one object is refused, for two
 * readers would take two values.
 * Returns 0, -EBADMSG (no JSON, no object), -E2BIG (bytes, depth, values) or -ENOMEM.
 */
int doc_load(const void *buf, size_t len, size_t max_bytes, json_t **ret, struct err *err);

/* The member, or NULL where it is absent or null. Borrowed from o. */
json_t *doc_get(const json_t *o, const char *key);

/* The member with its type checked, NULL when absent. Borrowed from o. */
int doc_object(const json_t *o, const char *key, json_t **ret, struct err *err);
int doc_array(const json_t *o, const char *key, size_t max, json_t **ret, struct err *err);

/* A string of at most max bytes; "" when absent. Borrowed from o. */
int doc_string(const json_t *o, const char *key, size_t max, const char **ret, struct err *err);

/* The same, copied into out of n bytes with its NUL. */
int doc_copy_string(const json_t *o, const char *key, char *out, size_t n, struct err *err);

/* An integer of 0 or more; it must be there. */
int doc_size(const json_t *o, const char *key, uint64_t *ret, struct err *err);

/* The digest in v, a string; -EBADMSG for what is none, -EOPNOTSUPP for another algorithm's. */
int doc_digest(const json_t *v, struct digest *ret, struct err *err);

/* false when absent. */
int doc_bool(const json_t *o, const char *key, bool *ret, struct err *err);

#endif
