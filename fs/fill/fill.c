#include "fill/fill.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "fill/private.h"
#include "store/blob.h"

#define WORK_THREADS 8 /* opening and committing of fills */
#define DEFAULT_LOOKUP_MS 3000
#define DEFAULT_CONNECTIONS 6
#define FAILURE_SHOWN_NS ((int64_t)600 * 1000000000)

CLEANUP_DEFINE(struct fill *, fill_free);

/* Add w to what it waits for: a fill, or a lookup. */
static void begin_wait(struct fill *f, const struct digest *d, struct waiter *w, bool is_lookup)
{
	struct todo t;

	todo_init(&t);
	list_init(&w->node);
	fill_lock(f);
	w->wait->source_private = w;
	if (f->stopping) {
		waiter_finish_locked(w, -EINTR, -1, NULL, &t);
	} else if (is_lookup) {
		f->stats.lookups++;
		lookup_wait_locked(f, d, w, &t);
	} else {
		f->stats.waits++;
		fill_one_wait_locked(f, d, w, &t);
	}
	if (w->deadline_ms != 0 && w->deadline_ms < f->keeper_until_ms)
		(void)pthread_cond_signal(&f->wake);
	todo_unlock_and_run(f, &t);
}

static uint64_t deadline_in(uint64_t ms)
{
	return ms > 0 ? clock_mono_ms() + ms : 0;
}

void fill_wait(struct fill *f, const struct digest *d, uint64_t offset, uint64_t length, bool whole,
	       uint64_t timeout_ms, struct blob_wait *wait)
{
	struct waiter *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		wait->done(wait, -ENOMEM, NULL);
		return;
	}
	w->wait = wait;
	w->offset = offset;
	w->end = length < UINT64_MAX - offset ? offset + length : UINT64_MAX;
	w->whole = whole;
	w->deadline_ms = deadline_in(timeout_ms);
	begin_wait(f, d, w, /* is_lookup= */ false);
}

static void op_ensure(struct blob_source *src, const struct digest *d, uint64_t offset,
		      uint64_t length, struct blob_wait *wait)
{
	struct fill *f = fill_of(src);

	fill_wait(f, d, offset, length, /* whole= */ false, f->config.read_ms, wait);
}

static void op_lookup(struct blob_source *src, const struct digest *d, struct blob_wait *wait)
{
	struct fill *f = fill_of(src);
	struct waiter *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		wait->done(wait, -ENOMEM, NULL);
		return;
	}
	w->wait = wait;
	w->deadline_ms = deadline_in(f->config.lookup_ms);
	begin_wait(f, d, w, /* is_lookup= */ true);
}

/* The waiter leaves; a lookup goes on, and its answer is remembered. */
static void end_wait_locked(struct waiter *w, int r, struct todo *t)
{
	struct fill_one *o = w->fill;

	waiter_finish_locked(w, r, -1, NULL, t);
	if (o != NULL)
		fill_one_leave_locked(o, t);
}

static void op_cancel(struct blob_source *src, struct blob_wait *wait)
{
	struct fill *f = fill_of(src);
	struct todo t;

	todo_init(&t);
	fill_lock(f);
	if (wait->source_private != NULL)
		end_wait_locked(wait->source_private, -EINTR, &t);
	todo_unlock_and_run(f, &t);
}

static int op_describe(struct blob_source *src, const struct digest *d, struct blob_info *ret)
{
	return describe_info(fill_of(src), d, ret);
}

static int op_known(struct blob_source *src,
		    int (*fn)(void *arg, const struct digest *d, const struct blob_info *info),
		    void *arg)
{
	return describe_known(fill_of(src), fn, arg);
}

static void op_committed(struct blob_source *src, const struct digest *d)
{
	describe_blob(fill_of(src), d);
}

static void op_listen(struct blob_source *src, struct blob_listener *l)
{
	struct fill *f = fill_of(src);

	fill_lock(f);
	f->listener = l;
	fill_unlock(f);
}

struct row {
	char ref[sizeof(FILL_REF_PREFIX) + DIGEST_TEXT_LEN];
	uint64_t here, size;
	int64_t since_ns;
	char state[320];
};

