/*
 * registry/client.h in memory, for tests of what stands on it: linked instead of the real one.
 *
 *   struct registry *r; registry_new(&config, &r, NULL) -> fake_put(...) -> fake_fault(...)
 *
 * Hosts are named in requests; each may fail in its own way. One thread serves all requests in
 * turns, a piece at a time, so that they interleave as on a network. Counters tell what was asked.
 */
#ifndef TESTS_LIB_FAKE_REGISTRY_CLIENT_H
#define TESTS_LIB_FAKE_REGISTRY_CLIENT_H

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "registry/client.h"

#define FAKE_OBJECTS 16
#define FAKE_HOSTS 8
#define FAKE_NEVER UINT64_MAX

struct fake_fault {
	int fail;		 /* done() with it at once */
	uint64_t fail_at;	 /* done(-EIO) before the byte at that offset; FAKE_NEVER */
	unsigned int heal_after; /* so many times, then no more; 0: always */
	uint64_t wrong_at;	 /* the byte at that offset is another; FAKE_NEVER */
	bool stall;		 /* nothing comes */
	bool short_end;		 /* the last byte is missing, and done(0) says nothing of it */
	uint64_t stated_size;	 /* in head(); 0: the right one */
	unsigned int piece;	 /* bytes of a turn; 0: 16 KiB */
	unsigned int delay_us;	 /* after a turn */
};

struct fake_object {
	const char *repository;
	struct digest digest;
	const unsigned char *p;
	size_t n;
	const char *mediatype;
};

struct fake_host {
	char name[64];
	struct fake_fault fault;
};

struct registry {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool stop;
	struct list active; /* of registry_request.node; impl is a struct fake_turn */
	struct fake_object objects[FAKE_OBJECTS];
	size_t n_objects;
	struct fake_host hosts[FAKE_HOSTS];
	size_t n_hosts;
	uint64_t requests, stats, bytes; /* GETs, HEADs, bytes of bodies */
	uint64_t lowest;		 /* offset that was asked for since fake_reset() */
	uint64_t most_at_once;
};

struct fake_turn {
	uint64_t at, end;
	bool has_head, cancelled;
};

static struct fake_host *fake_host_locked(struct registry *r, const char *name)
{
	for (size_t i = 0; i < r->n_hosts; i++)
		if (strcmp(r->hosts[i].name, name) == 0)
			return &r->hosts[i];
	if (r->n_hosts == FAKE_HOSTS)
		abort();
	(void)snprintf(r->hosts[r->n_hosts].name, sizeof(r->hosts[0].name), "%s", name);
	r->hosts[r->n_hosts].fault =
		(struct fake_fault){.fail_at = FAKE_NEVER, .wrong_at = FAKE_NEVER};
	return &r->hosts[r->n_hosts++];
}

static inline void fake_fault(struct registry *r, const char *host, struct fake_fault fault)
{
	(void)pthread_mutex_lock(&r->lock);
	if (fault.fail_at == 0)
		fault.fail_at = FAKE_NEVER;
	if (fault.wrong_at == 0)
		fault.wrong_at = FAKE_NEVER;
	fake_host_locked(r, host)->fault = fault;
	(void)pthread_cond_signal(&r->wake);
	(void)pthread_mutex_unlock(&r->lock);
}

/* Bytes are borrowed; every host has them, in that repository. */
static inline struct digest fake_put(struct registry *r, const char *repository, const void *p,
				     size_t n, const char *mediatype)
{
	struct fake_object o = {.repository = repository, .p = p, .n = n, .mediatype = mediatype};

	(void)digest_of(p, n, &o.digest);
	(void)pthread_mutex_lock(&r->lock);
	if (r->n_objects == FAKE_OBJECTS)
		abort();
	r->objects[r->n_objects++] = o;
	(void)pthread_mutex_unlock(&r->lock);
	return o.digest;
}

static inline uint64_t fake_counter(struct registry *r, const uint64_t *counter)
{
	uint64_t n;

	(void)pthread_mutex_lock(&r->lock);
	n = *counter;
	(void)pthread_mutex_unlock(&r->lock);
	return n;
}

