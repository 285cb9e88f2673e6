/*
 * FUSE passthrough: the kernel reads an open blob straight from its backing file.
 *
 * Linux 6.9 and newer. libfuse before 3.17 cannot negotiate it, so the session's reads and writes
 * of /dev/fuse go through fuse_session_custom_io() hooks here, which see the INIT and OPEN
 * replies pass and add what libfuse does not know of. Everything about that is in this file.
 * Source of the rules: include/uapi/linux/fuse.h (FUSE_PASSTHROUGH, FUSE_DEV_IOC_BACKING_*),
 * fs/fuse/passthrough.c. It needs CAP_SYS_ADMIN in the initial namespace; where that or the
 * kernel's support is missing, reads are cached ones and passthrough_mode() says why.
 *
 *   passthrough_new -> passthrough_attach (instead of nothing, after fuse_session_mount)
 *     -> at OPEN:    passthrough_open, then fuse_reply_open by passthrough_reply_open
 *     -> at RELEASE: passthrough_close
 *   -> passthrough_free
 *
 * One backing id per nodeid, however many opens: the kernel demands that all opens of an inode
 * name the same one. Never for a file with holes or one that still grows.
 *
 * Threads: any. Locks: a leaf lock of its own.
 */
#ifndef MOUNT_PASSTHROUGH_H
#define MOUNT_PASSTHROUGH_H

#define FUSE_USE_VERSION 312

#include <fuse_lowlevel.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct passthrough;

/* wanted false: the hooks are in place, but passthrough is not asked for. */
int passthrough_new(bool wanted, struct passthrough **ret);
struct passthrough *passthrough_free(struct passthrough *p);

/*
 * Route the session's device I/O on fd through the hooks. libfuse hands them the session's
 * userdata: it must point to a struct whose first member is p. 0 or a negative errno.
 */
int passthrough_attach(struct passthrough *p, struct fuse_session *se, int fd);

/*
 * To be called by the session's init(): the reply that follows on this thread is INIT's. When the
 * kernel has taken it, and it is known whether passthrough works, ready(arg) is called (or NULL).
 */
void passthrough_expect_init(struct passthrough *p, void (*ready)(void *arg), void *arg);

/* Whether opens will be passthrough; waits for the end of an INIT that is being answered. */
bool passthrough_enabled(struct passthrough *p);

/* "passthrough", or "cached (<why>)"; to be called once INIT was answered. p's storage. */
const char *passthrough_mode(struct passthrough *p);

/*
 * Count one open of nodeid, whose complete backing file is fd (not kept).
 * Returns the backing id (> 0), or a negative errno.
 */
int passthrough_open(struct passthrough *p, uint64_t nodeid, int fd);

/* Take back one open. */
void passthrough_close(struct passthrough *p, uint64_t nodeid);

/* fuse_reply_open() of a passthrough open. */
int passthrough_reply_open(struct passthrough *p, fuse_req_t req, struct fuse_file_info *fi,
			   int backing_id);

#endif
