/*
 * The directory of one ingest: its lock, its side files, its end. Private to ingest*.c.
 *
 *   ingest_dir_lock -> side files ... -> ingest_dir_unlock  (it stays)
 *                                     -> ingest_dir_remove -> ingest_dir_unlock
 *
 * A directory goes only under its lock: it is renamed to ".<name>.<pid>.<n>" first, so that no
 * listing sees it half removed, and whoever waits at its old name makes a new one. What a crash
 * leaves of that is swept by ingest_sweep().
 */
#ifndef STORE_INGEST_DIR_H
#define STORE_INGEST_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "store/ingest.h"
#include "store/store_private.h"

struct ingest_dir {
	char name[DIGEST_HEX_LEN + 1]; /* below ingest/ */
	int fd;
	int lock_fd;
};

/* The name of ref's directory; -EINVAL, -ENAMETOOLONG, -ENOMEM. */
int ingest_dir_name(const char *ref, char out[DIGEST_HEX_LEN + 1], struct err *err);

/*
 * Open and lock ingest/name, making it when create says so.
 * -ENOENT, -EBUSY (*err says who; it names ref), -EROFS or from the file system.
 */
int ingest_dir_lock(struct store *s, const char *name, bool create, struct ingest_dir *ret,
		    const char *ref, struct err *err);

/* Remove it with all that it holds; the lock stays held. 0 also when something is left hidden. */
int ingest_dir_remove(struct store *s, struct ingest_dir *d);

void ingest_dir_unlock(struct ingest_dir *d);

/* Whether an opened directory's lock file is held: 1, 0 (also without a lock file). */
int ingest_dir_is_locked(int dir_fd);

/*
 * Replace a side file whole. It survives kill -9; power loss may take it until it was synced,
 * which ingest_sync() does.
 */
int ingest_side_write(int dir_fd, const char *name, const void *p, size_t n);

/*
 * Read a side file of less than n bytes into out and terminate it. Returns the length, -ENOENT
 * (absent or no regular file), -E2BIG or from read(2).
 */
int ingest_side_read(int dir_fd, const char *name, char *out, size_t n);

/* The time in a side file; -ENOENT also when garbled. */
int ingest_side_read_time(int dir_fd, const char *name, int64_t *ret_ns);
int ingest_side_write_time(int dir_fd, const char *name, int64_t wall_ns);

/*
 * All that the directory tells. name: what the directory is called, or NULL to trust its ref.
 * -ENOENT when no ref can be read there or data is missing, so that it is no ingest to resume:
 * also when data has become a blob already (a leftover of link(2), see ingest_commit).
 */
int ingest_dir_load(int dir_fd, const char *name, struct ingest_status *ret);

/* Whether a failure of that text spoilt the bytes, so that they are never resumed from. */
bool ingest_failure_is_final(const char *failed);

#endif
