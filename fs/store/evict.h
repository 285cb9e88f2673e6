/*
 * Making room: blobs that a source can give again go, least recently used first.
 *
 *   evict_new -> evict_run ... -> evict_free
 *
 * The cache is the blobs whose label says that they were fetched and from where (label.h), that are
 * not pinned and that config.keeps does not hold back. All others are content: they are not
 * counted and not touched. A limit is for the sum of the cache's sizes, and a soft one: of the
 * cache stays what was used within the grace period (a commit is a use; what a pull just put there
 * is about to be used) and what somebody has open by blob_open(), in whatever process.
 *
 * When a blob was used is the later of its file's mtime and atime: the mount sets the latter
 * (blob_used), since reads by passthrough leave no other trace; that of others by relatime counts
 * as well.
 *
 * To evict is one unlink(2). The label stays, so that size and source are known and the blob can be
 * read again. It happens under the lock on labels after a last look, so that a blob that another
 * process claims, pins or has touched meanwhile stays. Names in index.json keep nothing here: what
 * they lead to and was fetched can be fetched again. Whoever wants it here whatever happens pins
 * it.
 *
 * The disk is the truth, whoever changes it: each run looks at the files of all blobs and of their
 * labels. What is kept in between is what each label said, 8 bytes of memory each, so that it is
 * read again only when it has changed.
 *
 * Threads: one at a time. Callbacks come from evict_run().
 */
#ifndef STORE_EVICT_H
#define STORE_EVICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "store/label.h"
#include "store/layout.h"

struct evict;

struct evict_config {
	struct store *store; /* borrowed until evict_free() */
	uint64_t grace_ns;   /* blobs used in the last grace_ns stay */
	/* Whether what has this label stays for good; the same answer for the same label. NULL:
	 * none */
	bool (*keeps)(void *arg, const struct label *l);
	/* It has gone, or would go (dry_run). NULL: nobody wants to know */
	void (*evicted)(void *arg, const struct digest *d, uint64_t size);
	void *arg;
};

struct evict_goal {
	uint64_t limit_bytes;	 /* nothing is done for it until the cache is larger; then ... */
	uint64_t low_bytes;	 /* ... it is brought down to this; at most limit_bytes */
	uint64_t coming_bytes;	 /* about to be fetched: counted as if they were here */
	uint64_t at_least_bytes; /* evict that much whatever the limit says: the disk is full */
	bool dry_run;
};

struct evict_result {
	uint64_t cache_bytes, cache_blobs;     /* what is left */
	uint64_t evicted_bytes, evicted_blobs; /* what went */
	bool short_of_goal;		       /* the rest is open, or was used a moment ago */
	uint64_t again_ns; /* the first of the latter may go after it; 0: none */
};

int evict_new(const struct evict_config *c, struct evict **ret);

/* NULL is accepted; returns NULL. */
struct evict *evict_free(struct evict *e);

/*
 * Look at everything and evict what the goal demands.
 * Returns 0, -EROFS (a read-only store; not for dry_run), -EBUSY (somebody held the lock on labels
 * for ten seconds), -ENOMEM or from the file system; *ret tells in any case how far it came.
 */
int evict_run(struct evict *e, const struct evict_goal *goal, struct evict_result *ret);

#endif
