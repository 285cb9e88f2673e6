#include "registry/client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/workqueue.h"
#include "registry/auth.h"
#include "registry/credentials.h"
#include "registry/exchange.h"
#include "registry/request.h"

#define DEFAULT_HOSTS_DIR "/etc/containerd/certs.d:/etc/docker/certs.d"
#define DEFAULT_MS 10000
#define DEFAULT_DEADLINE_MS 300000
#define DEFAULT_CONNECTIONS 16
#define DEFAULT_ATTEMPTS 6
#define MAX_WORKERS 4
#define MAX_POLL_MS 60000

/* -- timers, and what comes from other threads ----------------------------------------------- */

void timer_set(struct registry *r, struct timer *t, uint64_t due_ms)
{
	list_del(&t->node);
	t->due_ms = due_ms;
	list_add_tail(&r->timers, &t->node);
	if (due_ms < r->next_due_ms)
		r->next_due_ms = due_ms;
}

void timer_clear(struct timer *t)
{
	list_del(&t->node);
}

/* The first that is due; NULL: none, and next_due_ms is right again. */
static struct timer *take_due(struct registry *r, uint64_t now_ms)
{
	r->next_due_ms = UINT64_MAX;
	list_for_each (n, &r->timers) {
		struct timer *t = list_entry(n, struct timer, node);

		if (t->due_ms <= now_ms) {
			list_del(&t->node);
			r->next_due_ms = 0;
			return t;
		}
		if (t->due_ms < r->next_due_ms)
			r->next_due_ms = t->due_ms;
	}
	return NULL;
}

static void run_timers(struct registry *r)
{
	uint64_t now_ms = clock_mono_ms();
	struct timer *t;

	if (now_ms < r->next_due_ms)
		return;
	while ((t = take_due(r, now_ms)) != NULL)
		t->fired(t);
}

/* xorshift64*, from a seed of the kernel's: for pauses, not for secrets */
uint64_t client_jitter(struct registry *r, uint64_t ms)
{
	r->random ^= r->random >> 12;
	r->random ^= r->random << 25;
	r->random ^= r->random >> 27;
	return ms / 2 + (ms > 0 ? (r->random * 0x2545f4914f6cdd1d >> 32) % ms : 0);
}

static void wake(struct registry *r)
{
	(void)curl_multi_wakeup(r->multi);
}

void client_post(struct registry *r, struct post *p)
{
	(void)pthread_mutex_lock(&r->lock);
	list_add_tail(&r->posts, &p->node);
	(void)pthread_mutex_unlock(&r->lock);
	wake(r);
}

/* The first of a list that other threads add to, taken out; NULL: it is empty. */
static struct list *take_first(struct registry *r, struct list *head)
{
	struct list *n = NULL;

	(void)pthread_mutex_lock(&r->lock);
	if (!list_empty(head)) {
		n = head->next;
		list_del(n);
	}
	(void)pthread_mutex_unlock(&r->lock);
	return n;
}

static void touch(struct registry *r, struct request *rq)
{
	bool cancelled, resumed;

	(void)pthread_mutex_lock(&r->lock);
	cancelled = rq->cancelled;
	resumed = rq->resumed;
	rq->resumed = false;
	(void)pthread_mutex_unlock(&r->lock);
	if (cancelled)
		request_cancel(rq);
	else if (resumed)
		request_resume(rq);
}

/* Returns false once the client is to end. */
static bool take_news(struct registry *r)
{
	struct list *n;
	bool stop;

	(void)pthread_mutex_lock(&r->lock);
	stop = r->stop;
	(void)pthread_mutex_unlock(&r->lock);
	while (!stop && (n = take_first(r, &r->incoming)) != NULL) {
		list_add_tail(&r->requests, n);
		request_begin(list_entry(n, struct request, node));
	}
	while (!stop && (n = take_first(r, &r->touched)) != NULL)
		touch(r, list_entry(n, struct request, touched));
	while (!stop && (n = take_first(r, &r->posts)) != NULL)
		list_entry(n, struct post, node)->run(list_entry(n, struct post, node));
	return !stop;
}

