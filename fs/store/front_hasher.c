#include "store/front_hasher.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "base/fd.h"

/* One read: small enough to stay in the second-level cache between the read and the hash. */
#define CHUNK_BYTES ((size_t)256 << 10)
/* Less than this is hashed by finish(): a thread costs more than that. */
#define THREAD_AFTER_BYTES ((size_t)1 << 20)
#define STACK_BYTES ((size_t)256 << 10)
/* Writes that ended beyond the front, for writers that are a little out of order. */
#define MAX_EXTENTS 64

struct extent {
	uint64_t start, end;
};

struct front_hasher {
	int fd; /* borrowed */
	struct hasher *sha;
	unsigned char *chunk;

	pthread_mutex_t lock;
	pthread_cond_t wake; /* signalled for: enough to hash, stop */
	/* protected by lock from here on */
	uint64_t front;	 /* [0, front) has been written */
	uint64_t hashed; /* [0, hashed) is in sha, or the thread is about to put it there */
	struct extent extents[MAX_EXTENTS]; /* beyond the front; unordered, disjoint or not */
	size_t n_extents;
	struct hasher_state saved; /* of sha, some chunks ago; of use while has_saved */
	bool has_saved;
	bool dirty;   /* sha is of no use: something below the front was written again */
	bool restart; /* the file was cut to nothing: the thread begins anew */
	bool stop;
	bool has_thread;
	bool no_thread; /* could not be started: leave it all to finish() */
	bool waiting;	/* the thread waits for wake */
	pthread_t thread;
};

int front_hasher_new(int fd, uint64_t present, struct front_hasher **ret)
{
	struct front_hasher *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return -ENOMEM;
	if (hasher_new(&h->sha) < 0) {
		free(h);
		return -ENOMEM;
	}
	h->fd = fd;
	h->front = present;
	(void)pthread_mutex_init(&h->lock, NULL);
	(void)pthread_cond_init(&h->wake, NULL);
	*ret = h;
	return 0;
}

static void spoil_locked(struct front_hasher *h)
{
	h->dirty = true;
	h->has_saved = false;
}

/* Hash n bytes at offset. Short: the file was cut under us. */
static int hash_chunk(struct front_hasher *h, uint64_t offset, size_t n)
{
	ssize_t got = fd_pread_full(h->fd, h->chunk, n, offset);

	if (got < 0)
		return (int)got;
	hasher_update(h->sha, h->chunk, (size_t)got);
	return (size_t)got == n ? 0 : -EIO;
}

static void *run(void *arg)
{
	struct front_hasher *h = arg;

	(void)pthread_mutex_lock(&h->lock);
	while (!h->stop) {
		uint64_t offset, n;
		int r;

		if (h->restart) {
			hasher_reset(h->sha);
			h->hashed = 0;
			h->restart = h->dirty = false;
		}
		/* Whole chunks only, so that small writes do not each wake the thread. */
		if (h->dirty || h->front - h->hashed < CHUNK_BYTES) {
			h->waiting = true;
			(void)pthread_cond_wait(&h->wake, &h->lock);
			h->waiting = false;
			continue;
		}
		offset = h->hashed;
		n = CHUNK_BYTES;
		h->hashed += n;
		(void)pthread_mutex_unlock(&h->lock);
		r = hash_chunk(h, offset, (size_t)n);
		(void)pthread_mutex_lock(&h->lock);
		if (r < 0 && !h->restart)
			spoil_locked(h); /* finish() reads it again and tells why */
		if (!h->dirty && !h->restart)
			h->has_saved = hasher_save(h->sha, &h->saved) == 0;
	}
	(void)pthread_mutex_unlock(&h->lock);
	return NULL;
}

static void start_thread_locked(struct front_hasher *h)
{
	sigset_t all, old;
	pthread_attr_t attr;
	int r;

	if (h->chunk == NULL)
		h->chunk = malloc(CHUNK_BYTES);
	if (h->chunk == NULL) {
		h->no_thread = true;
		return;
	}
	(void)sigfillset(&all);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	h->stop = false;
	r = pthread_create(&h->thread, &attr, run, h);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)pthread_attr_destroy(&attr);
	h->has_thread = r == 0;
	h->no_thread = r != 0;
}

static void stop_thread(struct front_hasher *h)
{
	if (!h->has_thread)
		return;
	(void)pthread_mutex_lock(&h->lock);
	h->stop = true;
	(void)pthread_cond_signal(&h->wake);
	(void)pthread_mutex_unlock(&h->lock);
	(void)pthread_join(h->thread, NULL);
	h->has_thread = false;
}

/*
 * The thread reads below the front without asking: so a write that touches anything there while
 * it is under way makes the hash useless. Whether it does is asked when it begins, and again when
 * it ends, since others may have moved the front into it.
 */
void front_hasher_begin(struct front_hasher *h, uint64_t offset, size_t n)
{
	if (n == 0)
		return;
	(void)pthread_mutex_lock(&h->lock);
	if (offset < h->front)
		spoil_locked(h);
	(void)pthread_mutex_unlock(&h->lock);
}

