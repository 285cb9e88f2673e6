/*
 * The complete blobs of a store: regular files 0444 under blobs/sha256, immutable, named by the
 * SHA-256 of their bytes. A name is there whole or not at all (ingest.h publishes it).
 *
 * Threads: any. Anything under blobs/sha256 that is no regular file named by 64 lower-case hex
 * digits is not a blob and is treated as absent.
 */
#ifndef STORE_BLOB_H
#define STORE_BLOB_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/digest.h"
#include "store/layout.h"

/*
 * Open for reading; the descriptor is the caller's. While it is open, here or in whatever it was
 * handed on to, the blob is not evicted (it has a shared lock). Returns it, or -ENOENT or from
 * openat(2).
 */
int blob_open(struct store *s, const struct digest *d);

/*
 * Another descriptor of what fd is open on, as blob_open() gives: of a file that is about to become
 * a blob, and is open for writing, which nobody has to know. The caller's, or from open(2).
 */
int blob_reopen(int fd);

/* Returns 0, or -ENOENT. */
int blob_stat(struct store *s, const struct digest *d, struct stat *ret);

bool blob_exists(struct store *s, const struct digest *d);

/* Absolute path, whether or not it exists, into out (PATH_MAX); -ENAMETOOLONG. */
int blob_path(const struct store *s, const struct digest *d, char *out, size_t n);

/*
 * The blob is being used: its atime says so (evict.h goes by it), once in a minute at most. Where
 * that cannot be written it looks older than it is.
 */
void blob_used(struct store *s, const struct digest *d);

/* What is read through fd from here on is no use: scans of all blobs say nothing of any one. */
void blob_only_scanned(int fd);

/* Whether there is nothing for blob_used() to do. */
bool blob_used_lately(const struct stat *st);

/*
 * Remove a blob and its labels; the directory is synced before success is reported.
 * Open readers keep their bytes. Returns 0, -ENOENT, or from unlinkat(2), fsync(2).
 */
int blob_delete(struct store *s, const struct digest *d);

/*
 * Read all of a small blob (a manifest, a config) into b, and check that the bytes match d: what
 * is parsed has been verified. -ENOENT, -E2BIG (larger than b's limit), -EBADMSG.
 */
int blob_read(struct store *s, const struct digest *d, struct buf *b, struct err *err);

#endif
