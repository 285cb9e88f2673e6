#include "base/workqueue.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#define IDLE_SECONDS 5
#define STACK_BYTES (256 * 1024)

struct workqueue {
	pthread_mutex_t lock;
	pthread_cond_t work; /* signalled for: a job, or stop */
	pthread_cond_t gone; /* signalled when n_threads drops */
	struct list jobs;    /* of struct work; protected by lock, like all below */
	unsigned int max_threads;
	unsigned int n_threads;
	unsigned int n_idle; /* threads waiting for work */
	unsigned int n_queued;
	bool stop;
	bool has_ended;
	pthread_t ended; /* the last thread that ended; it joins the one before it */
};

int workqueue_new(unsigned int max_threads, struct workqueue **ret)
{
	struct workqueue *q = calloc(1, sizeof(*q));
	pthread_condattr_t attr;

	if (q == NULL)
		return -ENOMEM;
	(void)pthread_mutex_init(&q->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&q->work, &attr);
	(void)pthread_cond_init(&q->gone, &attr);
	(void)pthread_condattr_destroy(&attr);
	list_init(&q->jobs);
	q->max_threads = max_threads;
	*ret = q;
	return 0;
}

/* Wait for a job, at most IDLE_SECONDS; NULL: this thread is to end. */
static struct work *next_job_locked(struct workqueue *q)
{
	struct timespec until;
	struct list *n;
	int r = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_SECONDS;
	while (list_empty(&q->jobs) && !q->stop && r != ETIMEDOUT) {
		q->n_idle++;
		r = pthread_cond_timedwait(&q->work, &q->lock, &until);
		q->n_idle--;
	}
	if (list_empty(&q->jobs))
		return NULL;
	n = q->jobs.next;
	list_del(n);
	q->n_queued--;
	return list_entry(n, struct work, node);
}

/*
 * Threads are joined, not detached: what libraries keep for each thread is freed as it ends, and
 * the process must not exit before that. Each joins its predecessor, workqueue_free() the last.
 */
static void *worker(void *arg)
{
	struct workqueue *q = arg;
	struct work *w;
	pthread_t before;
	bool has_before;

	(void)pthread_mutex_lock(&q->lock);
	while ((w = next_job_locked(q)) != NULL) {
		(void)pthread_mutex_unlock(&q->lock);
		w->run(w);
		(void)pthread_mutex_lock(&q->lock);
	}
	before = q->ended;
	has_before = q->has_ended;
	q->ended = pthread_self();
	q->has_ended = true;
	q->n_threads--;
	(void)pthread_cond_broadcast(&q->gone);
	(void)pthread_mutex_unlock(&q->lock);
	if (has_before)
		(void)pthread_join(before, NULL);
	return NULL;
}

static bool start_thread(struct workqueue *q)
{
	sigset_t all, old;
	pthread_attr_t attr;
	pthread_t t;
	int r;

	(void)sigfillset(&all);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, STACK_BYTES);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&t, &attr, worker, q);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	(void)pthread_attr_destroy(&attr);
	return r == 0;
}

void workqueue_add(struct workqueue *q, struct work *w)
{
	bool start;

	(void)pthread_mutex_lock(&q->lock);
	list_add_tail(&q->jobs, &w->node);
	q->n_queued++;
	start = q->n_queued > q->n_idle && q->n_threads < q->max_threads;
	if (start)
		q->n_threads++; /* before it runs, so that workqueue_free() waits for it */
	else
		(void)pthread_cond_signal(&q->work);
	(void)pthread_mutex_unlock(&q->lock);
	if (!start || start_thread(q))
		return;

	(void)pthread_mutex_lock(&q->lock);
	q->n_threads--;
	(void)pthread_cond_broadcast(&q->gone);
	if (q->n_threads == 0 && !list_empty(&w->node)) {
		list_del(&w->node);
		q->n_queued--;
	} else {
		w = NULL;
	}
	(void)pthread_mutex_unlock(&q->lock);
	if (w != NULL)
		w->run(w);
}

struct workqueue *workqueue_free(struct workqueue *q)
{
	if (q == NULL)
		return NULL;
	(void)pthread_mutex_lock(&q->lock);
	q->stop = true;
	(void)pthread_cond_broadcast(&q->work);
	while (q->n_threads > 0)
		(void)pthread_cond_wait(&q->gone, &q->lock);
	(void)pthread_mutex_unlock(&q->lock);
	if (q->has_ended)
		(void)pthread_join(q->ended, NULL);
	(void)pthread_cond_destroy(&q->work);
	(void)pthread_cond_destroy(&q->gone);
	(void)pthread_mutex_destroy(&q->lock);
	free(q);
	return NULL;
}