static struct row *rows_locked(struct fill *f, size_t *ret_n)
{
	struct row *rows = calloc(f->fills.n_used + f->n_failures + 1, sizeof(*rows));
	int64_t now = clock_wall_ns();
	struct fill_one *o;
	size_t n = 0, pos = 0;

	if (rows == NULL)
		return NULL;
	while ((o = map_next(&f->fills, &pos)) != NULL) {
		struct row *row = &rows[n++];

		(void)snprintf(row->ref, sizeof(row->ref), "%s", fill_one_ref(o));
		fill_one_show_locked(o, &row->here, &row->size, &row->since_ns, row->state,
				     sizeof(row->state));
	}
	list_for_each (node, &f->failures) {
		const struct failure *x = list_entry(node, struct failure, node);
		struct row *row = &rows[n];

		if (now - x->when_ns > FAILURE_SHOWN_NS ||
		    map_get(&f->fills, &x->digest, sizeof(x->digest)) != NULL)
			continue;
		n++;
		(void)snprintf(row->ref, sizeof(row->ref), "%s%s", FILL_REF_PREFIX,
			       digest_text(&x->digest).s);
		row->here = x->local;
		row->size = x->size;
		row->since_ns = x->when_ns;
		(void)snprintf(row->state, sizeof(row->state), "failed: %s", x->text);
	}
	*ret_n = n;
	return rows;
}

static int op_fills(struct blob_source *src,
		    int (*fn)(void *arg, const char *ref, uint64_t size, uint64_t total,
			      int64_t started_ns, const char *state),
		    void *arg)
{
	struct fill *f = fill_of(src);
	cleanup_free struct row *rows = NULL;
	size_t n = 0;
	int r = 0;

	fill_lock(f);
	rows = rows_locked(f, &n);
	fill_unlock(f);
	if (rows == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n && r == 0; i++)
		r = fn(arg, rows[i].ref, rows[i].here, rows[i].size, rows[i].since_ns,
		       rows[i].state);
	return r;
}

static const struct blob_source_ops source_ops = {
	.describe = op_describe,
	.lookup = op_lookup,
	.ensure = op_ensure,
	.cancel = op_cancel,
	.committed = op_committed,
	.known = op_known,
	.fills = op_fills,
	.listen = op_listen,
};

/* Ends waits whose deadline has come. */
static void expire_locked(struct fill *f, uint64_t now_ms, struct todo *t)
{
	uint64_t until = UINT64_MAX;
	size_t pos = 0;
	void *p;

	while ((p = map_next(&f->fills, &pos)) != NULL)
		fill_one_tick_locked(p, now_ms, &until, t);
	for (pos = 0; (p = map_next(&f->lookups, &pos)) != NULL;)
		lookup_tick_locked(p, now_ms, &until, t);
	f->keeper_until_ms = until;
}

static void sleep_until_locked(struct fill *f)
{
	struct timespec at = {.tv_sec = (time_t)(f->keeper_until_ms / 1000),
			      .tv_nsec = (long)(f->keeper_until_ms % 1000) * 1000000};

	if (f->keeper_until_ms == UINT64_MAX)
		(void)pthread_cond_wait(&f->wake, &f->lock);
	else
		(void)pthread_cond_timedwait(&f->wake, &f->lock, &at);
}

/* The keeper: one thread for all that happens because time passes. */
static void *keep(void *arg)
{
	struct fill *f = arg;

	fill_lock(f);
	while (!f->stopping) {
		struct todo t;

		todo_init(&t);
		expire_locked(f, clock_mono_ms(), &t);
		if (list_empty(&t.finished) && list_empty(&t.jobs) && list_empty(&t.cancels) &&
		    list_empty(&t.starts)) {
			sleep_until_locked(f);
			continue;
		}
		todo_unlock_and_run(f, &t);
		fill_lock(f);
	}
	fill_unlock(f);
	return NULL;
}

static int start_keeper(struct fill *f)
{
	sigset_t all, old;
	int r;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&f->keeper, NULL, keep, f);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	f->has_keeper = r == 0;
	return -r;
}

