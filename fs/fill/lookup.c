/* Asking the sources whether they have a digest that nobody has described. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "fill/private.h"
#include "store/label.h"

/* How long a no is believed: a push may follow, a registry may come back. */
#define ABSENT_MS 5000
#define FAILED_MS 1000
#define ANSWERS_MAX 4096

struct lookup {
	struct fill *engine;
	struct digest digest;
	struct digest_text object;
	/* protected by the engine's lock, all below */
	struct list waiters;
	struct list probes;
	unsigned int n_probes; /* whose done() has not been called */
	bool answered;	       /* with what follows */
	bool found;
	int result;
	struct err err;
	uint64_t forget_at_ms;
};

/* One source is asked. */
struct probe {
	struct ask ask;
	struct list node;
	struct lookup *lookup;
	struct source *source;
};

static void release_probe(struct ask *a)
{
	free(list_entry(a, struct probe, ask));
}

void lookup_free_locked(struct lookup *l)
{
	free(l);
}

static void cancel_probes_locked(struct lookup *l, struct todo *t)
{
	list_for_each (n, &l->probes)
		todo_cancel_locked(t, &list_entry(n, struct probe, node)->ask);
}

static void answer_locked(struct lookup *l, struct waiter *w, struct todo *t)
{
	struct fill *f = l->engine;
	const struct known_blob *b = known_get(f->known, &l->digest);

	if (l->found && b != NULL) {
		w->wait->info = (struct blob_info){.size = b->size, .local = b->local};
		(void)snprintf(w->wait->info.mediatype, sizeof(w->wait->info.mediatype), "%s",
			       known_mediatype(f->known, b));
		(void)snprintf(w->wait->info.source, sizeof(w->wait->info.source), "%s",
			       known_source(f->known, b));
		waiter_finish_locked(w, 0, -1, NULL, t);
	} else {
		waiter_finish_locked(w, l->result, -1, &l->err, t);
	}
}

static void settle_locked(struct lookup *l, struct todo *t)
{
	l->answered = true;
	l->forget_at_ms = clock_mono_ms() + (l->result == -ENOENT ? ABSENT_MS : FAILED_MS);
	while (!list_empty(&l->waiters))
		answer_locked(l, list_entry(l->waiters.next, struct waiter, node), t);
}

static void forget_locked(struct lookup *l)
{
	map_del(&l->engine->lookups, &l->digest, sizeof(l->digest));
	free(l);
}

static void found_locked(struct lookup *l, const struct probe *p, const struct registry_object *o,
			 struct todo *t)
{
	struct fill *f = l->engine;

	/* A size is what makes a file of it; without one there is nothing to show. */
	if (!o->has_size || l->found)
		return;
	if (known_learn(f->known, &l->digest, o->size, o->mediatype, p->source->name) < 0)
		return;
	l->found = true;
	l->result = 0;
	cancel_probes_locked(l, t);
	settle_locked(l, t);
}

static void keep_error_locked(struct lookup *l, int r, const struct err *err)
{
	/* An absence says least: another source may have failed to tell. */
	if (r == -ECANCELED || (l->result != 0 && l->result != -ENOENT))
		return;
	l->result = r;
	if (err != NULL)
		l->err = *err;
	else
		(void)err_errno(&l->err, -r, "look up %s", l->object.s);
}

static void probe_done(struct registry_request *q, int r, const struct registry_object *o,
		       const struct err *err)
{
	struct probe *p = list_entry(q, struct probe, ask.q);
	struct lookup *l = p->lookup;
	struct fill *f = l->engine;
	struct todo t;

	todo_init(&t);
	fill_lock(f);
	list_del(&p->node);
	l->n_probes--;
	if (r == 0 && o != NULL && o->has_size)
		found_locked(l, p, o, &t);
	else if (r == 0)
		keep_error_locked(l, -EPROTO, NULL);
	else if (!l->found)
		keep_error_locked(l, r, err);
	ask_unref_locked(&p->ask);
	if (l->n_probes == 0) {
		if (!l->answered) {
			if (l->result == 0)
				keep_error_locked(l, -EINTR, NULL);
			settle_locked(l, &t);
		}
		if (l->found || f->stopping)
			forget_locked(l);
		busy_less_locked(f);
	}
	todo_unlock_and_run(f, &t);
}

