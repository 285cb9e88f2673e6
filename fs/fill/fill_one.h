/*
 * One digest on its way. Private to fill_*.c.
 *
 *   OPENING ──► RUNNING ──► VERIFYING ──► ENDING ──► gone, or OPENING for who came meanwhile
 *     │ ▲                      │ wrong digest: RUNNING again, without the host that it came from
 *     ▼ │ polls                ▼
 *   FOLLOWING (another process holds the ingest's lock)      any ──► ENDING on failure or stop
 *
 * OPENING, FOLLOWING, VERIFYING and ENDING have a job on a worker that does what blocks; RUNNING is
 * driven by the registry client's callbacks. The ingest and its map belong to the job in those
 * states, and in RUNNING to the callbacks; so the map is read under the lock by all.
 */
#ifndef FILL_FILL_ONE_H
#define FILL_FILL_ONE_H

#include <xxhash.h>

#include "fill/private.h"
#include "store/chunkmap.h"
#include "store/ingest.h"

#define FILL_ONE_SOURCES_MAX 48
#define RANGES_MAX 32
#define MISMATCHES_MAX 4 /* hosts that may give wrong bytes before a reader hears of it */

/* At-eof: these last bytes of a blob, and reads that touch them, wait for the verdict. */
#define HOLD_BACK_BYTES ((uint64_t)64 << 10)

enum fill_state { FILL_OPENING, FILL_FOLLOWING, FILL_RUNNING, FILL_VERIFYING, FILL_ENDING };

struct fill_one {
	struct fill *engine;
	struct digest digest;
	char ref[sizeof(FILL_REF_PREFIX) + DIGEST_TEXT_LEN];
	const char *object; /* in ref: "sha256:<hex>" */

	/* protected by the engine's lock, all below */
	enum fill_state state;
	struct work job;
	struct list todo_node;
	bool job_busy; /* queued or running */
	struct list waiters;
	int64_t started_ns;
	uint64_t poll_at_ms; /* FOLLOWING: when to look again */

	bool has_size; /* a descriptor or a source told */
	uint64_t size;
	char mediatype[MEDIATYPE_MAX];
	enum registry_op op;
	bool single; /* one request for all: manifests, objects of unknown size */

	struct source *sources[FILL_ONE_SOURCES_MAX];
	size_t n_sources, source_at;	/* asked now; n_sources: all have failed */
	uint64_t here_at_failure;	/* bytes that were here when the last source failed */
	char avoid[HOST_LIST_BYTES];	/* that gave wrong bytes */
	char doubtful[HOST_LIST_BYTES]; /* of those: others had a part in the bytes */
	bool avoid_is_old;		/* that was an earlier attempt: better than nobody */
	char hosts[HOST_LIST_BYTES];	/* that gave bytes since the data was begun */
	struct err err;			/* of the sources that failed; the most telling one */
	struct err trouble;		/* the latest, of a host that is asked again */

	struct ingest *ingest; /* NULL while FOLLOWING */
	struct chunkmap *map;  /* NULL: size unknown, or not opened yet */
	int data_fd;	       /* of ingest; FOLLOWING: ours, of the other's */
	bool verified;	       /* data_fd holds the blob */
	bool committed;	       /* and it is in the store */
	bool wrong;	       /* the bytes did not match: they go */
	struct list ranges;
	unsigned int n_ranges;
	uint64_t length;      /* of the last range that was asked for */
	uint64_t bytes_per_s; /* of the latest that told; 0: none did */
	uint64_t cursor;      /* where the background goes on */
	uint64_t hash_saved_at;
	unsigned int n_retries; /* after a mismatch */
};

/*
 * What has come is written in pieces of so much: larger folios in the page cache cost half of what
 * those of 16 KiB do, the most that a callback brings.
 */
#define PIECE_BYTES ((size_t)128 << 10)

/* Bytes [at, end) of a fill, on their way; the first of them in piece, to be written. */
struct range {
	struct ask ask;
	struct list node; /* of the fill's */
	struct fill_one *fill;
	struct source *source;
	uint64_t start, at, end;
	bool capped;
	uint64_t asked_ns;
	bool judged;	      /* its speed was looked at: */
	uint64_t judged_ns;   /* when it last was, at first when its head came, */
	uint64_t judged_at;   /* and up to where */
	int local_error;      /* the disk's */
	unsigned char *piece; /* the network thread's, until done() */
	size_t n_piece;
	XXH3_state_t *xxh3; /* of the chunk that at is in; NULL without a map */
};

/* fill_one.c */
bool fill_one_has_waiters_locked(const struct fill_one *o);
/* Serve every waiter whose bytes are here. */
void fill_one_serve_locked(struct fill_one *o, struct todo *t);
/* All waiters get r; what it has is closed by a job, once nothing is in flight. */
void fill_one_fail_locked(struct fill_one *o, int r, const struct err *err, struct todo *t);
/* Queue the job of its state. */
void fill_one_job_locked(struct fill_one *o, struct todo *t);
/* Bytes that were given out may be wrong: all who may have seen any are told. Without the lock. */
void fill_one_spoil(struct fill_one *o);
/* The job of state `before` has ended: what is next? o may be gone after it. */
void fill_one_next_locked(struct fill_one *o, enum fill_state before, struct todo *t);

/* fill_range.c: another source is asked from now on; what it brings may be known. */
void fill_one_use_source_locked(struct fill_one *o);
/* Ask for what is missing, as many ranges as may be. */
void fill_one_plan_locked(struct fill_one *o, struct todo *t);
/* Cancel all; capped_only: those that crawl, since somebody waits now. */
void fill_one_cancel_ranges_locked(struct fill_one *o, bool capped_only, struct todo *t);

/* fill_job.c */
void fill_one_run_job(struct work *w);

#endif
