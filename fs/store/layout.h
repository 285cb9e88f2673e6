/*
 * A store: a directory that holds blobs/sha256/<hex>, ingest/<sha256 of the ref>/ and
 * labels/sha256/<hex>, containerd's own layout, so that either opens what the other made.
 *
 *   store_open -> blob_*() / ingest_*() / walk_*() ... -> store_close
 *
 * Any number of processes may have one root open: nothing here is cached, every name is
 * published by link or rename, every ingest is guarded by its own lock (ingest.h).
 *
 * Threads: every function may be called from any thread; a struct store does not change
 * between store_open() and store_close().
 */
#ifndef STORE_LAYOUT_H
#define STORE_LAYOUT_H

#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"

struct store;

enum store_flags {
	STORE_CREATE = 1 << 0, /* make root (0755) and its directories when absent */
	STORE_RDONLY = 1 << 1, /* create and change nothing, ever */
};

/*
 * Open the store in directory root.
 *
 * Without STORE_CREATE a root is a store when it has a directory blobs or ingest. With it, a
 * directory that is neither empty nor a store is refused, so that a mistyped root does not
 * sprinkle directories over somebody's home.
 *
 * Returns 0, or
 *   -ENOENT   root is absent, or is a directory that is no store
 *   -ENOTDIR  root is something else
 *   other     from open(2), mkdir(2)
 * On failure *ret is untouched and nothing was created by STORE_RDONLY.
 */
int store_open(const char *root, unsigned int flags, struct store **ret, struct err *err);

/* NULL is accepted; returns NULL. Open ingests must be closed before. */
struct store *store_close(struct store *s);

/* Absolute path of the root; owned by s. */
const char *store_root(const struct store *s);

/* Directory descriptors, borrowed; -1 where a read-only store has no such directory. */
int store_root_fd(const struct store *s);
int store_blobs_fd(const struct store *s);  /* blobs/sha256 */
int store_ingest_fd(const struct store *s); /* ingest */

#endif