/* Remember [start, end) beyond the front; forgotten ones are read by finish(). */
static void add_extent_locked(struct front_hasher *h, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < h->n_extents; i++) {
		struct extent *e = &h->extents[i];

		if (start <= e->end && e->start <= end) {
			e->start = start < e->start ? start : e->start;
			e->end = end > e->end ? end : e->end;
			return;
		}
	}
	if (h->n_extents < MAX_EXTENTS)
		h->extents[h->n_extents++] = (struct extent){start, end};
}

static void advance_locked(struct front_hasher *h, uint64_t end)
{
	size_t i = 0;

	h->front = end;
	while (i < h->n_extents) {
		struct extent e = h->extents[i];

		if (e.start > h->front) {
			i++;
			continue;
		}
		h->extents[i] = h->extents[--h->n_extents];
		if (e.end > h->front) {
			h->front = e.end;
			i = 0;
		}
	}
}

static void arrived_locked(struct front_hasher *h, uint64_t offset, uint64_t n)
{
	if (n > 0 && offset > h->front)
		add_extent_locked(h, offset, offset + n);
	else if (offset + n > h->front)
		advance_locked(h, offset + n);
	if (h->dirty && !h->restart) {
		/* nothing to gain before finish() */
	} else if (h->has_thread) {
		if (h->waiting && (h->restart || h->front - h->hashed >= CHUNK_BYTES))
			(void)pthread_cond_signal(&h->wake);
	} else if (!h->no_thread && h->front - h->hashed > THREAD_AFTER_BYTES) {
		start_thread_locked(h);
	}
}

void front_hasher_end(struct front_hasher *h, uint64_t offset, size_t written)
{
	(void)pthread_mutex_lock(&h->lock);
	if (offset < h->front)
		spoil_locked(h);
	arrived_locked(h, offset, written);
	(void)pthread_mutex_unlock(&h->lock);
}

int front_hasher_resume(struct front_hasher *h, const struct hasher_state *st)
{
	int r = 0;

	(void)pthread_mutex_lock(&h->lock);
	h->front = h->hashed = 0;
	if (st != NULL)
		r = hasher_load(h->sha, st);
	if (st != NULL && r == 0) {
		h->front = h->hashed = st->n_bytes;
		h->saved = *st;
		h->has_saved = true;
	}
	(void)pthread_mutex_unlock(&h->lock);
	return r;
}

void front_hasher_found(struct front_hasher *h, uint64_t offset, uint64_t n)
{
	(void)pthread_mutex_lock(&h->lock);
	arrived_locked(h, offset, n);
	(void)pthread_mutex_unlock(&h->lock);
}

bool front_hasher_saved(struct front_hasher *h, struct hasher_state *ret)
{
	bool has;

	(void)pthread_mutex_lock(&h->lock);
	has = h->has_saved;
	if (has)
		*ret = h->saved;
	(void)pthread_mutex_unlock(&h->lock);
	return has;
}

void front_hasher_truncated(struct front_hasher *h, uint64_t size)
{
	(void)pthread_mutex_lock(&h->lock);
	if (size < h->hashed)
		spoil_locked(h);
	if (size < h->front)
		h->front = size;
	for (size_t i = 0; i < h->n_extents;) {
		if (h->extents[i].end > size)
			h->extents[i].end = size;
		if (h->extents[i].start >= h->extents[i].end)
			h->extents[i] = h->extents[--h->n_extents];
		else
			i++;
	}
	if (size == 0 && !h->has_thread) {
		hasher_reset(h->sha);
		h->hashed = 0;
		h->dirty = h->has_saved = false;
	} else if (size == 0) {
		h->restart = true; /* the thread may be in the middle of a chunk */
		spoil_locked(h);
		(void)pthread_cond_signal(&h->wake);
	}
	(void)pthread_mutex_unlock(&h->lock);
}

int front_hasher_finish(struct front_hasher *h, uint64_t size, struct digest *ret)
{
	int r = 0;

	stop_thread(h);
	if (h->chunk == NULL)
		h->chunk = malloc(CHUNK_BYTES);
	if (h->chunk == NULL)
		return -ENOMEM;
	if (h->dirty || h->restart || h->hashed > size) {
		hasher_reset(h->sha);
		h->hashed = 0;
	}
	h->dirty = h->restart = false;
	while (h->hashed < size && r == 0) {
		uint64_t left = size - h->hashed;
		size_t n = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;

		r = hash_chunk(h, h->hashed, n);
		h->hashed += n;
	}
	if (r == 0)
		hasher_peek(h->sha, ret);
	h->front = size;
	h->n_extents = 0;
	h->no_thread = false;
	h->dirty = r < 0;
	return r;
}

struct front_hasher *front_hasher_free(struct front_hasher *h)
{
	if (h == NULL)
		return NULL;
	stop_thread(h);
	(void)pthread_cond_destroy(&h->wake);
	(void)pthread_mutex_destroy(&h->lock);
	hasher_free(h->sha);
	free(h->chunk);
	free(h);
	return NULL;
}
