/*
 * Descriptors: whole reads and writes, durable small files, locks that die with their owner.
 *
 * Every descriptor is born O_CLOEXEC. Functions return 0 or a count, or a negative errno.
 * Threads: any function from any thread; the caller serialises use of one file offset.
 */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"

/* Read until n bytes or end of file; returns the count (short only at the end). */
ssize_t fd_read_full(int fd, void *p, size_t n);
ssize_t fd_pread_full(int fd, void *p, size_t n, uint64_t offset);

/* Write all n bytes; returns 0. -ENOSPC and the like may leave a part written. */
int fd_write_full(int fd, const void *p, size_t n);
int fd_pwrite_full(int fd, const void *p, size_t n, uint64_t offset);

/* fsync(2). Never retried: after a failure the kernel may have dropped the dirty pages. */
int fd_sync(int fd);

/* Open dir_fd/path as a directory, sync it, close it. path "." syncs dir_fd itself. */
int fd_sync_dir(int dir_fd, const char *path);

/* openat2(2) with O_CLOEXEC; resolve: RESOLVE_* flags. */
int fd_openat2(int dir_fd, const char *path, int flags, mode_t mode, uint64_t resolve);

/*
 * The name under which a descriptor can be opened anew, also an O_PATH one, or given to a call that
 * takes names: it means this very file, wherever that is by now. Used in place: fd_path(fd).s
 */
struct fd_path {
	char s[32];
};
struct fd_path fd_path(int fd);

/*
 * Read all of a small file into b (bounded by b's limit).
 * -ENOENT when absent, -E2BIG when larger than the limit.
 */
int fd_read_file(int dir_fd, const char *name, struct buf *b);

/*
 * Replace a small file whole: temporary file beside it, ".NAME.PID.N.tmp", fsync, rename. The
 * directory is not synced: callers order that themselves.
 */
int fd_write_file(int dir_fd, const char *name, const void *p, size_t n, mode_t mode);

/* Whether a file of that name is such a temporary one. */
bool fd_is_temporary(const char *name);

/*
 * Take an exclusive open-file-description lock (F_OFD_SETLK) on all of fd: it is released when
 * the last descriptor of this open file is closed, so also by kill -9.
 * -EAGAIN when somebody else holds it.
 */
int fd_lock(int fd);

/* The same, trying for that long; -EAGAIN when it was held all the time. */
int fd_lock_within(int fd, unsigned int timeout_ms);

/* A shared one: it keeps others from fd_lock(), and no more than that. */
int fd_lock_shared(int fd);

/* Whether somebody else holds a lock on fd: 1, 0, or a negative errno. */
int fd_is_locked(int fd);

/*
 * Remove dir_fd/name and everything under it, without following symbolic links.
 * Returns 0 also when it is absent.
 */
int fd_remove_tree(int dir_fd, const char *name);

#endif
