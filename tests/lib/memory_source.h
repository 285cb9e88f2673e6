/*
 * A struct blob_source in memory: what fill/ would fetch, by hand.
 *
 *   MEMORY_SOURCE(src); memory_source_add(&src, "bytes", 5, known, &digest);
 *   memory_source_hold(&src, true); ... memory_source_let_go(&src);
 *
 * A blob that is known is described without asking; another is found by lookup alone. Answers come
 * from a thread of its own; while hold is set they wait until memory_source_let_go(), or cancel().
 * memory_source_fail() makes lookup and ensure answer with an error.
 *
 * Declare it behind the mount that uses it, so that it has answered before that one ends.
 *
 * Threads: any, as struct blob_source demands. Locks: a leaf lock, never held in a callback.
 */
#ifndef TESTS_LIB_MEMORY_SOURCE_H
#define TESTS_LIB_MEMORY_SOURCE_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/list.h"
#include "base/workqueue.h"
#include "store/blob_source.h"

#define MEMORY_BLOBS 64

struct memory_blob {
	struct digest digest;
	const char *data; /* borrowed */
	size_t len;
	bool known;
};

/* One question; the answer is worked out when it is let go. */
struct memory_question {
	struct work work;
	struct list node; /* in held */
	struct memory_source *src;
	struct blob_wait *wait;
	struct digest digest;
	bool is_ensure;
	bool cancelled;
};

struct memory_source {
	struct blob_source base;
	struct workqueue *queue;
	pthread_mutex_t lock;
	struct list held; /* struct memory_question; protected by lock, like all below */
	bool hold;
	int error, ensure_error;
	struct memory_blob blobs[MEMORY_BLOBS];
	size_t n_blobs;
	unsigned int n_committed, n_lookups, n_ensures, n_cancelled, n_held;
	uint64_t offset, length; /* of the last ensure */
};

static inline const struct memory_blob *memory_find_locked(struct memory_source *s,
							   const struct digest *d)
{
	for (size_t i = 0; i < s->n_blobs; i++)
		if (digest_equal(&s->blobs[i].digest, d))
			return &s->blobs[i];
	return NULL;
}

static inline void memory_info(const struct memory_blob *b, struct blob_info *ret)
{
	*ret = (struct blob_info){.size = b->len, .local = b->len / 2};
	(void)snprintf(ret->mediatype, sizeof(ret->mediatype), "application/x-test");
	(void)snprintf(ret->source, sizeof(ret->source), "memory/test");
}

static inline int memory_describe(struct blob_source *base, const struct digest *d,
				  struct blob_info *ret)
{
	struct memory_source *s = list_entry(base, struct memory_source, base);
	const struct memory_blob *b;
	bool known;

	(void)pthread_mutex_lock(&s->lock);
	b = memory_find_locked(s, d);
	known = b != NULL && b->known;
	if (known)
		memory_info(b, ret);
	(void)pthread_mutex_unlock(&s->lock);
	return known ? 0 : -ENOENT;
}

/* The answer, on a thread of the queue; q is gone after it. */
static inline void memory_answer(struct work *w)
{
	struct memory_question *q = list_entry(w, struct memory_question, work);
	struct memory_source *s = q->src;
	struct blob_wait *wait = q->wait;
	const struct memory_blob *b;
	struct err err = {0};
	int r;

	(void)pthread_mutex_lock(&s->lock);
	b = memory_find_locked(s, &q->digest);
	r = q->is_ensure ? s->ensure_error : s->error;
	if (q->cancelled)
		r = -EINTR;
	else if (r == 0 && b == NULL)
		r = -ENOENT;
	if (r == 0)
		memory_info(b, &wait->info);
	(void)pthread_mutex_unlock(&s->lock);
	if (r == 0 && q->is_ensure) {
		wait->fd = memfd_create("blob", MFD_CLOEXEC);
		if (wait->fd < 0 || write(wait->fd, b->data, b->len) != (ssize_t)b->len)
			abort();
	}
	free(q);
	wait->done(wait, r, r < 0 ? (err_set(&err, -r, "the test says so"), &err) : NULL);
}

static inline void memory_ask(struct memory_source *s, const struct digest *d, struct blob_wait *w,
			      bool is_ensure)
{
	struct memory_question *q = calloc(1, sizeof(*q));
	bool held;

	if (q == NULL) {
		w->done(w, -ENOMEM, NULL);
		return;
	}
	*q = (struct memory_question){.work = {.run = memory_answer}, .src = s, .wait = w};
	q->digest = *d;
	q->is_ensure = is_ensure;
	(void)pthread_mutex_lock(&s->lock);
	s->n_ensures += is_ensure;
	s->n_lookups += !is_ensure;
	held = s->hold;
	s->n_held += held;
	if (held)
		list_add_tail(&s->held, &q->node);
	(void)pthread_mutex_unlock(&s->lock);
	if (!held)
		workqueue_add(s->queue, &q->work);
}

static inline void memory_lookup(struct blob_source *base, const struct digest *d,
				 struct blob_wait *w)
{
	memory_ask(list_entry(base, struct memory_source, base), d, w, false);
}

