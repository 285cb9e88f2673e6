/* Waiting for blobs, for programs that have nothing else to do meanwhile. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "fill/private.h"
#include "store/blob.h"

#define PROGRESS_MS 100

/* A blob_wait that a thread sleeps on. */
struct sleeper {
	struct blob_wait wait;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool done;
	int result;
	struct err err;
};

struct fill_reader {
	struct fill *f;
	struct list node; /* of f->readers; protected by its lock */
	struct digest digest;
	uint64_t offset;
	bool spoilt; /* protected by f's lock */
};

void readers_spoilt_locked(struct fill *f, const struct digest *d)
{
	list_for_each (n, &f->readers) {
		struct fill_reader *r = list_entry(n, struct fill_reader, node);

		if (digest_equal(&r->digest, d))
			r->spoilt = r->offset > 0;
	}
}

static void sleeper_done(struct blob_wait *w, int r, const struct err *err)
{
	struct sleeper *s = list_entry(w, struct sleeper, wait);

	(void)pthread_mutex_lock(&s->lock);
	s->result = r;
	if (err != NULL)
		s->err = *err;
	s->done = true;
	(void)pthread_cond_signal(&s->wake);
	(void)pthread_mutex_unlock(&s->lock);
}

static void sleeper_init(struct sleeper *s)
{
	pthread_condattr_t attr;

	*s = (struct sleeper){.wait = {.done = sleeper_done, .fd = -1}};
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&s->wake, &attr);
	(void)pthread_condattr_destroy(&attr);
}

static void sleeper_done_with(struct sleeper *s)
{
	(void)pthread_cond_destroy(&s->wake);
	(void)pthread_mutex_destroy(&s->lock);
}

/* Sleep until done (true), or for ms. */
static bool sleep_for(struct sleeper *s, uint64_t ms)
{
	uint64_t at = clock_mono_ms() + ms;
	struct timespec until = {.tv_sec = (time_t)(at / 1000),
				 .tv_nsec = (long)(at % 1000) * 1000000};
	bool done;
	int r = 0;

	(void)pthread_mutex_lock(&s->lock);
	while (!s->done && r == 0)
		r = pthread_cond_timedwait(&s->wake, &s->lock, &until);
	done = s->done;
	(void)pthread_mutex_unlock(&s->lock);
	return done;
}

static int take_result(struct sleeper *s, struct err *err)
{
	if (s->result < 0 && err != NULL) {
		if (s->err.msg[0] != '\0')
			*err = s->err;
		else
			(void)err_set(err, -s->result, "%s", err_describe(-s->result));
		err->code = -s->result;
	}
	return s->result;
}

static int check_object(struct fill *f, const struct fill_object *o, struct err *err)
{
	struct source *s = NULL;
	struct err why = {.code = EINVAL};
	int r = 0;

	fill_lock(f);
	if (o->source != NULL)
		s = source_find_locked(f, o->source, &why);
	if (o->source != NULL && s == NULL)
		r = -why.code;
	else
		r = known_learn(f->known, &o->digest, o->has_size ? o->size : KNOWN_NO_SIZE,
				o->mediatype, s != NULL ? s->name : NULL);
	fill_unlock(f);
	if (r < 0 && err != NULL)
		*err = why;
	return r;
}

int fill_get(struct fill *f, const struct fill_object *o, uint64_t timeout_ms,
	     int (*progress)(void *arg, uint64_t here, uint64_t total), void *arg, struct err *err)
{
	struct sleeper s;
	int r = check_object(f, o, err), stop = 0;

	if (r < 0)
		return r;
	sleeper_init(&s);
	fill_wait(f, &o->digest, 0, UINT64_MAX, /* whole= */ true, timeout_ms, &s.wait);
	while (!sleep_for(&s, PROGRESS_MS)) {
		uint64_t here = 0, size = o->size;

		fill_progress(f, &o->digest, &here, &size);
		if (stop == 0 && progress != NULL)
			stop = progress(arg, here, size);
		if (stop != 0)
			f->source.ops->cancel(&f->source, &s.wait);
	}
	r = take_result(&s, err);
	if (r == 0)
		(void)close(s.wait.fd);
	sleeper_done_with(&s);
	return stop != 0 ? stop : r;
}

int fill_reader_open(struct fill *f, const struct fill_object *o, struct fill_reader **ret,
		     struct err *err)
{
	struct fill_reader *r;
	int e = check_object(f, o, err);

	if (e < 0)
		return e;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return err_set(err, ENOMEM, "out of memory");
	r->f = f;
	r->digest = o->digest;
	fill_lock(f);
	list_add_tail(&f->readers, &r->node);
	fill_unlock(f);
	*ret = r;
	return 0;
}

ssize_t fill_reader_read(struct fill_reader *r, void *p, size_t n, struct err *err)
{
	struct sleeper s;
	ssize_t got;
	bool spoilt;
	int e;

	sleeper_init(&s);
	fill_wait(r->f, &r->digest, r->offset, n, /* whole= */ false, r->f->config.read_ms,
		  &s.wait);
	while (!sleep_for(&s, 60000))
		;
	e = take_result(&s, err);
	sleeper_done_with(&s);
	fill_lock(r->f);
	spoilt = r->spoilt;
	fill_unlock(r->f);
	if (spoilt && e == 0)
		(void)close(s.wait.fd);
	if (spoilt)
		return err_set(err, EBADMSG, "%s: the bytes do not match the digest",
			       digest_text(&r->digest).s);
	if (e < 0)
		return e;
	got = fd_pread_full(s.wait.fd, p, n, r->offset);
	(void)close(s.wait.fd);
	if (got < 0)
		return err_errno(err, (int)-got, "read data");
	fill_lock(r->f);
	r->offset += (uint64_t)got;
	fill_unlock(r->f);
	return got;
}

struct fill_reader *fill_reader_close(struct fill_reader *r)
{
	if (r == NULL)
		return NULL;
	fill_lock(r->f);
	list_del(&r->node);
	fill_unlock(r->f);
	free(r);
	return NULL;
}