static void read_messages(struct registry *r)
{
	CURLMsg *m;
	int n;

	while ((m = curl_multi_info_read(r->multi, &n)) != NULL) {
		struct exchange *x = NULL;
		CURLcode code = m->data.result;

		if (m->msg != CURLMSG_DONE)
			continue;
		(void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&x);
		exchange_finished(x, code);
	}
}

static int poll_ms(const struct registry *r)
{
	uint64_t now_ms = clock_mono_ms();

	if (r->next_due_ms <= now_ms)
		return 0;
	return r->next_due_ms - now_ms < MAX_POLL_MS ? (int)(r->next_due_ms - now_ms) : MAX_POLL_MS;
}

static void *network(void *arg)
{
	struct registry *r = arg;
	struct list *n;
	int running;

	while (take_news(r)) {
		(void)curl_multi_perform(r->multi, &running);
		read_messages(r);
		run_timers(r);
		(void)curl_multi_poll(r->multi, NULL, 0, poll_ms(r), NULL);
	}
	/* Callbacks may start requests still: until there are none. */
	for (;;) {
		if (!list_empty(&r->requests))
			request_cancel(list_entry(r->requests.next, struct request, node));
		else if ((n = take_first(r, &r->incoming)) != NULL)
			request_cancel(list_entry(n, struct request, node));
		else
			break;
	}
	return NULL;
}

/* -- the client ------------------------------------------------------------------------------ */

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;

