/*
 * The names of images in a store: which manifest or index "docker.io/library/redis:6" stands for.
 * They are the entries of <root>/index.json, with <root>/oci-layout beside it, so that the root of
 * a store is an OCI image layout (image spec, image-layout.md) that other tools read and write:
 * `skopeo copy oci:ROOT:docker.io/library/redis:6 ...`.
 *
 *   image_index_set -> image_index_get, image_index_walk ... -> image_index_remove
 *
 * A name is the annotation org.opencontainers.image.ref.name, compared as it is: who names images
 * in full says what that means. Entries and members of other makes are kept as they are.
 *
 * Any number of processes may write: each change is a read, a temporary file, fsync, rename and
 * fsync of the root under a lock on <root>/.index.lock that dies with its owner. Readers take no
 * lock.
 *
 * Threads: every function may be called from any thread.
 */
#ifndef STORE_IMAGE_INDEX_H
#define STORE_IMAGE_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"
#include "store/layout.h"

#define IMAGE_INDEX_MAX_BYTES ((size_t)16 << 20)
#define IMAGE_NAME_MAX 512 /* with the NUL */

struct image_entry {
	char name[IMAGE_NAME_MAX]; /* "" for an entry that has none */
	char mediatype[128];	   /* "" when it does not say */
	struct digest digest;	   /* of the manifest or index, which the store need not hold */
	uint64_t size;
};

/*
 * The entry of that name, the first where other tools made several.
 * Returns 0, -ENOENT (no such name, no index.json), -EBADMSG (index.json is damaged) or from
 * open(2), read(2).
 */
int image_index_get(struct store *s, const char *name, struct image_entry *ret, struct err *err);

/*
 * Make e->name stand for what e says, instead of whatever it stood for. Durable when it returns;
 * nothing is written when nothing changes.
 *
 * Returns 0, or
 *   -EINVAL   a name that is empty, too long or not printable UTF-8
 *   -EBADMSG  index.json is damaged: it is left alone
 *   -EBUSY    somebody else held the lock for ten seconds
 *   -EROFS    a read-only store
 *   other     from the file system
 */
int image_index_set(struct store *s, const struct image_entry *e, struct err *err);

/* Forget a name; the blobs stay. -ENOENT when there is no such name, else as image_index_set(). */
int image_index_remove(struct store *s, const char *name, struct err *err);

/* fn is called for each entry, in order; what it returns other than 0 ends the walk with that. */
typedef int image_index_fn(void *arg, const struct image_entry *e);

/* Returns 0 (also without an index.json), what fn returned, or as image_index_get(). */
int image_index_walk(struct store *s, image_index_fn *fn, void *arg, struct err *err);

/* The same over the bytes of an index.json; entries that cannot be understood are passed over. */
int image_index_parse(const void *buf, size_t len, image_index_fn *fn, void *arg, struct err *err);

#endif