static inline void fake_reset(struct registry *r)
{
	(void)pthread_mutex_lock(&r->lock);
	r->requests = r->stats = r->bytes = 0;
	r->lowest = UINT64_MAX;
	(void)pthread_mutex_unlock(&r->lock);
}

static const struct fake_object *fake_find(const struct registry *r,
					   const struct registry_request *q)
{
	struct digest d;

	if (digest_parse(q->object, &d, NULL) < 0)
		return NULL;
	for (size_t i = 0; i < r->n_objects; i++)
		if (digest_equal(&d, &r->objects[i].digest) &&
		    strcmp(q->repository, r->objects[i].repository) == 0)
			return &r->objects[i];
	return NULL;
}

static bool fake_avoided(const struct registry_request *q)
{
	const char *at = q->avoid != NULL ? strstr(q->avoid, q->host) : NULL;
	size_t n = strlen(q->host);

	return at != NULL && (at[n] == ' ' || at[n] == '\0');
}

static void fake_end(struct registry *r, struct registry_request *q, int code,
		     const struct registry_object *o)
{
	struct err err;

	if (code < 0)
		(void)err_set(&err, -code, "%s: %s: told to fail", q->host, q->object);
	list_del(&q->node);
	free(q->impl);
	q->impl = NULL;
	(void)pthread_mutex_unlock(&r->lock);
	q->done(q, code, o, code < 0 ? &err : NULL);
	(void)pthread_mutex_lock(&r->lock);
}

/* One piece of q; the lock is released around callbacks. Returns microseconds to rest. */
static unsigned int fake_turn(struct registry *r, struct registry_request *q)
{
	struct fake_turn *turn = q->impl;
	const struct fake_object *o = fake_find(r, q);
	struct fake_fault x = fake_host_locked(r, q->host)->fault;
	struct registry_object told = {.has_digest = true, .has_size = true};
	unsigned char copy[65536];
	size_t n;
	int code = 0;

	if (turn->cancelled) {
		fake_end(r, q, -ECANCELED, NULL);
		return 0;
	}
	if (q->deadline_ms != 0 && clock_mono_ms() > q->deadline_ms) {
		fake_end(r, q, -ETIMEDOUT, NULL);
		return 0;
	}
	if (x.stall)
		return 1000;
	if (x.fail != 0 || o == NULL || fake_avoided(q)) {
		fake_end(r, q, x.fail != 0 ? x.fail : o == NULL ? -ENOENT : -EIO, NULL);
		return 0;
	}
	told.digest = o->digest;
	told.size = x.stated_size != 0 ? x.stated_size : o->n;
	(void)snprintf(told.host, sizeof(told.host), "%s", q->host);
	(void)snprintf(told.mediatype, sizeof(told.mediatype), "%s", o->mediatype);
	if (q->op == REGISTRY_STAT || q->op == REGISTRY_RESOLVE) {
		fake_end(r, q, 0, &told);
		return 0;
	}
	if (!turn->has_head) {
		turn->has_head = true;
		turn->at = q->offset;
		turn->end = q->length > 0 && q->length < o->n - q->offset ? q->offset + q->length
									  : o->n;
		if (q->offset < r->lowest)
			r->lowest = q->offset;
		(void)pthread_mutex_unlock(&r->lock);
		code = q->size != 0 && q->size != told.size ? -EPROTO
		       : q->head != NULL		    ? q->head(q, &told)
							    : 0;
		(void)pthread_mutex_lock(&r->lock);
	}
	n = (size_t)(turn->end - turn->at);
	if (n > (x.piece > 0 ? x.piece : 16384))
		n = x.piece > 0 ? x.piece : 16384;
	if (n > sizeof(copy))
		n = sizeof(copy);
	if (code == 0 && x.fail_at >= turn->at && x.fail_at < turn->at + n) {
		struct fake_fault *fault = &fake_host_locked(r, q->host)->fault;

		n = (size_t)(x.fail_at - turn->at);
		code = n == 0 ? -EIO : 0;
		if (n == 0 && fault->heal_after > 0 && --fault->heal_after == 0)
			fault->fail_at = FAKE_NEVER;
	}
	if (x.short_end && n > 0 && turn->at + n == o->n)
		n--;
	if (code == 0 && n > 0) {
		uint64_t at = turn->at;

		memcpy(copy, o->p + at, n);
		if (x.wrong_at >= at && x.wrong_at < at + n)
			copy[x.wrong_at - at] ^= 0x55;
		r->bytes += n;
		turn->at += n;
		(void)pthread_mutex_unlock(&r->lock);
		code = q->data(q, at, copy, n);
		(void)pthread_mutex_lock(&r->lock);
	}
	if (code != 0 || turn->at == turn->end || (x.short_end && turn->at + 1 == turn->end))
		fake_end(r, q, code, &told);
	return x.delay_us;
}

