/*
 * Transactions: bytes on their way to becoming a blob, named by a ref that the user chose.
 *
 *   ingest_open -> ingest_write/ingest_truncate ... -> ingest_commit
 *                                                   -> ingest_close  (stop here, resume later)
 *                                                   -> ingest_abort  (forget it)
 *
 * On disk, <root>/ingest/<sha256 of the ref>/:
 *   lock        "<pid>\n" of the last holder. Whoever holds the OFD lock on it owns the ingest; a
 *               dead process holds nothing. It goes only with the directory, under the lock.
 *   ref         the ref, raw bytes      data      bytes so far
 *   total       decimal                 expected  "sha256:<hex>"
 *   startedat, updatedat                RFC 3339, containerd's
 *   chunks      a lazy fill's map of what is there and what is a hole (chunkmap.h)
 *   failed      why the last commit failed, one line; the bytes are kept to look at, but are
 *               never resumed from after a digest mismatch
 * A side file that is missing or garbled never wedges a ref. (lock and failed are ours, the rest
 * is containerd's or DESIGN's.)
 *
 * Order of a commit: data 0444 and synced -> named by renameat2(RENAME_NOREPLACE), or link(2)
 * where the file system has no such rename (an existing name is success: same digest, same bytes;
 * but see ingest_commit) -> blobs/sha256 synced -> ingest directory removed -> success. The first
 * failed fsync fails the commit; data that failed to sync is never committed nor resumed from.
 *
 * The removal is not synced: power loss may bring the directory of a finished ingest back, which
 * then has no data, or data that is a second name of a blob (0444, two links). That is no ingest:
 * listings skip it, ingest_open() starts it over without touching those bytes,
 * ingest_sweep() removes it.
 *
 * The SHA-256 follows the contiguous front of the data in a thread of its own (front_hasher.h);
 * what was written over after it was hashed is hashed again at commit.
 *
 * Threads: ingest_write, ingest_truncate and the getters from any thread at once; the caller
 * sees to it that commit, close and abort run once and alone.
 */
#ifndef STORE_INGEST_H
#define STORE_INGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/digest.h"
#include "base/err.h"
#include "store/layout.h"

#define INGEST_REF_MAX 4096 /* bytes of a ref */

struct ingest;

enum ingest_flags {
	INGEST_CREATE = 1 << 0,	  /* begin the ref when it is unknown; else -ENOENT */
	INGEST_EXCL = 1 << 1,	  /* with CREATE: -EEXIST when the ref has been begun */
	INGEST_TRUNCATE = 1 << 2, /* start over: data, failed are reset; total, expected stay */
	INGEST_FETCHED = 1 << 3, /* a source gives the bytes: their blob may be evicted (evict.h) */
};

/*
 * Open the ingest of ref and take its lock. An ingest whose last commit failed by its digest
 * starts over as with INGEST_TRUNCATE. When the name of ref expects a digest
 * (digest_from_ref) and no file says otherwise, that is the expected digest.
 *
 * Returns 0, or
 *   -EBUSY         somebody is writing it; the message names the pid and since when
 *   -ENOENT        unknown, and INGEST_CREATE not given
 *   -EEXIST        as INGEST_EXCL says
 *   -EINVAL        an empty ref
 *   -ENAMETOOLONG  more than INGEST_REF_MAX bytes
 *   other          from the file system
 */
int ingest_open(struct store *s, const char *ref, unsigned int flags, struct ingest **ret,
		struct err *err);

const char *ingest_ref(const struct ingest *i);
uint64_t ingest_size(struct ingest *i); /* bytes of data now */
int ingest_data_fd(struct ingest *i);	/* O_RDWR, borrowed; for reading only */

/* Its directory, borrowed: for side files of the holder's own. "chunks" goes when data is reset. */
int ingest_dir_fd(struct ingest *i);

/*
 * Expectations; persisted (beyond power loss once ingest_sync() was called). total 0: unknown; d
 * NULL: none but what the ref names. -EROFS after a commit, or from the file system.
 */
int ingest_set_total(struct ingest *i, uint64_t total, struct err *err);
int ingest_set_expected(struct ingest *i, const struct digest *d, struct err *err);
uint64_t ingest_total(struct ingest *i);
bool ingest_expected(struct ingest *i, struct digest *ret);

/*
 * pwrite(2) all n bytes. Returns 0, or -ENOSPC, -EDQUOT, -EIO ...: what was written before the
 * failure counts, the ingest stays resumable.
 */