static void init_curl(void)
{
	(void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

static char *copy_env(const char *name)
{
	const char *s = getenv(name); /* NOLINT(concurrency-mt-unsafe): before threads */

	return s != NULL && *s != '\0' ? strdup(s) : NULL;
}

/* libcurl reads $http_proxy alone: $HTTP_PROXY is what a CGI server sets for a header "Proxy". */
static void find_proxy(struct registry *r)
{
	cleanup_free char *lower = copy_env("http_proxy"), *cgi = copy_env("REQUEST_METHOD");

	if (lower == NULL && cgi == NULL)
		r->http_proxy = copy_env("HTTP_PROXY");
}

static int start_thread(struct registry *r)
{
	sigset_t all, old;
	int e;

	(void)pthread_once(&curl_once, init_curl);
	if (r->multi == NULL)
		r->multi = curl_multi_init();
	if (r->multi == NULL)
		return -ENOMEM;
	(void)curl_multi_setopt(r->multi, CURLMOPT_MAX_HOST_CONNECTIONS, r->max_connections);
	/* Streams of one HTTP/2 connection share its window, and what a network gives to one. */
	(void)curl_multi_setopt(r->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	e = pthread_create(&r->thread, NULL, network, r);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -e;
}

int client_begin(struct registry *r)
{
	int k = 0;

	(void)pthread_mutex_lock(&r->start_lock);
	if (!r->started) {
		k = start_thread(r);
		r->started = k == 0;
	}
	(void)pthread_mutex_unlock(&r->start_lock);
	return k;
}

/* What is left when no thread runs (any more). */
static void dispose(struct registry *r)
{
	(void)workqueue_free(r->workers);
	(void)auth_free(r->auth);
	if (r->multi != NULL)
		(void)curl_multi_cleanup(r->multi);
	(void)hosts_free(r->hosts);
	(void)credentials_free(r->credentials);
	(void)pthread_mutex_destroy(&r->start_lock);
	(void)pthread_mutex_destroy(&r->lock);
	free(r->named_credentials);
	free(r->http_proxy);
	free(r);
}

static uint64_t or_default(uint64_t v, uint64_t otherwise)
{
	return v > 0 ? v : otherwise;
}

static int configure(struct registry *r, const struct registry_config *c, struct err *err)
{
	const char *dirs = c->hosts_dir != NULL ? c->hosts_dir : DEFAULT_HOSTS_DIR;
	int k = credentials_new(c->auth_file, &r->credentials, err);

	if (k < 0)
		return k;
	r->connect_ms = or_default(c->connect_ms, DEFAULT_MS);
	r->stall_ms = or_default(c->stall_ms, DEFAULT_MS);
	r->deadline_ms = or_default(c->deadline_ms, DEFAULT_DEADLINE_MS);
	r->max_attempts = c->max_attempts > 0 ? c->max_attempts : DEFAULT_ATTEMPTS;
	r->debug = c->debug;
	find_proxy(r);
	if (getrandom(&r->random, sizeof(r->random), GRND_NONBLOCK) < 0 || r->random == 0)
		r->random = clock_mono_ns() | 1;
	if (c->credentials != NULL) {
		r->named_credentials = strdup(c->credentials);
		if (r->named_credentials == NULL)
			return err_set(err, ENOMEM, "out of memory");
	}
	r->max_connections = (long)or_default(c->max_connections, DEFAULT_CONNECTIONS);
	if (hosts_new(dirs, &r->hosts) < 0 || auth_new(r, &r->auth) < 0 ||
	    workqueue_new(MAX_WORKERS, &r->workers) < 0)
		return err_set(err, ENOMEM, "out of memory");
	return 0;
}

int registry_new(const struct registry_config *c, struct registry **ret, struct err *err)
{
	struct registry *r = calloc(1, sizeof(*r));
	int k;

	if (r == NULL)
		return err_set(err, ENOMEM, "out of memory");
	(void)pthread_mutex_init(&r->lock, NULL);
	(void)pthread_mutex_init(&r->start_lock, NULL);
	list_init(&r->incoming);
	list_init(&r->touched);
	list_init(&r->posts);
	list_init(&r->requests);
	list_init(&r->timers);
	r->next_due_ms = UINT64_MAX;
	k = configure(r, c, err);
	if (k < 0) {
		dispose(r);
		return k;
	}
	*ret = r;
	return 0;
}

struct registry *registry_free(struct registry *r)
{
	if (r == NULL)
		return NULL;
	credentials_stop(r->credentials);
	(void)pthread_mutex_lock(&r->lock);
	r->stop = true;
	(void)pthread_mutex_unlock(&r->lock);
	if (r->started) {
		wake(r);
		(void)pthread_join(r->thread, NULL);
	}
	dispose(r);
	return NULL;
}

void registry_start(struct registry *r, struct registry_request *q)
{
	int k = client_begin(r);
	struct request *rq = k == 0 ? request_new(r, q) : NULL;

	STAT_ADD(r, requests, 1);
	if (rq == NULL) {
		struct err err = {0};

		q->impl = NULL;
		k = k < 0 ? k : -ENOMEM;
		(void)err_errno(&err, -k, "start a request");
		q->done(q, k, NULL, &err);
		return;
	}
	STAT_ADD(r, active, 1);
	(void)pthread_mutex_lock(&r->lock);
	q->impl = rq;
	list_add_tail(&r->incoming, &rq->node);
	(void)pthread_mutex_unlock(&r->lock);
	wake(r);
}

static void touch_later(struct registry *r, struct registry_request *q, bool cancel)
{
	struct request *rq;

	(void)pthread_mutex_lock(&r->lock);
	rq = q->impl;
	if (rq != NULL) {
		if (cancel)
			rq->cancelled = true;
		else
			rq->resumed = true;
		list_del(&rq->touched);
		list_add_tail(&r->touched, &rq->touched);
	}
	(void)pthread_mutex_unlock(&r->lock);
	if (rq != NULL)
		wake(r);
}

void registry_cancel(struct registry *r, struct registry_request *q)
{
	touch_later(r, q, /* cancel= */ true);
}

void registry_resume(struct registry *r, struct registry_request *q)
{
	touch_later(r, q, /* cancel= */ false);
}

void registry_stats(struct registry *r, struct registry_stats *ret)
{
	ret->requests = __atomic_load_n(&r->stats.requests, __ATOMIC_RELAXED);
	ret->http_requests = __atomic_load_n(&r->stats.http_requests, __ATOMIC_RELAXED);
	ret->retries = __atomic_load_n(&r->stats.retries, __ATOMIC_RELAXED);
	ret->failovers = __atomic_load_n(&r->stats.failovers, __ATOMIC_RELAXED);
	ret->tokens = __atomic_load_n(&r->stats.tokens, __ATOMIC_RELAXED);
	ret->bytes_in = __atomic_load_n(&r->stats.bytes_in, __ATOMIC_RELAXED);
	ret->active = __atomic_load_n(&r->stats.active, __ATOMIC_RELAXED);
}
