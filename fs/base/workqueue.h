/*
 * Threads that run jobs: started when a job finds no idle one, at most max_threads, ended
 * after some seconds without work.
 *
 *   workqueue_new -> workqueue_add ... -> workqueue_free (runs what is queued, joins all)
 *
 * Jobs start in the order in which they were added; they may add jobs. Signals are blocked in
 * the threads. Threads: workqueue_add() from any; _free() from one that is no worker.
 * Locks: a leaf lock of its own, never held while a job runs.
 */
#ifndef BASE_WORKQUEUE_H
#define BASE_WORKQUEUE_H

#include "base/list.h"

struct workqueue;

/* Embedded by the owner, who keeps it alive until run() has been called. */
struct work {
	struct list node;
	void (*run)(struct work *w);
};

int workqueue_new(unsigned int max_threads, struct workqueue **ret);

/*
 * Queue w. Without memory or threads to spare the job waits for a running worker; if there is
 * none at all it is run by the caller, so a job added is always run.
 */
void workqueue_add(struct workqueue *q, struct work *w);

/* NULL is accepted; returns NULL. */
struct workqueue *workqueue_free(struct workqueue *q);

#endif
