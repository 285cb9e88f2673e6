/* One digest on its way: who waits for it, and what becomes of it. */
#include "fill/fill_one.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"

#define FOLLOW_POLL_MS 25

struct fill_one *fill_one_of_todo(struct list *n)
{
	return list_entry(n, struct fill_one, todo_node);
}

void fill_one_work(struct fill_one *o)
{
	workqueue_add(o->engine->work, &o->job);
}

void fill_one_job_locked(struct fill_one *o, struct todo *t)
{
	if (o->job_busy)
		return;
	o->job_busy = true;
	list_add_tail(&t->jobs, &o->todo_node);
}

static struct fill_one *new_locked(struct fill *f, const struct digest *d)
{
	struct fill_one *o = calloc(1, sizeof(*o));

	if (o == NULL)
		return NULL;
	o->engine = f;
	o->digest = *d;
	(void)snprintf(o->ref, sizeof(o->ref), "%s%s", FILL_REF_PREFIX, digest_text(d).s);
	o->object = o->ref + strlen(FILL_REF_PREFIX);
	o->job.run = fill_one_run_job;
	o->data_fd = -1;
	o->started_ns = clock_wall_ns();
	list_init(&o->waiters);
	list_init(&o->ranges);
	list_init(&o->todo_node);
	if (map_put(&f->fills, &o->digest, sizeof(o->digest), o) < 0) {
		free(o);
		return NULL;
	}
	f->n_busy++;
	f->stats.started++;
	return o;
}

static void free_locked(struct fill_one *o)
{
	struct fill *f = o->engine;

	map_del(&f->fills, &o->digest, sizeof(o->digest));
	free(o);
	busy_less_locked(f);
}

static bool is_served(const struct fill_one *o, const struct waiter *w)
{
	uint64_t tail = o->size > HOLD_BACK_BYTES ? o->size - HOLD_BACK_BYTES : 0;

	if (o->verified && (o->committed || !w->whole))
		return true;
	if (o->verified || w->whole || o->engine->config.verify != FILL_VERIFY_AT_EOF ||
	    o->map == NULL || o->data_fd < 0 || w->end > tail)
		return false;
	return chunkmap_has(o->map, w->offset, w->end - w->offset);
}

static void serve_one_locked(struct fill_one *o, struct waiter *w, struct todo *t)
{
	int fd = fcntl(o->data_fd, F_DUPFD_CLOEXEC, 0);
	struct err err;

	if (fd >= 0) {
		waiter_finish_locked(w, 0, fd, NULL, t);
	} else {
		int r = err_errno(&err, errno, "open data");

		waiter_finish_locked(w, r, -1, &err, t);
	}
}

void fill_one_serve_locked(struct fill_one *o, struct todo *t)
{
	if (!o->verified && o->engine->config.verify != FILL_VERIFY_AT_EOF)
		return;
	list_for_each_safe (n, &o->waiters) {
		struct waiter *w = list_entry(n, struct waiter, node);

		if (is_served(o, w))
			serve_one_locked(o, w, t);
	}
}

bool fill_one_has_waiters_locked(const struct fill_one *o)
{
	return !list_empty(&o->waiters);
}

void fill_one_wait_locked(struct fill *f, const struct digest *d, struct waiter *w, struct todo *t)
{
	struct fill_one *o = map_get(&f->fills, d, sizeof(*d));
	bool first;

	if (o == NULL) {
		o = new_locked(f, d);
		if (o == NULL) {
			waiter_finish_locked(w, -ENOMEM, -1, NULL, t);
			return;
		}
		fill_one_job_locked(o, t);
	}
	w->fill = o;
	first = list_empty(&o->waiters);
	list_add_tail(&o->waiters, &w->node);
	if (is_served(o, w)) {
		serve_one_locked(o, w, t);
		return;
	}
	if (o->state == FILL_RUNNING) {
		if (first)
			fill_one_cancel_ranges_locked(o, /* capped_only= */ true, t);
		fill_one_plan_locked(o, t);
	} else if (o->state == FILL_FOLLOWING && f->keeper_until_ms > clock_mono_ms()) {
		(void)pthread_cond_signal(&f->wake);
	}
}

void fill_one_leave_locked(struct fill_one *o, struct todo *t)
{
	/* The other process goes on without us watching. */
	if (o->state == FILL_FOLLOWING && list_empty(&o->waiters) && !o->job_busy) {
		o->state = FILL_ENDING;
		fill_one_job_locked(o, t);
	}
}

static void finish_all_locked(struct fill_one *o, int r, const struct err *err, struct todo *t)
{
	while (!list_empty(&o->waiters))
		waiter_finish_locked(list_entry(o->waiters.next, struct waiter, node), r, -1, err,
				     t);
}

/* The job of ENDING closes what is open: once no request writes any more. */
static void end_locked(struct fill_one *o, struct todo *t)
{
	o->state = FILL_ENDING;
	fill_one_cancel_ranges_locked(o, /* capped_only= */ false, t);
	if (o->n_ranges == 0)
		fill_one_job_locked(o, t);
}

