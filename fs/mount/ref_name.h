/*
 * How a ref is written as one file name under /ingest, and back.
 *
 * A ref may hold '/', a name may not: "/" is written %2F. A '%' that would then be read as an
 * escape ("%2F", "%2f", "%25") is written %25; every other byte stands for itself, so that names
 * look as users typed them. Refs whose name would pass 255 bytes are named by the SHA-256 of
 * the ref, 64 hex digits, as their directory in the store is.
 *
 * Threads: pure functions.
 */
#ifndef MOUNT_REF_NAME_H
#define MOUNT_REF_NAME_H

#include <stdbool.h>
#include <stddef.h>

#define REF_NAME_MAX 255

/* The ref that name stands for into out[n]; -ENAMETOOLONG, -EINVAL ("" and a NUL cannot be). */
int ref_name_decode(const char *name, char *out, size_t n);

/* The name of ref into out[REF_NAME_MAX + 1]; "." and ".." and "" get their hash too. */
void ref_name_encode(const char *ref, char *out);

/* Whether ref is too long for a name of its own, so that its hash names it. */
bool ref_name_is_hashed(const char *ref);

#endif
