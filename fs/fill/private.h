/*
 * What the files of fs/fill share: the engine, waits, and what is left to do without its lock.
 *
 * One lock, f->lock, guards all that is here. Functions that end in _locked want it held; what
 * they find to be done outside of it (callbacks, registry, disk) they put on a struct todo, which
 * the caller runs once the lock is released.
 */
#ifndef FILL_PRIVATE_H
#define FILL_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "base/workqueue.h"
#include "fill/fill.h"
#include "fill/host_list.h"
#include "fill/known.h"
#include "oci/mediatype.h"
#include "oci/reference.h"

#define FILL_SOURCES_MAX 32

struct fill_one;
struct lookup;

/* A registry and a repository; lives as long as the engine, so that requests may borrow it. */
struct source {
	struct source *next;
	char name[REFERENCE_NAME_MAX + 1];
	struct reference ref;
	uint64_t bytes_per_s; /* of a connection, of late; 0: not known. Protected by the lock */
};

/* A request on its way to the registry client. Embedded; freed by the last of its owners. */
struct ask {
	struct registry_request q;
	struct list start_node, cancel_node; /* on a todo */
	unsigned int refs;		     /* protected by the lock, like all below */
	bool started;			     /* registry_start() has returned */
	bool cancelled;
	void (*release)(struct ask *a);
};

/* Somebody who waits for bytes of a fill, or for the answer of a lookup. */
struct waiter {
	struct list node; /* of its fill or lookup, later of a todo */
	struct blob_wait *wait;
	struct fill_one *fill; /* one of the two */
	struct lookup *lookup;
	uint64_t offset, end;
	bool whole;	      /* wants the blob in the store, whatever the mode */
	uint64_t deadline_ms; /* 0: none */
	int result;
	struct err err;
};

struct todo {
	struct list finished;	     /* waiters */
	struct list starts, cancels; /* asks */
	struct list jobs;	     /* fill_one.todo_node */
};

/* Why a fill failed, for those who ask later. */
struct failure {
	struct list node;
	struct digest digest;
	uint64_t local, size;
	int64_t when_ns;
	char text[256];
	char avoid[HOST_LIST_BYTES]; /* hosts whose bytes were wrong */
};

struct fill {
	struct blob_source source; /* first: fill_of() */
	struct fill_config config;
	struct workqueue *work;
	struct source *all_sources;
	struct source *defaults[FILL_SOURCES_MAX];
	size_t n_defaults;

	pthread_mutex_t lock;
	pthread_cond_t wake;	/* of the keeper: an earlier deadline, or stop */
	pthread_cond_t changed; /* has_scanned was set, n_busy is 0, stop */
	pthread_t keeper;
	bool has_keeper;
	uint64_t keeper_until_ms; /* when it wakes by itself */
	bool stopping;
	bool has_scanned;
	struct work scan_job;
	struct known *known;
	struct map fills;   /* struct fill_one by digest */
	struct map lookups; /* struct lookup by digest, under way or answered with no */
	struct list failures;
	size_t n_failures;
	struct list readers; /* struct fill_reader */
	struct blob_listener *listener;
	unsigned int n_busy; /* fills, lookups and callbacks under way: fill_stop() waits for 0 */
	struct fill_stats stats;
};

static inline struct fill *fill_of(struct blob_source *s)
{
	return (struct fill *)(void *)s;
}

void fill_lock(struct fill *f);
void fill_unlock(struct fill *f);
void busy_less_locked(struct fill *f);

/* fill.c: as blob_source_ops.ensure; whole: the blob is to be in the store. */
void fill_wait(struct fill *f, const struct digest *d, uint64_t offset, uint64_t length, bool whole,
	       uint64_t timeout_ms, struct blob_wait *wait);
/* How far the fill of d is; untouched when there is none. */
void fill_progress(struct fill *f, const struct digest *d, uint64_t *ret_here, uint64_t *ret_size);

/* todo.c */
void todo_init(struct todo *t);
/* Release the lock, then run what is on t. */
void todo_unlock_and_run(struct fill *f, struct todo *t);
void todo_start_locked(struct todo *t, struct ask *a);
void todo_cancel_locked(struct todo *t, struct ask *a);
void ask_init(struct ask *a, void (*release)(struct ask *a));
/* Give up one reference, with the lock held; release() may be called. */
void ask_unref_locked(struct ask *a);

/* End w: it goes from its list to t. fd: the asker's when r is 0 (lookup: -1). */
void waiter_finish_locked(struct waiter *w, int r, int fd, const struct err *err, struct todo *t);

/* sources.c */
/* The source of that name, made when it is new; NULL: no such name, or no memory. */
struct source *source_find_locked(struct fill *f, const char *name, struct err *err);

/* fill_one.c */
void fill_one_wait_locked(struct fill *f, const struct digest *d, struct waiter *w, struct todo *t);
/* A waiter of o is about to go. */
void fill_one_leave_locked(struct fill_one *o, struct todo *t);
/* Every waiter gets -EINTR, requests are cancelled, the ingest is closed. */
void fill_one_stop_locked(struct fill_one *o, struct todo *t);
/* Deadlines, polls; *until_ms is brought forward to when it wants to be called again. */
void fill_one_tick_locked(struct fill_one *o, uint64_t now_ms, uint64_t *until_ms, struct todo *t);
/* Bytes here, bytes in all (0: unknown), state for /active. */
void fill_one_show_locked(const struct fill_one *o, uint64_t *ret_here, uint64_t *ret_size,
			  int64_t *ret_started_ns, char *state, size_t n);
const char *fill_one_ref(const struct fill_one *o);
void fill_one_work(struct fill_one *o);
struct fill_one *fill_one_of_todo(struct list *n);

/* lookup.c */
void lookup_wait_locked(struct fill *f, const struct digest *d, struct waiter *w, struct todo *t);
void lookup_tick_locked(struct lookup *l, uint64_t now_ms, uint64_t *until_ms, struct todo *t);
void lookup_free_locked(struct lookup *l);

/* describe.c */
/*
 * Begin the scan of what is in the store, once, as soon as anything could come of it: what a
 * manifest describes is of use when it can be fetched, from a default source or the one in a label.
 * A store of neither is never read through.
 */
void describe_start(struct fill *f);
/* Learn what blob d describes, when it is here and a manifest or index. */
void describe_blob(struct fill *f, const struct digest *d);
/* The same from its bytes in fd; source: where it came from, or "". */
void describe_fd(struct fill *f, const struct digest *d, int fd, const char *source);
int describe_info(struct fill *f, const struct digest *d, struct blob_info *ret);
int describe_known(struct fill *f,
		   int (*fn)(void *arg, const struct digest *d, const struct blob_info *info),
		   void *arg);

/* failures.c */
void failure_note_locked(struct fill *f, const struct digest *d, uint64_t local, uint64_t size,
			 const char *text, const char *avoid);
void failure_forget_locked(struct fill *f, const struct digest *d);
const struct failure *failure_get_locked(const struct fill *f, const struct digest *d);

/* fetch.c: readers that saw wrong bytes */
void readers_spoilt_locked(struct fill *f, const struct digest *d);

#endif