void fill_one_fail_locked(struct fill_one *o, int r, const struct err *err, struct todo *t)
{
	struct fill *f = o->engine;
	const char *text = err_text(err, r);

	if (o->state == FILL_ENDING)
		return;
	f->stats.failed++;
	failure_note_locked(f, &o->digest, o->map != NULL ? chunkmap_here(o->map) : 0, o->size,
			    text, o->avoid);
	log_debug("fill", "%s: failed: %s", o->object, text);
	finish_all_locked(o, r, err, t);
	end_locked(o, t);
}

void fill_one_stop_locked(struct fill_one *o, struct todo *t)
{
	finish_all_locked(o, -EINTR, NULL, t);
	if (o->state == FILL_RUNNING || (o->state == FILL_FOLLOWING && !o->job_busy))
		end_locked(o, t);
}

void fill_one_next_locked(struct fill_one *o, enum fill_state before, struct todo *t)
{
	if (o->state == FILL_ENDING && before != FILL_ENDING) {
		if (o->n_ranges == 0)
			fill_one_job_locked(o, t);
	} else if (o->state == FILL_ENDING && !list_empty(&o->waiters) && !o->engine->stopping) {
		/* They came while it ended: for them it begins again. */
		o->state = FILL_OPENING;
		o->started_ns = clock_wall_ns();
		o->n_retries = 0;
		fill_one_job_locked(o, t);
	} else if (o->state == FILL_ENDING) {
		finish_all_locked(o, -EINTR, NULL, t);
		free_locked(o);
	} else if (o->state == FILL_VERIFYING) {
		fill_one_job_locked(o, t);
	} else if (o->state == FILL_FOLLOWING) {
		o->poll_at_ms = clock_mono_ms() + FOLLOW_POLL_MS;
		(void)pthread_cond_signal(&o->engine->wake);
	}
}

void fill_one_spoil(struct fill_one *o)
{
	struct blob_listener *l;

	fill_lock(o->engine);
	readers_spoilt_locked(o->engine, &o->digest);
	l = o->engine->listener;
	fill_unlock(o->engine);
	if (l != NULL)
		l->spoilt(l, &o->digest);
}

static void expire_locked(struct fill_one *o, struct waiter *w, struct todo *t)
{
	uint64_t here = o->map != NULL ? chunkmap_here(o->map) : 0;
	const char *why = o->trouble.msg[0] != '\0' ? o->trouble.msg : o->err.msg;
	const char *from = o->source_at < o->n_sources ? o->sources[o->source_at]->name : "";
	struct err err;
	int r = err_set(
		&err, ETIMEDOUT,
		"not here in time: %llu of %llu bytes have arrived, and more may come%s%s%s%s",
		(unsigned long long)here, (unsigned long long)o->size,
		why[0] == '\0' && from[0] != '\0' ? " from " : "", why[0] == '\0' ? from : "",
		why[0] != '\0' ? "; " : "", why);

	waiter_finish_locked(w, r, -1, &err, t);
	failure_note_locked(o->engine, &o->digest, here, o->size, err.msg, o->avoid);
	fill_one_leave_locked(o, t);
}

void fill_one_tick_locked(struct fill_one *o, uint64_t now_ms, uint64_t *until_ms, struct todo *t)
{
	list_for_each_safe (n, &o->waiters) {
		struct waiter *w = list_entry(n, struct waiter, node);

		if (w->deadline_ms == 0)
			continue;
		if (w->deadline_ms <= now_ms)
			expire_locked(o, w, t);
		else if (w->deadline_ms < *until_ms)
			*until_ms = w->deadline_ms;
	}
	if (o->state != FILL_FOLLOWING || o->job_busy)
		return;
	if (o->poll_at_ms <= now_ms) {
		o->poll_at_ms = now_ms + FOLLOW_POLL_MS;
		fill_one_job_locked(o, t);
	}
	if (o->poll_at_ms < *until_ms)
		*until_ms = o->poll_at_ms;
}

const char *fill_one_ref(const struct fill_one *o)
{
	return o->ref;
}

void fill_one_show_locked(const struct fill_one *o, uint64_t *ret_here, uint64_t *ret_size,
			  int64_t *ret_started_ns, char *state, size_t n)
{
	const struct failure *x = failure_get_locked(o->engine, &o->digest);

	*ret_here = o->map != NULL ? chunkmap_here(o->map) : 0;
	*ret_size = o->size;
	*ret_started_ns = o->started_ns;
	if (o->state == FILL_ENDING && x != NULL && list_empty(&o->waiters)) {
		(void)snprintf(state, n, "failed: %s", x->text);
		return;
	}
	switch (o->state) {
	case FILL_FOLLOWING:
		(void)snprintf(state, n, "filling (by another process)");
		break;
	case FILL_VERIFYING:
		(void)snprintf(state, n, "filling (verifying)");
		break;
	case FILL_OPENING:
	case FILL_RUNNING:
	case FILL_ENDING:
		(void)snprintf(state, n, "filling");
		break;
	}
}
