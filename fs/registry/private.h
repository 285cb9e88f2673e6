/*
 * The client as its own files see it. One network thread owns the multi handle, the hosts, the
 * tokens and every request under way; other threads reach it through three lists under one lock.
 *
 *   any thread: registry_start, _cancel, _resume, client_post -> lists, wake
 *   network thread: lists -> request_begin ... exchange (libcurl) ... request_ended -> done()
 */
#ifndef REGISTRY_PRIVATE_H
#define REGISTRY_PRIVATE_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "registry/client.h"
#include "registry/hosts.h"

struct auth;
struct credentials;
struct workqueue;

/* Something to be done on the network thread. */
struct post {
	struct list node;
	void (*run)(struct post *p);
};

/* Called at due_ms or soon after, on the network thread; due_ms 0: not set. */
struct timer {
	struct list node;
	uint64_t due_ms;
	void (*fired)(struct timer *t);
};

struct registry {
	/* set once by registry_new() */
	uint64_t connect_ms, stall_ms, deadline_ms;
	unsigned int max_attempts;
	bool debug;
	char *named_credentials; /* "USER:PASSWORD", or NULL */
	char *http_proxy;	 /* $HTTP_PROXY where libcurl would not look at it, or NULL */
	struct credentials *credentials;
	struct workqueue *workers; /* for what may take long: helpers, name look-ups of ours */
	long max_connections;

	pthread_mutex_t start_lock; /* taken before lock */
	CURLM *multi;		    /* these three: from the first request on, by start_lock */
	pthread_t thread;
	bool started;

	/* the network thread's own */
	struct hosts *hosts;
	struct auth *auth;
	struct list requests; /* of struct request, begun */
	struct list timers;   /* of struct timer, set ones */
	uint64_t next_due_ms;
	uint64_t random; /* state of client_jitter() */

	pthread_mutex_t lock; /* a leaf: nothing is called under it */
	struct list incoming; /* of struct request, not begun; protected by lock, like all below */
	struct list touched;  /* of struct request: cancelled or resumed */
	struct list posts;    /* of struct post */
	bool stop;

	struct registry_stats stats; /* by __atomic */
};

/*
 * Any thread, before the first client_post(): have the network thread run. It begins with the first
 * who asks: a mount whose blobs are all here does without it and without libcurl's memory.
 * Returns 0, -ENOMEM or from pthread_create(3).
 */
int client_begin(struct registry *r);

/* Any thread: run p->run(p) soon, on the network thread. */
void client_post(struct registry *r, struct post *p);

/* Network thread. Setting a timer again moves it; clearing one that is not set is harmless. */
void timer_set(struct registry *r, struct timer *t, uint64_t due_ms);
void timer_clear(struct timer *t);

/* About ms: between half and one and a half of it. */
uint64_t client_jitter(struct registry *r, uint64_t ms);

#define STAT_ADD(r, field, n) ((void)__atomic_add_fetch(&(r)->stats.field, (n), __ATOMIC_RELAXED))

#endif
