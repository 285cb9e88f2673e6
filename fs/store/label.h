/*
 * What is known of a blob beside its bytes: where it came from, what it is. A small JSON object
 * in labels/sha256/<hex>:
 *
 *   {"source": ["host/repository", ...], "mediatype": "...", "size": N, "origin": "fetch"}
 *
 * Labels are advice, never trusted for correctness: a file that is absent or garbled reads as
 * nothing known. A label may exist before its blob does (a manifest described it).
 *
 * Threads: any; two writers of one label at once: the later one wins, whole.
 */
#ifndef STORE_LABEL_H
#define STORE_LABEL_H

#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "store/layout.h"

#define LABEL_SOURCES_MAX 16

struct label {
	char source[LABEL_SOURCES_MAX][256]; /* "host/repository", oldest first */
	size_t n_sources;
	char mediatype[128]; /* "" when unknown */
	char origin[16];     /* "ingest", "fetch", or "" */
	uint64_t size;	     /* 0: unknown */
};

/* Nothing known. */
void label_init(struct label *l);

/*
 * Add a source unless it is there; a full list forgets its oldest. Returns 0, or -ENAMETOOLONG
 * (l is unchanged).
 */
int label_add_source(struct label *l, const char *source);

/* Returns 0, -ENOENT (also for a garbled file), -ENOMEM or from open(2), read(2). */
int label_read(struct store *s, const struct digest *d, struct label *ret);

/*
 * Replace the label; keys that we do not know are kept. Atomic, not synced: a label that power
 * loss takes is learnt again. Returns 0, -EROFS (a read-only store), -ENOMEM or from the file
 * system.
 */
int label_write(struct store *s, const struct digest *d, const struct label *l);

/* Read, add what the arguments know (NULL, 0: nothing), write when that changed anything. */
int label_learn(struct store *s, const struct digest *d, const char *source, const char *mediatype,
		uint64_t size, const char *origin);

/* Returns 0, also when there is none. */
int label_remove(struct store *s, const struct digest *d);

#endif
