/*
 * Blobs that are not here yet: joins registries and a store behind struct blob_source.
 *
 *   fill_new -> fill_add_source ... -> fill_source() given to a mount, or fill_get(), fill_reader_*
 *            -> fill_stop (every wait ends) -> fill_free
 *
 * There is one fill for a digest, however many readers ask: ranges over several connections, the
 * bytes that a reader waits for first, written into the ingest FILL_REF_PREFIX "<digest>" with a
 * chunk map beside the data, hashed as they come, committed as any ingest. A fill survives its
 * readers, and is resumed by whoever asks next, also after kill -9. Across processes the ingest's
 * lock decides who fills; the others follow its progress, and take over when the lock is free.
 *
 * Strict: a reader waits until the whole blob matches its digest. At-eof: it gets bytes as they
 * arrive, but those of the tail, and every read that touches it, wait for the digest; when that
 * does not match everybody who may have seen a byte gets -EBADMSG, for good (blob_listener.spoilt).
 *
 * Threads: every function from any thread. One lock, a leaf for callers: never held when a
 * callback, the registry client or the disk is at work.
 */
#ifndef FILL_FILL_H
#define FILL_FILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/digest.h"
#include "base/err.h"
#include "registry/client.h"
#include "store/blob_source.h"
#include "store/layout.h"

/*
 * What a fill's ingest is called: this and "sha256:<hex>", so that the ref itself says which digest
 * is expected. Reserved: a user's own ref may be anything else. (Should one be called so all
 * the same, it has no chunk map, and is started over.)
 */
#define FILL_REF_PREFIX "contentfs.fill@"

struct fill;

enum fill_verify { FILL_VERIFY_STRICT, FILL_VERIFY_AT_EOF };

struct fill_config {		   /* zero: the default in brackets */
	struct store *store;	   /* borrowed until fill_free() */
	struct registry *registry; /* borrowed until fill_free() */
	enum fill_verify verify;
	uint64_t read_ms;	  /* a read ends after it, come what may [none] */
	uint64_t lookup_ms;	  /* the same of a lookup [3 s] */
	uint64_t background_bps;  /* bytes per second while nobody waits [no cap] */
	unsigned int connections; /* of one fill, at most [6] */
	bool scan; /* learn what the manifests in the store describe, in the background */
};

int fill_new(const struct fill_config *c, struct fill **ret, struct err *err);

/*
 * HOST/REPOSITORY, asked for every digest that nothing else names a source for, in this order.
 * Before the first use. Returns 0, -EINVAL (no such name), -E2BIG (more than 32) or -ENOMEM.
 */
int fill_add_source(struct fill *f, const char *source, struct err *err);

/* For a mount; lives until fill_free(). */
struct blob_source *fill_source(struct fill *f);

/* Every fill and every wait ends (-EINTR), and no new one begins; what has arrived stays. */
void fill_stop(struct fill *f);

/* Stops first. NULL is accepted; returns NULL. */
struct fill *fill_free(struct fill *f);

/* An object as its descriptor tells; source: "host/repository" or NULL, mediatype: or NULL. */
struct fill_object {
	struct digest digest;
	bool has_size;
	uint64_t size;
	const char *source;
	const char *mediatype;
};

/*
 * Have a blob in the store, verified; blocks. progress (may be NULL) is called now and then, from
 * the calling thread; when it returns other than 0 the wait ends with that, and the fill goes on.
 * timeout_ms 0: as long as it takes (the registry client gives up when nothing moves).
 *
 * Errors: those of blob_source_ops.ensure, -EINVAL (no such source), -ENOMEM.
 */
int fill_get(struct fill *f, const struct fill_object *o, uint64_t timeout_ms,
	     int (*progress)(void *arg, uint64_t here, uint64_t total), void *arg, struct err *err);

/*
 * Read a blob in order, from its beginning, while it arrives; it is filled on the way. With strict
 * verification the first read waits for the whole; at-eof the last one does, so a count of
 * 0 comes only after the digest matched.
 */
struct fill_reader;
int fill_reader_open(struct fill *f, const struct fill_object *o, struct fill_reader **ret,
		     struct err *err);
/* Bytes read, 0 at the end, or as fill_get(). One thread at a time. */
ssize_t fill_reader_read(struct fill_reader *r, void *p, size_t n, struct err *err);
struct fill_reader *fill_reader_close(struct fill_reader *r);

/* Counters since fill_new(). */
struct fill_stats {
	uint64_t started, completed, failed; /* fills */
	uint64_t followed;		     /* of those, done by another process */
	uint64_t bytes_fetched;		     /* of blobs, as they came */
	uint64_t bytes_resumed;		     /* found in unfinished fills */
	uint64_t mismatches;		     /* blobs whose digest was another */
	uint64_t lookups, waits;	     /* asked for */
	unsigned int active;		     /* fills now */
};
void fill_stats(struct fill *f, struct fill_stats *ret);

#endif
