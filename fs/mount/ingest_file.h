/*
 * A file open for writing under /ingest: when its transaction commits, and what close() says.
 *
 *   ingest_file_open -> ingest_file_write/_truncate ... -> ingest_file_flush (each close())
 *                    -> ingest_file_release (the last descriptor is gone)
 *                    -> ingest_file_unref
 *
 * - The verdict is given by the flush of the last descriptor (holders.h): the ingest is
 *   committed then, and a failed verification is that close()'s error. It is given once: later
 *   flushes repeat it until something is written again.
 * - After a write that failed (ENOSPC) and was not repeated, close() fails with the same error: the
 *   bytes stay, to be resumed.
 * - A flush by a process that a signal ends is no close(): the bytes stay, to be resumed.
 * - A file that was only touched (opened without O_TRUNC or O_EXCL, or by O_NONBLOCK as touch and
 *   truncate do, and never written) stays an idle ingest; an empty file that cp or a shell's
 *   ">" made is content, and commits as such.
 * - If data comes after a commit (a descriptor that was passed on unseen), the transaction goes on
 *   in a copy of what was committed, and commits again.
 *
 * Knows no FUSE request. Threads: any, for all functions but release, which runs last and
 * alone. Locks: io (writes share it, flush has it alone) before lock.
 */
#ifndef MOUNT_INGEST_FILE_H
#define MOUNT_INGEST_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/digest.h"
#include "base/err.h"
#include "store/ingest.h"

struct ingest_file;

/*
 * flags: those of open(2). ino: the inode number that processes see (holders.h). opener: pid.
 * Errors as ingest_open(); *ret untouched then.
 */
int ingest_file_open(struct store *s, const char *ref, int flags, uint64_t ino, pid_t opener,
		     struct ingest_file **ret, struct err *err);

/* 0 or a negative errno (-ENOSPC ...); append: at the end, whatever offset says. */
int ingest_file_write(struct ingest_file *f, pid_t writer, const void *p, size_t n, uint64_t offset,
		      bool append);

/* The writer's own bytes back. Count or negative errno. */
ssize_t ingest_file_read(struct ingest_file *f, void *p, size_t n, uint64_t offset);

int ingest_file_truncate(struct ingest_file *f, uint64_t size);
int ingest_file_sync(struct ingest_file *f);
uint64_t ingest_file_size(struct ingest_file *f);

/* Run fn on the ingest (its expectations), which stays meanwhile; fn's result or -ECANCELED. */
int ingest_file_with(struct ingest_file *f, int (*fn)(struct ingest *i, void *arg), void *arg);

/*
 * A descriptor was closed by flusher. 0, or the verdict (ingest_commit). *ret_committed tells
 * whether this call published a blob, and its digest.
 */
int ingest_file_flush(struct ingest_file *f, pid_t flusher, bool *ret_committed, struct digest *ret,
		      struct err *err);

/*
 * The last descriptor is gone: commit what no flush did, and end the transaction; f lives on
 * for those who hold a reference. Same results as flush, though nobody waits for them.
 */
int ingest_file_release(struct ingest_file *f, bool *ret_committed, struct digest *ret,
			struct err *err);

/* Somebody removed the ref: forget the bytes. From here on all answer -ECANCELED. */
void ingest_file_abort(struct ingest_file *f);

/*
 * The last close() has been seen and release is on its way: wait for it, since a new open would
 * be told -EBUSY. False: it is really in use (or timeout_ms went by).
 */
bool ingest_file_wait_released(struct ingest_file *f, unsigned int timeout_ms);

/* References keep the memory alone; ingest_file_open() gives the first. unref returns NULL. */
struct ingest_file *ingest_file_ref(struct ingest_file *f);
struct ingest_file *ingest_file_unref(struct ingest_file *f);

#endif
