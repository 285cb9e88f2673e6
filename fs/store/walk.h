/*
 * Every blob of a store.
 */
#ifndef STORE_WALK_H
#define STORE_WALK_H

#include <sys/stat.h>

#include "base/digest.h"
#include "store/layout.h"

/*
 * Call fn for every blob, in order of the digest; names that vanish meanwhile are skipped.
 * fn returns 0 to go on; any other value ends the walk and is returned. Memory: 32 bytes a blob.
 */
int walk_blobs(struct store *s, int (*fn)(void *arg, const struct digest *d, const struct stat *st),
	       void *arg);

/*
 * Names under blobs/sha256 that are no blobs (wrong name or type): fn gets each name.
 */
int walk_strays(struct store *s, int (*fn)(void *arg, const char *name), void *arg);

#endif
