/*
 * Which bytes of a blob on its way are here: the file `chunks` beside an ingest's data.
 *
 *   chunkmap_create or chunkmap_load -> chunkmap_check (after a load)
 *     -> data written -> chunkmap_note ... -> chunkmap_free
 *
 * A blob is cut into chunks of CHUNK_BYTES, the last one shorter. Each fills from its beginning:
 * of chunk i the first got(i) bytes are here, and XXH3-64 of those tells after a crash whether
 * they are still what was written (bad luck is what it is against, not malice: the SHA-256 of the
 * whole decides). The state of that SHA-256 is kept too, so that a restart does not hash again.
 *
 * The file, integers little-endian:
 *   header    32 bytes   "cfchunk1", u64 size of the blob, u32 CHUNK_BYTES, u32 0, u64 check
 *   hashes    2 x 64     u64 serial, u64 n_bytes, 8 x u32, 8 bytes 0, u64 check; newest serial
 * counts records   16 a chunk u64 XXH3 of what is here, u32 got, u32 check A check is XXH3-64 of
 * what stands before it in its part (a record's: of the chunk's number, XXH3 and got, 32 bits of
 * it). What fails its check reads as "not here". Notes reach the page cache at once, so they
 * survive kill -9; after power loss they may be ahead of the data, which chunkmap_check() finds
 * out.
 *
 * Memory: 16 bytes a chunk. Threads: the caller locks.
 */
#ifndef STORE_CHUNKMAP_H
#define STORE_CHUNKMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"

#define CHUNK_BYTES ((uint64_t)1 << 20)
#define CHUNKMAP_BLOB_MAX ((uint64_t)1 << 44) /* 16 TiB, a map of 256 MiB */

struct chunkmap;

/*
 * Begin a map: nothing is here. dir_fd: the ingest's directory, borrowed until _free; -1: in memory
 * alone. Returns 0, -EFBIG (over CHUNKMAP_BLOB_MAX), -ENOMEM or from the file system.
 */
int chunkmap_create(int dir_fd, uint64_t size, struct chunkmap **ret);

/*
 * Read the map that is there. Returns 0, -ENOENT, -EBADMSG (garbled, or of a blob of another
 * size; start over), -ENOMEM or from the file system. Read-only: nothing is noted in the file (for
 * a look at somebody else's).
 */
int chunkmap_load(int dir_fd, uint64_t size, bool read_only, struct chunkmap **ret);

/* The same from the bytes of a file, in memory alone. */
int chunkmap_parse(const void *p, size_t n, uint64_t size, struct chunkmap **ret);

/*
 * Read all that should be here from data_fd, and forget what is not as it was noted. When that
 * touches what the saved hash covers the hash is forgotten too. Returns 0, -ENOMEM or from
 * pread(2).
 */
int chunkmap_check(struct chunkmap *m, int data_fd);

uint64_t chunkmap_size(const struct chunkmap *m);
uint64_t chunkmap_count(const struct chunkmap *m); /* chunks */
uint64_t chunkmap_len(const struct chunkmap *m, uint64_t i);
uint64_t chunkmap_got(const struct chunkmap *m, uint64_t i);
bool chunkmap_whole(const struct chunkmap *m, uint64_t i); /* all of chunk i is here */

uint64_t chunkmap_here(const struct chunkmap *m);  /* bytes, of all chunks */
uint64_t chunkmap_front(const struct chunkmap *m); /* bytes from 0 on without a hole */

/* Whether [offset, offset + n), cut at the end of the blob, is here. */
bool chunkmap_has(const struct chunkmap *m, uint64_t offset, uint64_t n);

/*
 * The first got bytes of chunk i, which hash to xxh3, are in the data file; got never shrinks.
 * A failure to write the map's file is no failure: then a restart fetches more again.
 */
void chunkmap_note(struct chunkmap *m, uint64_t i, uint64_t got, uint64_t xxh3);

/* The hash of the front; false: none saved. */
bool chunkmap_hash(const struct chunkmap *m, struct hasher_state *ret);
void chunkmap_save_hash(struct chunkmap *m, const struct hasher_state *st);

struct chunkmap *chunkmap_free(struct chunkmap *m);

#endif