int ingest_write(struct ingest *i, const void *p, size_t n, uint64_t offset);

/* ftruncate(2) the data, shorter or longer; no write may be under way across size. */
int ingest_truncate(struct ingest *i, uint64_t size);

/* fsync the data, and the side files that make it resumable; 0 or a negative errno. */
int ingest_sync(struct ingest *i);

/*
 * Verify and publish. On success the ingest's directory is gone, *ret is the digest, and i may
 * still be read from (ingest_data_fd) until ingest_close(). If the digest was in the store
 * before, the bytes are dropped and that is success too; an existing file whose size differs
 * from the verified bytes is damaged and is replaced. Its label says "ingest" (label_claim) unless
 * the ingest was opened with INGEST_FETCHED, whose holder says where it comes from.
 *
 * Failure leaves the ingest there and i open:
 *   -EBADMSG   the digest is not the expected one: "unexpected digest: GOT != WANT"
 *   -ENODATA   fewer bytes than the expected size: "failed size verification: GOT != WANT";
 *   -EFBIG     more bytes than that, same text
 *   other      from fsync(2), link(2) ...
 * The message is also written to the file failed.
 */
int ingest_commit(struct ingest *i, struct digest *ret, struct err *err);

/* Release the lock and keep the bytes; NULL is accepted; returns NULL. */
struct ingest *ingest_close(struct ingest *i);

/* Remove the ingest and close it; NULL is accepted; returns NULL. */
struct ingest *ingest_abort(struct ingest *i);

/* Remove the ingest of ref if nobody holds it. 0, -ENOENT, -EBUSY or from the file system. */
int ingest_remove(struct store *s, const char *ref, struct err *err);

/*
 * An ingest whose data has holes (a lazy fill's). After ingest_open() and before the first write:
 * nothing of data counts as present but the bytes whose hash is `hashed` (NULL: none) and what
 * ingest_found() tells. The holder vouches that those bytes are the ones that were hashed. 0 or
 * -EINVAL.
 */
int ingest_sparse(struct ingest *i, const struct hasher_state *hashed);
void ingest_found(struct ingest *i, uint64_t offset, uint64_t n);

/* Where the hash of the data stands, to go on from after a restart; false: nowhere yet. */
bool ingest_hashed(struct ingest *i, struct hasher_state *ret);

/*
 * What a commit checks, and nothing else: size and digest as expected. Errors as
 * ingest_commit(). A commit that follows at once hashes nothing again.
 */
int ingest_verify(struct ingest *i, struct digest *ret, struct err *err);

/* The directory of ref, held by whom it may be, for a look: a descriptor, or -ENOENT ... */
int ingest_peek(struct store *s, const char *ref);

/* What is known of an ingest without taking its lock. */
struct ingest_status {
	char ref[INGEST_REF_MAX + 1];
	uint64_t size;	    /* bytes of data; where it may have holes, those that are there */
	uint64_t allocated; /* bytes of disk it takes: st_blocks * 512 */
	uint64_t total;	    /* 0: unknown */
	bool has_expected;
	struct digest expected;
	int64_t started_ns; /* wall clock */
	int64_t updated_ns; /* later of updatedat and the data's mtime */
	bool locked;	    /* somebody is writing it now */
	char failed[256];   /* "" or why the last commit failed */
};

/* 0 or -ENOENT. */
int ingest_stat(struct store *s, const char *ref, struct ingest_status *ret);

/*
 * Every ingest of the store, in no order; those that vanish meanwhile or have no readable ref
 * are skipped. fn returns 0 to go on; any other value ends the walk and is returned.
 * The status is valid during the call alone.
 */
int ingest_walk(struct store *s, int (*fn)(void *arg, const struct ingest_status *st), void *arg);

/*
 * Remove every ingest that nobody holds and that was updated before before_ns (wall clock); with
 * dry_run only tell. fn gets each one, before it goes; it returns 0 to go on, any other value ends
 * the walk and is returned.
 */
int ingest_expire(struct store *s, int64_t before_ns, bool dry_run,
		  int (*fn)(void *arg, const struct ingest_status *st), void *arg);

/*
 * Remove what no ref leads to, is held by nobody and has not changed since before_ns: what an
 * interrupted removal or power loss left of finished ingests, directories whose ref cannot be
 * read. fn gets the name below ingest/ of each; as for ingest_expire().
 */
int ingest_sweep(struct store *s, int64_t before_ns, bool dry_run,
		 int (*fn)(void *arg, const char *name), void *arg);

#endif
