/*
 * A request that waits for a blob_source: asked once, answered once, given up when the kernel says
 * so.
 *
 *   struct its { struct remote r; ... } *q = calloc(1, sizeof(*q));   r: the first member
 *   remote_init(&q->r, req, &digest, answer); remote_ask(&q->r, offset, length);
 *
 * q is remote's from remote_ask() on, and freed after answer().
 *
 * Threads: answer() runs on the asker's, before remote_ask() returns, or on one of m->answers.
 */
#ifndef MOUNT_REMOTE_H
#define MOUNT_REMOTE_H

#include "mount/private.h"

struct remote {
	struct blob_wait wait;
	struct work work;
	struct mount *m;
	fuse_req_t req;
	struct digest digest;
	/*
	 * Replies to req, exactly once. result: 0 and wait.fd (closed after it) or wait.info, or a
	 * negative errno and why.
	 */
	void (*answer)(struct remote *r);
	int result;
	struct err why;

	/* remote.c's */
	atomic_int refs;
	atomic_bool interrupted;
};

void remote_init(struct remote *r, fuse_req_t req, const struct digest *d,
		 void (*answer)(struct remote *r));

/*
 * Ask m->source, which is there, for bytes [offset, offset + length) of the digest; of no length:
 * for wait.info alone, whether a registry has it.
 */
void remote_ask(struct remote *r, uint64_t offset, uint64_t length);

/* For answer(): reply with the error that result is, and tell the log. */
void remote_fail(struct remote *r);

#endif
