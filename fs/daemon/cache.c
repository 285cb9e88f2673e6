#include "daemon/cache.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/size.h"
#include "oci/mediatype.h"
#include "store/evict.h"

#define SETTLE_MS 200	    /* growth comes in bursts, and a blob before its label */
#define REST 20		    /* times as long as a look took, before the next one */
#define BY_ITSELF_MS 300000 /* in case nobody tells: a store without inotify */
#define RETRY_MS 30000	    /* after an error */
#define STILL_OPEN_MS 5000  /* the limit is passed, by blobs that are open */
#define FILLING_MS 1000	    /* what is being fetched must fit onto the disk still */

struct cache {
	struct cache_config config;
	struct mount *mount; /* written before the thread starts */
	struct evict *evict; /* the thread's, like the next two */
	bool has_failed;
	int64_t dir_mtime_ns; /* of blobs/sha256 at the last look */

	pthread_t thread;
	bool has_thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stopping;		/* protected by lock, like all below */
	bool has_grown;		/* somebody said so since the last look began */
	uint64_t look_at_ms;	/* when the next look is due ... */
	uint64_t rest_until_ms; /* ... and before which it is not */
	uint64_t bytes, n_looks, n_evicted, evicted_bytes;
};

/* Manifests tell what the blobs are that they name: small, and worth more than room. */
static bool keeps(void *arg, const struct label *l)
{
	(void)arg;
	return mediatype_is_manifest(l->mediatype) || mediatype_is_index(l->mediatype);
}

static void evicted(void *arg, const struct digest *d, uint64_t size)
{
	struct cache *c = arg;

	mount_evicted(c->mount, d);
	log_debug("cache", "%s evicted size=%llu", digest_text(d).s, (unsigned long long)size);
	(void)pthread_mutex_lock(&c->lock);
	c->n_evicted++;
	c->evicted_bytes += size;
	(void)pthread_mutex_unlock(&c->lock);
}

int cache_new(const struct cache_config *config, struct cache **ret, struct err *err)
{
	struct cache *c = calloc(1, sizeof(*c));
	struct evict_config e = {.store = config->store,
				 .grace_ns = config->grace_ns,
				 .keeps = keeps,
				 .evicted = evicted,
				 .arg = c};
	pthread_condattr_t attr;

	if (c == NULL || evict_new(&e, &c->evict) < 0) {
		free(c);
		return err_set(err, ENOMEM, "out of memory");
	}
	c->config = *config;
	c->has_grown = true; /* from nothing, by the first look */
	(void)pthread_mutex_init(&c->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&c->wake, &attr);
	(void)pthread_condattr_destroy(&attr);
	*ret = c;
	return 0;
}

/* What is on its way: all of it will be cache, and what is not here yet needs room. */
struct coming {
	uint64_t bytes, missing_bytes;
};

static int add_fill(void *arg, const char *ref, uint64_t size, uint64_t total, int64_t started_ns,
		    const char *state)
{
	struct coming *x = arg;

	(void)ref;
	(void)started_ns;
	if (strncmp(state, "failed", strlen("failed")) != 0) {
		x->bytes += total;
		x->missing_bytes += total > size ? total - size : 0;
	}
	return 0;
}

static uint64_t short_of_room(const struct cache *c, uint64_t missing_bytes)
{
	struct statvfs st;
	uint64_t room;

	if (missing_bytes == 0 || fstatvfs(store_root_fd(c->config.store), &st) < 0)
		return 0;
	room = (uint64_t)st.f_bavail * st.f_frsize;
	return missing_bytes > room ? missing_bytes - room : 0;
}

