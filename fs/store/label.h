/*
 * What is known of a blob beside its bytes: where it came from, what it is. A small JSON object
 * in labels/sha256/<hex>:
 *
 *   {"source": ["host/repository", ...], "mediatype": "...", "size": N, "origin": "fetch",
 *    "pinned": "yes"}
 *
 * Labels are advice, never trusted for correctness: a file that is absent or garbled reads as
 * nothing known. A label may exist before its blob does (a manifest described it) and after it
 * (it was evicted, see evict.h).
 *
 * Threads: any. Changes read and write under a lock on labels/.lock that dies with its owner, so
 * that none gets lost, whatever process makes it; readers take no lock.
 */
#ifndef STORE_LABEL_H
#define STORE_LABEL_H

#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "store/layout.h"

#define LABEL_SOURCES_MAX 16
#define LABEL_ORIGIN_INGEST "ingest" /* put here by hand: never evicted */
#define LABEL_ORIGIN_FETCH "fetch"   /* a source gave it, and may give it again */

enum label_pin {
	LABEL_UNPINNED,
	LABEL_PINNED_PART, /* "part": of an image that is pinned */
	LABEL_PINNED,	   /* "yes": itself, by its digest or as an image */
};

struct label {
	char source[LABEL_SOURCES_MAX][256]; /* "host/repository", oldest first */
	size_t n_sources;
	char mediatype[128]; /* "" when unknown */
	char origin[16];     /* "ingest", "fetch", or "" */
	uint64_t size;	     /* 0: unknown */
	enum label_pin pin;
};

/* Nothing known. */
void label_init(struct label *l);

/*
 * Add a source unless it is there; a full list forgets its oldest. Returns 0, or -ENAMETOOLONG
 * (l is unchanged).
 */
int label_add_source(struct label *l, const char *source);

/*
 * Returns 0, -ENOENT (also for a garbled file), -E2BIG (a file of more than 64 KiB), -ENOMEM or
 * from open(2), read(2).
 */
int label_read(struct store *s, const struct digest *d, struct label *ret);

/*
 * Replace the label; keys that we do not know are kept. Atomic, not synced: a label that power
 * loss takes is learnt again. Returns 0, -EROFS (a read-only store), -EBUSY (somebody held the lock
 * for ten seconds), -E2BIG (what is there is too large to be read, and stays), -ENOMEM or from the
 * file system.
 */
int label_write(struct store *s, const struct digest *d, const struct label *l);

/*
 * Read, add what the arguments know (NULL, 0: nothing), write when that changed anything. What was
 * ingested by hand stays so, whoever fetches it as well. Errors as label_write().
 */
int label_learn(struct store *s, const struct digest *d, const char *source, const char *mediatype,
		uint64_t size, const char *origin);

/*
 * The blob is somebody's own from here on, who may have no other copy: its origin is "ingest". On
 * success it was not evicted and will not be, if it is there: look after this, not before.
 * Errors as label_write(), and from fsync(2): durable where a label said something else.
 */
int label_claim(struct store *s, const struct digest *d);

/* Pin it or let it go; durable. Returns 1 when that changed something, 0, or as label_claim(). */
int label_set_pin(struct store *s, const struct digest *d, enum label_pin pin);

/*
 * Every label that can be read, in no order; those that vanish meanwhile are skipped. fn returns 0
 * to go on; any other value ends the walk and is returned.
 */
int label_walk(struct store *s, int (*fn)(void *arg, const struct digest *d, const struct label *l),
	       void *arg);

/* Returns 0, also when there is none. */
int label_remove(struct store *s, const struct digest *d);

#endif