static void init_locks(struct fill *f)
{
	pthread_condattr_t attr;

	(void)pthread_mutex_init(&f->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&f->wake, &attr);
	(void)pthread_cond_init(&f->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
}

int fill_new(const struct fill_config *c, struct fill **ret, struct err *err)
{
	cleanup(fill_freep) struct fill *f = calloc(1, sizeof(*f));
	int r;

	if (f == NULL)
		return err_set(err, ENOMEM, "out of memory");
	init_locks(f);
	f->source.ops = &source_ops;
	f->source.whole_first = c->verify == FILL_VERIFY_STRICT;
	f->config = *c;
	if (f->config.lookup_ms == 0)
		f->config.lookup_ms = DEFAULT_LOOKUP_MS;
	if (f->config.connections == 0)
		f->config.connections = DEFAULT_CONNECTIONS;
	list_init(&f->failures);
	list_init(&f->readers);
	map_init(&f->fills);
	map_init(&f->lookups);
	f->has_scanned = true;
	f->keeper_until_ms = UINT64_MAX;
	r = known_new(&f->known);
	if (r == 0)
		r = workqueue_new(WORK_THREADS, &f->work);
	if (r == 0)
		r = start_keeper(f);
	if (r < 0)
		return err_errno(err, -r, "prepare fetching");
	describe_start(f);
	*ret = steal_ptr(f);
	return 0;
}

int fill_add_source(struct fill *f, const char *name, struct err *err)
{
	struct source *s;
	int r = 0;

	fill_lock(f);
	if (f->n_defaults == FILL_SOURCES_MAX) {
		r = err_set(err, E2BIG, "more than %d sources", FILL_SOURCES_MAX);
	} else {
		struct err why = {.code = EINVAL};

		s = source_find_locked(f, name, &why);
		if (s != NULL)
			f->defaults[f->n_defaults++] = s;
		else
			r = -why.code;
		if (s == NULL && err != NULL)
			*err = why;
	}
	fill_unlock(f);
	describe_start(f);
	return r;
}

struct blob_source *fill_source(struct fill *f)
{
	return &f->source;
}

void fill_stop(struct fill *f)
{
	struct todo t;
	size_t pos = 0;
	void *p;

	todo_init(&t);
	fill_lock(f);
	f->stopping = true;
	(void)pthread_cond_broadcast(&f->wake);
	(void)pthread_cond_broadcast(&f->changed);
	while ((p = map_next(&f->fills, &pos)) != NULL)
		fill_one_stop_locked(p, &t);
	for (pos = 0; (p = map_next(&f->lookups, &pos)) != NULL;)
		lookup_tick_locked(p, UINT64_MAX, &f->keeper_until_ms, &t);
	todo_unlock_and_run(f, &t);
	fill_lock(f);
	while (f->n_busy > 0)
		(void)pthread_cond_wait(&f->changed, &f->lock);
	fill_unlock(f);
}

struct fill *fill_free(struct fill *f)
{
	size_t pos = 0;
	void *p;

	if (f == NULL)
		return NULL;
	fill_stop(f);
	if (f->has_keeper)
		(void)pthread_join(f->keeper, NULL);
	f->work = workqueue_free(f->work);
	assert(f->fills.n_used == 0);
	while ((p = map_next(&f->lookups, &pos)) != NULL)
		lookup_free_locked(p);
	map_done(&f->lookups);
	map_done(&f->fills);
	list_for_each_safe (n, &f->failures)
		free(list_entry(n, struct failure, node));
	while (f->all_sources != NULL) {
		struct source *next = f->all_sources->next;

		free(f->all_sources);
		f->all_sources = next;
	}
	f->known = known_free(f->known);
	(void)pthread_cond_destroy(&f->wake);
	(void)pthread_cond_destroy(&f->changed);
	(void)pthread_mutex_destroy(&f->lock);
	free(f);
	return NULL;
}

void fill_progress(struct fill *f, const struct digest *d, uint64_t *ret_here, uint64_t *ret_size)
{
	const struct fill_one *o;
	int64_t since;
	char state[64];

	fill_lock(f);
	o = map_get(&f->fills, d, sizeof(*d));
	if (o != NULL)
		fill_one_show_locked(o, ret_here, ret_size, &since, state, sizeof(state));
	fill_unlock(f);
}

void fill_stats(struct fill *f, struct fill_stats *ret)
{
	fill_lock(f);
	*ret = f->stats;
	ret->active = (unsigned int)f->fills.n_used;
	fill_unlock(f);
}