static int start_probe_locked(struct lookup *l, struct source *s, uint64_t deadline_ms,
			      struct todo *t)
{
	struct probe *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return -ENOMEM;
	ask_init(&p->ask, release_probe);
	p->lookup = l;
	p->source = s;
	p->ask.q = (struct registry_request){
		.op = REGISTRY_STAT,
		.host = s->ref.host,
		.repository = s->ref.repository,
		.object = l->object.s,
		.deadline_ms = deadline_ms,
		.done = probe_done,
	};
	list_add_tail(&l->probes, &p->node);
	l->n_probes++;
	todo_start_locked(t, &p->ask);
	return 0;
}

/* Old answers go, and when there are too many all of them. */
static void prune_locked(struct fill *f, uint64_t now_ms)
{
	bool all = f->lookups.n_used >= ANSWERS_MAX;
	size_t pos = 0;
	struct lookup *l;

	if (f->lookups.n_used < 64)
		return;
	while ((l = map_next(&f->lookups, &pos)) != NULL) {
		if (l->n_probes > 0 || (!all && l->forget_at_ms > now_ms))
			continue;
		forget_locked(l);
		pos = 0; /* the map has changed */
	}
}

static struct lookup *new_locked(struct fill *f, const struct digest *d)
{
	struct lookup *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->engine = f;
	l->digest = *d;
	l->object = digest_text(d);
	list_init(&l->waiters);
	list_init(&l->probes);
	if (map_put(&f->lookups, &l->digest, sizeof(l->digest), l) < 0) {
		free(l);
		return NULL;
	}
	return l;
}

static int start_locked(struct lookup *l, struct todo *t)
{
	struct fill *f = l->engine;
	uint64_t deadline = clock_mono_ms() + f->config.lookup_ms;
	int r = 0;

	for (size_t i = 0; i < f->n_defaults && r == 0; i++)
		r = start_probe_locked(l, f->defaults[i], deadline, t);
	if (l->n_probes > 0)
		f->n_busy++;
	return l->n_probes > 0 ? 0 : r;
}

void lookup_wait_locked(struct fill *f, const struct digest *d, struct waiter *w, struct todo *t)
{
	uint64_t now = clock_mono_ms();
	struct lookup *l = map_get(&f->lookups, d, sizeof(*d));
	int r;

	if (l != NULL && l->answered && l->n_probes == 0 && l->forget_at_ms <= now) {
		forget_locked(l);
		l = NULL;
	}
	if (l != NULL && l->answered) {
		answer_locked(l, w, t);
		return;
	}
	if (f->n_defaults == 0) {
		struct err err;

		(void)err_set(&err, ENOENT, "no source is known for %s", digest_text(d).s);
		waiter_finish_locked(w, -ENOENT, -1, &err, t);
		return;
	}
	if (l == NULL) {
		prune_locked(f, now);
		l = new_locked(f, d);
		r = l == NULL ? -ENOMEM : start_locked(l, t);
		if (r < 0) {
			if (l != NULL)
				forget_locked(l);
			waiter_finish_locked(w, r, -1, NULL, t);
			return;
		}
	}
	w->lookup = l;
	list_add_tail(&l->waiters, &w->node);
}

/* now_ms UINT64_MAX: the engine stops. */
void lookup_tick_locked(struct lookup *l, uint64_t now_ms, uint64_t *until_ms, struct todo *t)
{
	if (now_ms == UINT64_MAX) {
		cancel_probes_locked(l, t);
		while (!list_empty(&l->waiters))
			waiter_finish_locked(list_entry(l->waiters.next, struct waiter, node),
					     -EINTR, -1, NULL, t);
		return;
	}
	list_for_each_safe (n, &l->waiters) {
		struct waiter *w = list_entry(n, struct waiter, node);

		if (w->deadline_ms > now_ms) {
			if (w->deadline_ms < *until_ms)
				*until_ms = w->deadline_ms;
			continue;
		}
		{
			struct err err;
			int r = err_set(&err, ETIMEDOUT, "no source has answered in time about %s",
					l->object.s);

			waiter_finish_locked(w, r, -1, &err, t);
		}
	}
}
