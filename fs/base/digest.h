/*
 * SHA-256 digests: parse, format, compare, compute (OpenSSL, SHA-NI where the CPU has it).
 *
 * Text form: OCI image spec, descriptor.md "Digests": "sha256:" and 64 lower-case hex digits.
 * sha256 is the only algorithm of the store; sha512 and others are named in the error.
 *
 * Threads: pure functions; a struct hasher belongs to one thread at a time.
 */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define DIGEST_BYTES 32
#define DIGEST_HEX_LEN 64
#define DIGEST_PREFIX "sha256:"
#define DIGEST_TEXT_LEN (7 + DIGEST_HEX_LEN) /* "sha256:" + hex, without the NUL */

struct digest {
	uint8_t bytes[DIGEST_BYTES];
};

struct digest_text {
	char s[DIGEST_TEXT_LEN + 1];
};

/*
 * Parse "sha256:<64 hex>", all of s.
 * Returns 0, -EINVAL (format) or -EOPNOTSUPP (well-formed, but another algorithm).
 */
int digest_parse(const char *s, struct digest *ret, struct err *err);

/* Parse exactly 64 lower-case hex digits, all of s: the name of a file under blobs/sha256. */
int digest_parse_hex(const char *s, struct digest *ret);

/*
 * The digest that a reference's name expects: s is "sha256:<hex>", or ends in "@sha256:<hex>".
 * Returns true and sets *ret, or false.
 */
bool digest_from_ref(const char *s, struct digest *ret);

/* "sha256:<hex>"; used in place: digest_text(&d).s */
struct digest_text digest_text(const struct digest *d);

/* hex digits and NUL into out[DIGEST_HEX_LEN + 1] */
void digest_hex(const struct digest *d, char *out);

bool digest_equal(const struct digest *a, const struct digest *b);
int digest_compare(const struct digest *a, const struct digest *b); /* memcmp order */

/* Digest of n bytes at p. Returns 0 or -ENOMEM. */
int digest_of(const void *p, size_t n, struct digest *ret);

/* A running SHA-256. hasher_free() accepts NULL and returns NULL. */
struct hasher;
int hasher_new(struct hasher **ret);
void hasher_update(struct hasher *h, const void *p, size_t n);
/* The digest of everything so far; the hasher is reset to empty. */
void hasher_final(struct hasher *h, struct digest *ret);
/* The same without the reset: h goes on. */
void hasher_peek(const struct hasher *h, struct digest *ret);
void hasher_reset(struct hasher *h);
struct hasher *hasher_free(struct hasher *h);

/*
 * Where a hash stands, to be kept over a restart. It says nothing of whether the bytes are still
 * those that were hashed: that is for whoever goes on from it.
 */
#define HASHER_BLOCK_BYTES 64
struct hasher_state {
	uint64_t n_bytes; /* hashed so far: whole blocks */
	uint32_t words[8];
};
/* Returns 0, or -EINVAL: in the middle of a block, or a state that none could have been saved as.
 */
int hasher_save(const struct hasher *h, struct hasher_state *ret);
int hasher_load(struct hasher *h, const struct hasher_state *st);

#endif
