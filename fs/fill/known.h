/*
 * Digests that somebody has described and that may not be here: size, media type, source.
 *
 *   known_new -> known_learn / known_get / known_next -> known_free
 *
 * About 100 bytes each; media types and sources are kept once. Threads: the caller locks.
 */
#ifndef FILL_KNOWN_H
#define FILL_KNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/digest.h"

struct known;

struct known_blob {
	struct digest digest;
	uint64_t size;
	uint64_t local; /* bytes that an unfinished fill has, as last seen */
	ino_t parsed;	/* the file of it that was parsed, as a manifest; 0: none */
	uint16_t mediatype_no;
	uint16_t source_no;
	bool sized; /* size is known */
};

int known_new(struct known **ret);
struct known *known_free(struct known *k);

/*
 * Add what is told (KNOWN_NO_SIZE, NULL: nothing) to what is known of d. Returns 0 or -ENOMEM.
 */
#define KNOWN_NO_SIZE UINT64_MAX
int known_learn(struct known *k, const struct digest *d, uint64_t size, const char *mediatype,
		const char *source);

/* NULL: nobody has described it. Valid until the next known_learn(). */
struct known_blob *known_get(const struct known *k, const struct digest *d);

const char *known_mediatype(const struct known *k, const struct known_blob *b); /* or "" */
const char *known_source(const struct known *k, const struct known_blob *b);	/* or "" */

/* size_t pos = 0; while ((b = known_next(k, &pos)) != NULL) ... in no order. */
struct known_blob *known_next(const struct known *k, size_t *pos);

#endif
