/*
 * The client for programs that wait: each call starts a request and returns when it has ended.
 * Signals keep their default action meanwhile, so that Ctrl-C ends a tool.
 *
 * Threads: any; each waits for itself.
 */
#ifndef REGISTRY_CALL_H
#define REGISTRY_CALL_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "registry/client.h"

/* What is asked for; see struct registry_request. */
struct registry_name {
	const char *host, *repository, *object;
	const char *mediatype;
	uint64_t size;	      /* 0: not known */
	uint64_t deadline_ms; /* of clock_mono_ms(), 0: the client's rule */
	const char *avoid;
};

/* What op (RESOLVE or STAT) tells. Returns 0 or as done() of struct registry_request. */
int registry_describe(struct registry *r, enum registry_op op, const struct registry_name *name,
		      struct registry_object *ret, struct err *err);

/*
 * A manifest, whole and checked, appended to out. ret_object may be NULL.
 * Returns 0, as done(), or -E2BIG when out's limit is too small.
 */
int registry_get_manifest(struct registry *r, const struct registry_name *name, struct buf *out,
			  struct registry_object *ret_object, struct err *err);

/*
 * Bytes of a blob (op BLOB, or ANY), handed to fn in order, in this thread, which may take its
 * time: not more than some MiB wait meanwhile. length 0: to the end. ret_object may be NULL.
 * Returns 0, as done(), or what fn returned when that was not 0.
 */
int registry_read(struct registry *r, enum registry_op op, const struct registry_name *name,
		  uint64_t offset, uint64_t length,
		  int (*fn)(void *arg, uint64_t offset, const void *p, size_t n), void *arg,
		  struct registry_object *ret_object, struct err *err);

#endif
