/*
 * Where blobs come from that are not in the store: the one thing that mount knows of
 * registries. fill/ implements it; tests have one in memory.
 *
 * Threads: every function from any thread. describe() answers from local state at once; lookup
 * and ensure return at once and call back exactly once, with no lock held: before they return, or
 * later from a thread of the source's. After cancel() the callback comes soon, with -EINTR at
 * the latest.
 */
#ifndef STORE_BLOB_SOURCE_H
#define STORE_BLOB_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"
#include "store/layout.h"

struct blob_info {
	uint64_t size;	     /* bytes of the whole blob */
	uint64_t local;	     /* bytes of it that are here already */
	char mediatype[128]; /* "" when unknown */
	char source[256];    /* "host/repository" */
	char error[256];     /* why the last fill failed, "" when it did not */
};

/*
 * A question under way. The asker owns it, embeds it, and keeps it until done() was called, which
 * is the last time that the source touches it.
 */
struct blob_wait {
	void (*done)(struct blob_wait *w, int r, const struct err *err);
	struct blob_info info; /* lookup: the answer, when r is 0 */
	int fd;		       /* ensure: when r is 0, a descriptor to read from, the asker's now */
	void *source_private;  /* the source's; NULL before it is asked */
};

/* What a source tells by itself, from a thread of its own and with no lock held. */
struct blob_listener {
	/*
	 * Bytes of d that ensure() gave out were wrong: whoever may have read any of them must
	 * never come to a clean end of file. When this returns nobody new may get bytes that
	 * were read before; it must not wait for the source.
	 */
	void (*spoilt)(struct blob_listener *l, const struct digest *d);
};

struct blob_source;

struct blob_source_ops {
	/* What local state (manifests, labels, remembered answers) tells. 0 or -ENOENT. */
	int (*describe)(struct blob_source *src, const struct digest *d, struct blob_info *ret);

	/* Ask the sources whether they have d; short deadline, the answer is remembered. */
	void (*lookup)(struct blob_source *src, const struct digest *d, struct blob_wait *w);

	/*
	 * Make bytes [offset, offset + length) of d readable: local and verified as the mode
	 * demands. w->fd then serves that range. Errors: -ENOENT (no source has it), -EBADMSG,
	 * -EACCES, -ETIMEDOUT, -EIO, -EINTR.
	 */
	void (*ensure)(struct blob_source *src, const struct digest *d, uint64_t offset,
		       uint64_t length, struct blob_wait *w);

	/* Give up on w. Harmless when done() has been called or is being called. */
	void (*cancel)(struct blob_source *src, struct blob_wait *w);

	/*
	 * A blob was committed to the store, by whatever way: the source may parse it for
	 * descriptors when it looks like a manifest. Never blocks on the network.
	 */
	void (*committed)(struct blob_source *src, const struct digest *d);

	/*
	 * Digests that are known but not local, for readdir: calls fn for each until it returns
	 * non-zero. Answers from local state.
	 */
	int (*known)(struct blob_source *src,
		     int (*fn)(void *arg, const struct digest *d, const struct blob_info *info),
		     void *arg);

	/* One line per fill under way or failed lately: REF SIZE TOTAL AGE STATE for /active. */
	int (*fills)(struct blob_source *src,
		     int (*fn)(void *arg, const char *ref, uint64_t size, uint64_t total,
			       int64_t started_ns, const char *state),
		     void *arg);

	/* The one who listens; NULL: nobody. Not while a call to the old one may be under way. */
	void (*listen)(struct blob_source *src, struct blob_listener *l);
};

struct blob_source {
	const struct blob_source_ops *ops;
	bool whole_first; /* what ensure() gives holds the whole blob, never a part */
};

#endif
