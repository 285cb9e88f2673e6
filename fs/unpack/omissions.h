/*
 * What was left out of a layer and why: one line for the first of each kind, and how many more.
 *
 * Threads: one at a time.
 */
#ifndef UNPACK_OMISSIONS_H
#define UNPACK_OMISSIONS_H

#include <stdint.h>

#include "unpack/unpack.h"

enum omission {
	OMIT_DEVICE,
	OMIT_OWNER,
	OMIT_XATTR_TRUSTED,
	OMIT_XATTR_UNSUPPORTED,
	OMIT_XATTR_DENIED,
	OMIT_ACL,
	OMIT_AUFS,
	OMIT_END_MARK,
	OMIT_TRAILING,
	OMISSIONS,
};

struct omissions {
	void (*warn)(void *arg, const char *text);
	void *warn_arg;
	uint64_t n[OMISSIONS];
};

/* path: the entry's, or NULL. */
void omit(struct omissions *o, enum omission what, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Tell how many more of each kind there were; returns the count of all. */
uint64_t omissions_finish(struct omissions *o);

#endif