static int64_t dir_mtime_ns(const struct cache *c)
{
	struct stat st;

	if (fstat(store_blobs_fd(c->config.store), &st) < 0)
		return 0;
	return (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
}

/* The edge of this thread: what goes wrong is logged here, once until it works again. */
static void report(struct cache *c, const struct evict_result *result, int r)
{
	char size[32];

	if (r < 0 && !c->has_failed)
		log_warn("cache", "evict: %s, retrying", err_describe(-r));
	c->has_failed = r < 0;
	if (result->evicted_blobs == 0)
		return;
	size_format(result->evicted_bytes, size, sizeof(size));
	log_info("cache", "evicted blobs=%llu size=\"%s\"",
		 (unsigned long long)result->evicted_blobs, size);
}

/* Look, evict; in how many milliseconds to look again when nobody calls before. */
static uint64_t look(struct cache *c)
{
	struct evict_goal goal = {
		.limit_bytes = c->config.limit_bytes,
		.low_bytes = c->config.limit_bytes - c->config.limit_bytes / 16,
	};
	struct coming coming = {0};
	struct evict_result result;
	uint64_t again_ms = BY_ITSELF_MS;
	int r;

	(void)c->config.source->ops->fills(c->config.source, add_fill, &coming);
	goal.coming_bytes = coming.bytes;
	goal.at_least_bytes = short_of_room(c, coming.missing_bytes);
	c->dir_mtime_ns = dir_mtime_ns(c);
	r = evict_run(c->evict, &goal, &result);
	report(c, &result, r);
	(void)pthread_mutex_lock(&c->lock);
	c->bytes = result.cache_bytes;
	c->n_looks++;
	(void)pthread_mutex_unlock(&c->lock);
	if (r < 0)
		again_ms = RETRY_MS;
	else if (result.short_of_goal)
		again_ms = result.again_ns > 0 ? result.again_ns / 1000000 + 1 : STILL_OPEN_MS;
	if (coming.missing_bytes > 0 && again_ms > FILLING_MS)
		again_ms = FILLING_MS;
	return again_ms;
}

/* Until a look is due, or the end. */
static void wait_locked(struct cache *c)
{
	while (!c->stopping) {
		uint64_t at_ms =
			c->look_at_ms > c->rest_until_ms ? c->look_at_ms : c->rest_until_ms;
		struct timespec at = {.tv_sec = (time_t)(at_ms / 1000),
				      .tv_nsec = (long)(at_ms % 1000) * 1000000};

		if (clock_mono_ms() >= at_ms)
			return;
		(void)pthread_cond_timedwait(&c->wake, &c->lock, &at);
	}
}

static void look_locked(struct cache *c)
{
	uint64_t begin_ms = clock_mono_ms(), end_ms, again_ms;

	c->has_grown = false;
	c->look_at_ms = UINT64_MAX;
	(void)pthread_mutex_unlock(&c->lock);
	again_ms = look(c);
	(void)pthread_mutex_lock(&c->lock);
	end_ms = clock_mono_ms();
	c->rest_until_ms = end_ms + (end_ms - begin_ms) * REST;
	/* Other than by itself: there is something to do then. */
	c->has_grown |= again_ms < BY_ITSELF_MS;
	if (end_ms + again_ms < c->look_at_ms)
		c->look_at_ms = end_ms + again_ms;
}

static void *cache_main(void *arg)
{
	struct cache *c = arg;

	(void)pthread_mutex_lock(&c->lock);
	for (wait_locked(c); !c->stopping; wait_locked(c)) {
		if (c->has_grown || c->dir_mtime_ns != dir_mtime_ns(c))
			look_locked(c);
		else
			c->look_at_ms = clock_mono_ms() + BY_ITSELF_MS;
	}
	(void)pthread_mutex_unlock(&c->lock);
	return NULL;
}

int cache_start(struct cache *c, struct mount *m, struct err *err)
{
	sigset_t all, old;
	int r;

	c->mount = m;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&c->thread, NULL, cache_main, c);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0)
		return err_errno(err, r, "start the cache's thread");
	c->has_thread = true;
	return 0;
}

void cache_grows(struct cache *c)
{
	uint64_t at_ms;

	(void)pthread_mutex_lock(&c->lock);
	at_ms = clock_mono_ms() + SETTLE_MS;
	c->has_grown = true;
	if (at_ms < c->look_at_ms) {
		c->look_at_ms = at_ms;
		(void)pthread_cond_signal(&c->wake);
	}
	(void)pthread_mutex_unlock(&c->lock);
}

int cache_status(struct cache *c, struct buf *out)
{
	uint64_t bytes, looks, blobs, evicted_bytes;

	(void)pthread_mutex_lock(&c->lock);
	bytes = c->bytes;
	looks = c->n_looks;
	blobs = c->n_evicted;
	evicted_bytes = c->evicted_bytes;
	(void)pthread_mutex_unlock(&c->lock);
	return buf_printf(out,
			  "cache_limit %llu\ncache_bytes %llu\ncache_looks %llu\n"
			  "evictions %llu\nevicted_bytes %llu\n",
			  (unsigned long long)c->config.limit_bytes, (unsigned long long)bytes,
			  (unsigned long long)looks, (unsigned long long)blobs,
			  (unsigned long long)evicted_bytes);
}

void cache_stop(struct cache *c)
{
	(void)pthread_mutex_lock(&c->lock);
	c->stopping = true;
	(void)pthread_cond_signal(&c->wake);
	(void)pthread_mutex_unlock(&c->lock);
	if (c->has_thread)
		(void)pthread_join(c->thread, NULL);
	c->has_thread = false;
}

struct cache *cache_free(struct cache *c)
{
	if (c == NULL)
		return NULL;
	cache_stop(c);
	(void)evict_free(c->evict);
	(void)pthread_mutex_destroy(&c->lock);
	(void)pthread_cond_destroy(&c->wake);
	free(c);
	return NULL;
}
