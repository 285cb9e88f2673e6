#include "dist/transfers.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/size.h"
#include "base/workqueue.h"

#define TICK_MS 100

struct batch;

struct transfer {
	struct work work;
	struct batch *batch;
	const struct object *object;
	const char *how; /* protected by batch->lock, like all below; NULL: not done */
	bool running, told;
	uint64_t done, started_ms;
};

struct batch {
	const struct transfers *t;
	struct transfer *all;
	size_t n;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* on CLOCK_MONOTONIC */
	size_t n_left;		/* protected by lock, like all below */
	int r;			/* the first failure, which ends it all */
	struct err err;
};

int transfer_progress(struct transfer *x, uint64_t done)
{
	int r;

	(void)pthread_mutex_lock(&x->batch->lock);
	x->done = done;
	r = x->batch->r < 0 ? -ECANCELED : 0;
	(void)pthread_mutex_unlock(&x->batch->lock);
	return r;
}

static void run(struct work *work)
{
	struct transfer *x = (struct transfer *)work;
	struct batch *b = x->batch;
	const struct object *o = x->object;
	const char *how = "";
	struct err err = {0};
	int r;

	(void)pthread_mutex_lock(&b->lock);
	x->running = true;
	x->started_ms = clock_mono_ms();
	r = b->r < 0 ? -ECANCELED : 0;
	(void)pthread_mutex_unlock(&b->lock);
	if (r == 0)
		r = b->t->move(b->t->arg, &o->d, x, &how, &err);
	(void)pthread_mutex_lock(&b->lock);
	x->running = false;
	if (r == 0)
		x->how = how;
	if (r < 0 && b->r == 0) {
		b->r = err_wrap(&err, r, "%s %s", object_kind_name(o->kind),
				digest_text(&o->d.digest).s);
		b->err = err;
	}
	b->n_left--;
	(void)pthread_cond_signal(&b->changed);
	(void)pthread_mutex_unlock(&b->lock);
}

/* A line for each that has ended since, and the bars of those under way. */
static void show_locked(struct batch *b)
{
	struct bar bars[TRANSFERS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < b->n && !b->t->quiet; i++) {
		struct transfer *x = &b->all[i];
		const struct object *o = x->object;
		char size[32];

		if (x->how != NULL && !x->told) {
			size_format(o->d.size, size, sizeof(size));
			bars_say(b->t->bars, "%s %s %s, %s", digest_text(&o->d.digest).s,
				 object_kind_name(o->kind), x->how, size);
			x->told = true;
		}
		if (x->running && n < TRANSFERS_MAX) {
			bars[n] = (struct bar){
				.done = x->done, .total = o->d.size, .start_ms = x->started_ms};
			(void)snprintf(bars[n++].name, sizeof(bars[0].name), "%s %.19s",
				       object_kind_name(o->kind), digest_text(&o->d.digest).s);
		}
	}
	if (!b->t->quiet)
		bars_draw(b->t->bars, bars, n);
}

static void wait_for_all(struct batch *b)
{
	(void)pthread_mutex_lock(&b->lock);
	while (b->n_left > 0) {
		uint64_t until_ms = clock_mono_ms() + TICK_MS;
		struct timespec ts = {.tv_sec = (time_t)(until_ms / 1000),
				      .tv_nsec = (long)(until_ms % 1000) * 1000000};

		(void)pthread_cond_timedwait(&b->changed, &b->lock, &ts);
		show_locked(b);
	}
	show_locked(b); /* they may have been done before we looked */
	(void)pthread_mutex_unlock(&b->lock);
	bars_done(b->t->bars);
}

static int batch_init(struct batch *b, const struct transfers *t)
{
	pthread_condattr_t attr;

	b->t = t;
	b->all = calloc(t->objects->n > 0 ? t->objects->n : 1, sizeof(*b->all));
	if (b->all == NULL)
		return -ENOMEM;
	(void)pthread_mutex_init(&b->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&b->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	for (size_t i = 0; i < t->objects->n; i++)
		if (t->objects->v[i].kind != OBJECT_MANIFEST)
			b->all[b->n++] = (struct transfer){
				.work.run = run, .batch = b, .object = &t->objects->v[i]};
	b->n_left = b->n;
	return 0;
}

int transfers_run(const struct transfers *t, struct err *err)
{
	struct batch b = {0};
	struct workqueue *q;
	int r = batch_init(&b, t);

	if (r < 0)
		return err_set(err, ENOMEM, "out of memory");
	r = workqueue_new(t->parallel, &q);
	if (r < 0) {
		(void)err_errno(err, -r, "start threads");
	} else {
		for (size_t i = 0; i < b.n; i++)
			workqueue_add(q, &b.all[i].work);
		wait_for_all(&b);
		workqueue_free(q);
		r = b.r;
		if (r < 0 && err != NULL)
			*err = b.err;
	}
	(void)pthread_cond_destroy(&b.changed);
	(void)pthread_mutex_destroy(&b.lock);
	free(b.all);
	return r;
}
