/*
 * Bringing blobs and manifests into a registry (OCI distribution spec 1.1, "Pushing"), for
 * programs that wait. Blobs first, then the manifests that name them.
 *
 * A blob that is there is not sent; one that another repository of the registry has is mounted;
 * else it goes in chunks, from where the registry says that it has got when a connection breaks,
 * and in one piece where chunks are refused.
 *
 * Threads: any; each call waits for itself. registry_free() not while one is under way.
 */
#ifndef REGISTRY_PUSH_H
#define REGISTRY_PUSH_H

#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"
#include "registry/client.h"

enum registry_pushed { REGISTRY_PUSHED, REGISTRY_MOUNTED, REGISTRY_WAS_THERE };

struct registry_blob {
	const char *host, *repository;
	const char *from; /* a repository of host that may have it, or NULL */
	struct digest digest;
	uint64_t size;
	int fd;		      /* size bytes from its beginning on, read by pread(2); borrowed */
	uint64_t chunk_bytes; /* 0: 32 MiB; more where the registry wants more */
	/*
	 * Bytes that the registry has, after each chunk; in this thread; may be NULL. What it
	 * returns other than 0 ends the push.
	 */
	int (*progress)(void *arg, uint64_t bytes);
	void *arg;
};

/*
 * Returns 0, or
 *   -EACCES   not allowed          -EOPNOTSUPP  the registry does not take pushes
 *   -EBADMSG  the bytes contradict the digest (the registry says so)
 *   -EIO, -ETIMEDOUT, -EPROTO, -ENOENT, -E2BIG, -EINVAL (err has its words), -ENOMEM
 *   negative  from b->progress(), without words
 */
int registry_push_blob(struct registry *r, const struct registry_blob *b,
		       enum registry_pushed *ret_how, struct err *err);

/*
 * Put a manifest under a tag, or its own digest. Returns as above; -EPROTO when the registry
 * files it under another digest.
 */
int registry_push_manifest(struct registry *r, const char *host, const char *repository,
			   const char *reference, const char *mediatype, const void *p, size_t n,
			   struct err *err);

#endif
