/*
 * Keeps the cache of a mounted store within its limit (store/evict.h says what that is): a thread
 * that looks when the store has grown, when a fetch begins, and now and then.
 *
 *   cache_new -> cache_start -> cache_grows ... -> cache_stop -> cache_free
 *
 * The limit is a soft one. What is being fetched counts from its beginning, so that room is made
 * before it is needed; a blob larger than the limit is fetched all the same. Where the disk has
 * less room than what is being fetched needs, more is evicted than the limit asks for. Looking
 * takes at most a twentieth of the time.
 *
 * Threads: any. Locks: a leaf, never held when a look is under way.
 */
#ifndef DAEMON_CACHE_H
#define DAEMON_CACHE_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "mount/mount.h"
#include "store/blob_source.h"
#include "store/layout.h"

struct cache;

struct cache_config {
	struct store *store;	    /* borrowed until cache_free() */
	struct blob_source *source; /* borrowed until cache_stop() */
	uint64_t limit_bytes;
	uint64_t grace_ns; /* what was used in the last grace_ns stays */
};

/* -ENOMEM */
int cache_new(const struct cache_config *c, struct cache **ret, struct err *err);

/* Begin, with a first look; m is told what goes and is borrowed until cache_stop(). */
int cache_start(struct cache *c, struct mount *m, struct err *err);

/* There may be more in the store than before, or soon. Never blocks; also before the start. */
void cache_grows(struct cache *c);

/* Its lines of the status. 0, -ENOMEM or -E2BIG. */
int cache_status(struct cache *c, struct buf *out);

/* The look that is under way is the last one. Harmless when it was not started. */
void cache_stop(struct cache *c);

/* NULL is accepted; returns NULL. */
struct cache *cache_free(struct cache *c);

#endif
