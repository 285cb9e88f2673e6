/*
 * The SHA-256 of a file that is still being written: a thread hashes the contiguous front as
 * it grows, so that the digest is there when the last byte is. What was written over after it
 * was available to the thread is noticed, and all is hashed again at the end.
 *
 *   front_hasher_new -> { front_hasher_begin -> pwrite -> front_hasher_end } ...
 *                    -> front_hasher_finish -> front_hasher_free
 *
 * Small files start no thread: they are hashed by front_hasher_finish().
 *
 * Threads: begin/end/truncated from any thread at once; finish and free by one, with no
 * write under way. Locks: a leaf lock, never held while hashing or reading.
 */
#ifndef STORE_FRONT_HASHER_H
#define STORE_FRONT_HASHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"

struct front_hasher;

/* fd: the file, readable, borrowed until _free; present: bytes that are in it already. */
int front_hasher_new(int fd, uint64_t present, struct front_hasher **ret);

/* Around every write of [offset, offset + n): begin before it, end with what was written. */
void front_hasher_begin(struct front_hasher *h, uint64_t offset, size_t n);
void front_hasher_end(struct front_hasher *h, uint64_t offset, size_t written);

/*
 * Before the first write, of a file that has holes: nothing of it counts as present but the
 * bytes whose hash is st (NULL: none), and what front_hasher_found() tells. Returns 0 or -EINVAL
 * (no such state), and counts none then.
 */
int front_hasher_resume(struct front_hasher *h, const struct hasher_state *st);

/* [offset, offset + n) was there all along. */
void front_hasher_found(struct front_hasher *h, uint64_t offset, uint64_t n);

/* Where the hash stood a moment ago, for a later front_hasher_resume(); false: nothing hashed. */
bool front_hasher_saved(struct front_hasher *h, struct hasher_state *ret);

/* The file was cut or extended to size bytes (no write under way across size). */
void front_hasher_truncated(struct front_hasher *h, uint64_t size);

/*
 * The digest of the first size bytes, which must be the whole file. May be called again after
 * more writes. Returns 0, -EIO (short read: the file changed under us) or from pread(2).
 */
int front_hasher_finish(struct front_hasher *h, uint64_t size, struct digest *ret);

/* NULL is accepted; returns NULL. */
struct front_hasher *front_hasher_free(struct front_hasher *h);

#endif
