/* What is found under the lock and done outside of it. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "fill/private.h"

void fill_lock(struct fill *f)
{
	(void)pthread_mutex_lock(&f->lock);
}

void fill_unlock(struct fill *f)
{
	(void)pthread_mutex_unlock(&f->lock);
}

void busy_less_locked(struct fill *f)
{
	if (--f->n_busy == 0)
		(void)pthread_cond_broadcast(&f->changed);
}

void todo_init(struct todo *t)
{
	list_init(&t->finished);
	list_init(&t->starts);
	list_init(&t->cancels);
	list_init(&t->jobs);
}

void ask_init(struct ask *a, void (*release)(struct ask *a))
{
	list_init(&a->start_node);
	list_init(&a->cancel_node);
	a->refs = 1; /* done()'s */
	a->release = release;
}

void ask_unref_locked(struct ask *a)
{
	if (--a->refs == 0)
		a->release(a);
}

void todo_start_locked(struct todo *t, struct ask *a)
{
	a->refs++;
	list_add_tail(&t->starts, &a->start_node);
}

/* One that is being started meanwhile is cancelled by its starter. */
void todo_cancel_locked(struct todo *t, struct ask *a)
{
	if (a->cancelled)
		return;
	a->cancelled = true;
	if (!a->started)
		return;
	a->refs++;
	list_add_tail(&t->cancels, &a->cancel_node);
}

void waiter_finish_locked(struct waiter *w, int r, int fd, const struct err *err, struct todo *t)
{
	list_del(&w->node);
	w->wait->source_private = NULL;
	w->wait->fd = fd;
	w->result = r;
	if (err != NULL)
		w->err = *err;
	else
		w->err.msg[0] = '\0';
	list_add_tail(&t->finished, &w->node);
}

static void run_start(struct fill *f, struct ask *a)
{
	bool again;

	registry_start(f->config.registry, &a->q);
	fill_lock(f);
	a->started = true;
	again = a->cancelled;
	fill_unlock(f);
	if (again)
		registry_cancel(f->config.registry, &a->q);
	fill_lock(f);
	ask_unref_locked(a);
	fill_unlock(f);
}

static void run(struct fill *f, struct todo *t)
{
	/* Readers first: they have waited longest. */
	list_for_each_safe (n, &t->finished) {
		struct waiter *w = list_entry(n, struct waiter, node);

		list_del(n);
		w->wait->done(w->wait, w->result, w->err.msg[0] != '\0' ? &w->err : NULL);
		free(w);
	}
	list_for_each_safe (n, &t->cancels) {
		struct ask *a = list_entry(n, struct ask, cancel_node);

		list_del(n);
		registry_cancel(f->config.registry, &a->q);
		fill_lock(f);
		ask_unref_locked(a);
		fill_unlock(f);
	}
	list_for_each_safe (n, &t->starts) {
		struct ask *a = list_entry(n, struct ask, start_node);

		list_del(n);
		run_start(f, a);
	}
	list_for_each_safe (n, &t->jobs) {
		list_del(n);
		fill_one_work(fill_one_of_todo(n));
	}
}

void todo_unlock_and_run(struct fill *f, struct todo *t)
{
	f->n_busy++; /* fill_stop() waits until we have left f alone */
	fill_unlock(f);
	run(f, t);
	fill_lock(f);
	busy_less_locked(f);
	fill_unlock(f);
}