static void *fake_main(void *arg)
{
	struct registry *r = arg;

	(void)pthread_mutex_lock(&r->lock);
	for (;;) {
		struct registry_request *q;
		unsigned int rest;

		if (list_empty(&r->active)) {
			if (r->stop)
				break;
			(void)pthread_cond_wait(&r->wake, &r->lock);
			continue;
		}
		q = list_entry(r->active.next, struct registry_request, node);
		list_del(&q->node);
		list_add_tail(&r->active, &q->node);
		if (r->stop)
			((struct fake_turn *)q->impl)->cancelled = true;
		rest = fake_turn(r, q);
		if (rest > 0) {
			struct timespec t = {.tv_nsec = (long)rest * 1000};

			(void)pthread_mutex_unlock(&r->lock);
			(void)nanosleep(&t, NULL);
			(void)pthread_mutex_lock(&r->lock);
		}
	}
	(void)pthread_mutex_unlock(&r->lock);
	return NULL;
}

int registry_new(const struct registry_config *c, struct registry **ret, struct err *err)
{
	struct registry *r = calloc(1, sizeof(*r));

	(void)c;
	if (r == NULL)
		return err_set(err, ENOMEM, "out of memory");
	(void)pthread_mutex_init(&r->lock, NULL);
	(void)pthread_cond_init(&r->wake, NULL);
	list_init(&r->active);
	r->lowest = UINT64_MAX;
	if (pthread_create(&r->thread, NULL, fake_main, r) != 0)
		abort();
	*ret = r;
	return 0;
}

struct registry *registry_free(struct registry *r)
{
	if (r == NULL)
		return NULL;
	(void)pthread_mutex_lock(&r->lock);
	r->stop = true;
	(void)pthread_cond_signal(&r->wake);
	(void)pthread_mutex_unlock(&r->lock);
	(void)pthread_join(r->thread, NULL);
	(void)pthread_cond_destroy(&r->wake);
	(void)pthread_mutex_destroy(&r->lock);
	free(r);
	return NULL;
}

void registry_start(struct registry *r, struct registry_request *q)
{
	unsigned int n = 0;

	q->impl = calloc(1, sizeof(struct fake_turn));
	if (q->impl == NULL)
		abort();
	(void)pthread_mutex_lock(&r->lock);
	list_add_tail(&r->active, &q->node);
	list_for_each (node, &r->active)
		n++;
	if (n > r->most_at_once)
		r->most_at_once = n;
	if (q->op == REGISTRY_STAT)
		r->stats++;
	else
		r->requests++;
	(void)pthread_cond_signal(&r->wake);
	(void)pthread_mutex_unlock(&r->lock);
}

void registry_cancel(struct registry *r, struct registry_request *q)
{
	(void)pthread_mutex_lock(&r->lock);
	if (q->impl != NULL)
		((struct fake_turn *)q->impl)->cancelled = true;
	(void)pthread_mutex_unlock(&r->lock);
}

void registry_resume(struct registry *r, struct registry_request *q)
{
	(void)r;
	(void)q;
}

void registry_stats(struct registry *r, struct registry_stats *ret)
{
	(void)r;
	memset(ret, 0, sizeof(*ret));
}

#endif
