/*
 * Which processes have an ingest open, told from /proc.
 *
 * A close() sends FLUSH for every descriptor of an open file, dup'd and inherited ones too, and
 * only the last one's answer may be the verdict: `(cat a; cat b) > ingest/x` is one
 * transaction. FUSE does not say which FLUSH is the last (RELEASE does, when nobody hears the
 * answer any more), so ask: does the process that closes have another descriptor of the file,
 * or one that it may have been inherited from or passed to?
 *
 * Who is asked: every process that was seen opening, writing or flushing the file, and their
 * children. A descriptor that went to a stranger over a unix socket is not found; then the
 * commit came early and the stranger's next write continues in a copy (ingest_file.h).
 *
 *   holders_init -> holders_note (open, write) ... -> holders_any (flush) -> holders_done
 *
 * Threads: the caller locks.
 */
#ifndef MOUNT_HOLDERS_H
#define MOUNT_HOLDERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct holders {
	pid_t pids[32]; /* processes seen; when full the oldest is forgotten */
	size_t n;
};

void holders_init(struct holders *h);

/* pid was seen with the file; 0 (another pid namespace) is ignored. */
void holders_note(struct holders *h, pid_t pid);

/*
 * Whether any process known to h, or a child of one, has a descriptor of the file with
 * that inode number (unique among file systems: 64 random bits). Those that have none any more
 * are forgotten. flusher's descriptor that is being closed does not count: the kernel
 * has taken it out of its table before it sends FLUSH.
 */
bool holders_any(struct holders *h, pid_t flusher, uint64_t ino);

/*
 * Whether pid is being ended by a signal (PF_SIGNALED): a FLUSH from it is no close() that
 * anybody asked for.
 */
bool holders_killed(pid_t pid);

#endif