static inline void memory_ensure(struct blob_source *base, const struct digest *d, uint64_t offset,
				 uint64_t length, struct blob_wait *w)
{
	struct memory_source *s = list_entry(base, struct memory_source, base);

	(void)pthread_mutex_lock(&s->lock);
	s->offset = offset;
	s->length = length;
	(void)pthread_mutex_unlock(&s->lock);
	memory_ask(s, d, w, true);
}

static inline void memory_cancel(struct blob_source *base, struct blob_wait *w)
{
	struct memory_source *s = list_entry(base, struct memory_source, base);
	struct memory_question *found = NULL;

	(void)pthread_mutex_lock(&s->lock);
	list_for_each (n, &s->held) {
		struct memory_question *q = list_entry(n, struct memory_question, node);

		if (q->wait == w)
			found = q;
	}
	if (found != NULL) {
		list_del(&found->node);
		found->cancelled = true;
		s->n_cancelled++;
		s->n_held--;
	}
	(void)pthread_mutex_unlock(&s->lock);
	if (found != NULL)
		memory_answer(&found->work); /* on the canceller's thread, as fill does */
}

static inline void memory_committed(struct blob_source *base, const struct digest *d)
{
	struct memory_source *s = list_entry(base, struct memory_source, base);

	(void)d;
	(void)pthread_mutex_lock(&s->lock);
	s->n_committed++;
	(void)pthread_mutex_unlock(&s->lock);
}

static inline int memory_known(struct blob_source *base,
			       int (*fn)(void *arg, const struct digest *d,
					 const struct blob_info *info),
			       void *arg)
{
	struct memory_source *s = list_entry(base, struct memory_source, base);
	int r = 0;

	for (size_t i = 0; i < s->n_blobs && r == 0; i++) {
		struct blob_info info;

		if (!s->blobs[i].known)
			continue;
		memory_info(&s->blobs[i], &info);
		r = fn(arg, &s->blobs[i].digest, &info);
	}
	return r;
}

static inline int memory_fills(struct blob_source *base,
			       int (*fn)(void *arg, const char *ref, uint64_t size, uint64_t total,
					 int64_t started_ns, const char *state),
			       void *arg)
{
	(void)base;
	return fn(arg, "fill@memory", 5, 10, 0, "filling");
}

static inline void memory_source_init(struct memory_source *s)
{
	static const struct blob_source_ops ops = {
		.describe = memory_describe,
		.lookup = memory_lookup,
		.ensure = memory_ensure,
		.cancel = memory_cancel,
		.committed = memory_committed,
		.known = memory_known,
		.fills = memory_fills,
	};

	*s = (struct memory_source){.base = {.ops = &ops}};
	(void)pthread_mutex_init(&s->lock, NULL);
	list_init(&s->held);
	if (workqueue_new(2, &s->queue) < 0)
		abort();
}

/* Before the mount is asked for it; data is borrowed. */
static inline void memory_source_add(struct memory_source *s, const char *data, size_t len,
				     bool known, struct digest *ret)
{
	if (s->n_blobs == MEMORY_BLOBS || digest_of(data, len, ret) < 0)
		abort();
	s->blobs[s->n_blobs++] =
		(struct memory_blob){.digest = *ret, .data = data, .len = len, .known = known};
}

static inline void memory_source_hold(struct memory_source *s, bool hold)
{
	(void)pthread_mutex_lock(&s->lock);
	s->hold = hold;
	(void)pthread_mutex_unlock(&s->lock);
}

static inline void memory_source_fail(struct memory_source *s, int error, int ensure_error)
{
	(void)pthread_mutex_lock(&s->lock);
	s->error = error;
	s->ensure_error = ensure_error;
	(void)pthread_mutex_unlock(&s->lock);
}

/* One of the counters, read under the lock: memory_source_count(&s, &s.n_held). */
static inline unsigned int memory_source_count(struct memory_source *s, const unsigned int *counter)
{
	unsigned int n;

	(void)pthread_mutex_lock(&s->lock);
	n = *counter;
	(void)pthread_mutex_unlock(&s->lock);
	return n;
}

/* Answer what is held, in order. */
static inline void memory_source_let_go(struct memory_source *s)
{
	for (;;) {
		struct memory_question *q = NULL;

		(void)pthread_mutex_lock(&s->lock);
		s->hold = false;
		if (!list_empty(&s->held)) {
			q = list_entry(s->held.next, struct memory_question, node);
			list_del(&q->node);
			s->n_held--;
		}
		(void)pthread_mutex_unlock(&s->lock);
		if (q == NULL)
			return;
		workqueue_add(s->queue, &q->work);
	}
}

/* Every question is answered. The lock stays good: a mount that ends after this may tell it more.
 */
static inline void memory_source_done(struct memory_source *s)
{
	memory_source_let_go(s);
	s->queue = workqueue_free(s->queue);
}

#define MEMORY_SOURCE(s)                                                         \
	__attribute__((__cleanup__(memory_source_done))) struct memory_source s; \
	memory_source_init(&(s))

#endif
