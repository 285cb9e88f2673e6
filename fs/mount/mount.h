/*
 * A store as a file system: /blobs/sha256/<hex>, /ingest/<ref>, /active, by FUSE's low-level API.
 *
 *   mount_new -> mount_attach (a mount point) or mount_attach_fd (a test's socket)
 *             -> mount_run (until unmounted or mount_stop) -> mount_free
 *
 * Knows no network: blobs that are not local come from a struct blob_source, or there are none.
 * The rules of what each path does are DESIGN section 3's; README.md here is the map.
 *
 * Threads: mount_run() starts its own; mount_status() and mount_stop() from any.
 */
#ifndef MOUNT_MOUNT_H
#define MOUNT_MOUNT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "store/blob_source.h"
#include "store/layout.h"

struct mount;

struct mount_config {
	struct store *store;	    /* borrowed until mount_free() */
	struct blob_source *source; /* borrowed until mount_free(); NULL: none */
	bool passthrough;	    /* ask the kernel for it */
	bool read_only; /* no ingest, no rm (the mount option ro says it to the kernel) */
	bool allow_other;
	bool debug;	     /* libfuse prints every request */
	const char *options; /* for -o, comma separated, or NULL */
	/* Runs on a thread of the mount's once the kernel has been answered: the mount is usable.
	 */
	void (*ready)(void *arg);
	void *ready_arg;
	/* Adds lines of its owner's to mount_status(); NULL: none. 0 or a negative errno. */
	int (*more_status)(void *arg, struct buf *out);
	void *more_status_arg;
	/* A blob appeared, or is about to be fetched: room may have to be made. Must not block.
	 * NULL: nobody makes any. */
	void (*grows)(void *arg);
	void *grows_arg;
};

int mount_new(const struct mount_config *config, struct mount **ret, struct err *err);

/*
 * When the daemon of a mount on mountpoint is dead, take that mount away: files that are open by
 * passthrough stay so. Whether it did.
 */
bool mount_detach_dead(const char *mountpoint);

/* Mount on a directory. -EPERM, -ENOENT ...; stderr is taken meanwhile, for the reason. */
int mount_attach(struct mount *m, const char *mountpoint, struct err *err);

/*
 * Speak FUSE over fd (SOCK_SEQPACKET), owned by m from here, until the other end is closed: for
 * tests without a mount.
 */
int mount_attach_fd(struct mount *m, int fd, struct err *err);

/* Serve until unmounted, stopped, or SIGTERM, SIGINT, SIGHUP when handle_signals. 0 or -errno. */
int mount_run(struct mount *m, bool handle_signals);
void mount_stop(struct mount *m);

/*
 * One "key value" line each: version, root, read mode, counters. What
 * getxattr(mountpoint, MOUNT_STATUS_XATTR) returns.
 */
#define MOUNT_STATUS_XATTR "user.contentfs.status"
int mount_status(struct mount *m, struct buf *out);

/* A blob was evicted from the store: the kernel's caches forget what it was. Any thread. */
struct digest;
void mount_evicted(struct mount *m, const struct digest *d);

/* "passthrough", or "cached (<why>)"; storage of m's. */
const char *mount_read_mode(struct mount *m);

/* Ends what is under way, unmounts; the source must answer every wait before. NULL is fine. */
struct mount *mount_free(struct mount *m);

#endif
