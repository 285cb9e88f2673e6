/* What a fill does on a worker, since it may block: open, follow, verify, close. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "fill/fill_one.h"
#include "store/blob.h"
#include "store/label.h"

#define MANIFEST_SURELY_NOT ((uint64_t)4 << 20) /* the largest manifest */

static void add_source(struct fill_one *o, struct source *s)
{
	if (s == NULL || o->n_sources == FILL_ONE_SOURCES_MAX)
		return;
	for (size_t i = 0; i < o->n_sources; i++)
		if (o->sources[i] == s)
			return;
	o->sources[o->n_sources++] = s;
}

/* Size, media type and sources: from who described it, its label, the configuration. */
static void gather_locked(struct fill_one *o, const struct label *label)
{
	struct fill *f = o->engine;
	const struct known_blob *b = known_get(f->known, &o->digest);
	const struct failure *failure;

	o->n_sources = o->source_at = 0;
	o->here_at_failure = 0;
	o->err = o->trouble = (struct err){0};
	failure = failure_get_locked(f, &o->digest);
	if (failure != NULL && o->avoid[0] == '\0')
		memcpy(o->avoid, failure->avoid, sizeof(o->avoid));
	o->avoid_is_old = o->avoid[0] != '\0';
	o->doubtful[0] = '\0';
	if (b != NULL) {
		o->has_size = b->sized;
		o->size = b->size;
		(void)snprintf(o->mediatype, sizeof(o->mediatype), "%s",
			       known_mediatype(f->known, b));
		if (known_source(f->known, b)[0] != '\0')
			add_source(o, source_find_locked(f, known_source(f->known, b), NULL));
	} else {
		o->has_size = label->size > 0;
		o->size = label->size;
		(void)snprintf(o->mediatype, sizeof(o->mediatype), "%s", label->mediatype);
	}
	for (size_t i = label->n_sources; i > 0; i--) /* the latest first */
		add_source(o, source_find_locked(f, label->source[i - 1], NULL));
	for (size_t i = 0; i < f->n_defaults; i++)
		add_source(o, f->defaults[i]);
	fill_one_use_source_locked(o);
	o->op = REGISTRY_BLOB;
	if (mediatype_is_manifest(o->mediatype) || mediatype_is_index(o->mediatype))
		o->op = REGISTRY_MANIFEST;
	else if (!o->has_size || (o->mediatype[0] == '\0' && o->size <= MANIFEST_SURELY_NOT))
		o->op = REGISTRY_ANY;
	o->single = o->op != REGISTRY_BLOB;
}

/* Everybody gets the blob, which is in the store. */
static void complete(struct fill_one *o, int fd)
{
	struct fill *f = o->engine;
	struct todo t;

	todo_init(&t);
	fill_lock(f);
	if (o->data_fd >= 0 && o->ingest == NULL)
		(void)close(o->data_fd);
	o->data_fd = fd;
	o->verified = o->committed = true;
	f->stats.completed++;
	if (o->state == FILL_FOLLOWING)
		f->stats.followed++;
	failure_forget_locked(f, &o->digest);
	fill_one_serve_locked(o, &t);
	o->state = FILL_ENDING;
	todo_unlock_and_run(f, &t);
}

static void fail(struct fill_one *o, int r, const struct err *err)
{
	struct todo t;

	todo_init(&t);
	fill_lock(o->engine);
	fill_one_fail_locked(o, r, err, &t);
	todo_unlock_and_run(o->engine, &t);
}

/* Tell the ingest's hash what lies in the data already. */
static int adopt(struct fill_one *o, struct chunkmap *map, uint64_t *ret_hashed)
{
	struct hasher_state st;
	bool has = chunkmap_hash(map, &st);
	int r = ingest_sparse(o->ingest, has ? &st : NULL);

	*ret_hashed = has ? st.n_bytes : 0;
	for (uint64_t i = 0; r == 0 && i < chunkmap_count(map); i++) {
		uint64_t start = i * CHUNK_BYTES, end = start + chunkmap_got(map, i);

		if (start < *ret_hashed)
			start = end < *ret_hashed ? end : *ret_hashed;
		if (end > start)
			ingest_found(o->ingest, start, end - start);
	}
	return r;
}

/* The map of what an earlier fill left; NULL: nothing that is of use. */
static struct chunkmap *load_map(struct fill_one *o)
{
	struct chunkmap *m = NULL;

	if (!o->has_size ||
	    chunkmap_load(ingest_dir_fd(o->ingest), o->size, /* read_only= */ false, &m) < 0)
		return NULL;
	/* A single request cannot go on in the middle. */
	if (chunkmap_check(m, ingest_data_fd(o->ingest)) < 0 || chunkmap_here(m) == 0 ||
	    (o->single && chunkmap_front(m) < o->size))
		return chunkmap_free(m);
	return m;
}

/* Begin, or go on with, the data of the ingest that is ours now. */
static int begin_data(struct fill_one *o, struct err *err)
{
	struct chunkmap *map = load_map(o);
	uint64_t hashed = 0;
	int r = 0;

	if (map == NULL) {
		r = ingest_truncate(o->ingest, 0);
		if (r == 0 && o->has_size)
			r = chunkmap_create(ingest_dir_fd(o->ingest), o->size, &map);
		if (r == 0)
			r = ingest_sparse(o->ingest, NULL);
	} else {
		r = adopt(o, map, &hashed);
	}
	if (r < 0) {
		(void)chunkmap_free(map);
		return err_errno(err, -r, "begin data");
	}
	if (o->has_size && o->size > 0)
		r = ingest_set_total(o->ingest, o->size, err);
	fill_lock(o->engine);
	o->map = map;
	o->data_fd = ingest_data_fd(o->ingest);
	o->hash_saved_at = hashed;
	o->length = o->cursor = 0;
	o->hosts[0] = '\0';
	if (map != NULL)
		o->engine->stats.bytes_resumed += chunkmap_here(map);
	fill_unlock(o->engine);
	return r;
}

/* Somebody else fills it: how far is that, and can readers be served from it? */
static void follow(struct fill_one *o)
{
	cleanup_fd int dir_fd = ingest_peek(o->engine->config.store, o->ref);
	struct chunkmap *map = NULL, *old;
	cleanup_fd int fd = -1;
	struct todo t;

	if (dir_fd >= 0 && o->has_size)
		(void)chunkmap_load(dir_fd, o->size, /* read_only= */ true, &map);
	if (map != NULL)
		fd = openat(dir_fd, "data", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	todo_init(&t);
	fill_lock(o->engine);
	old = o->map;
	o->map = map;
	if (o->data_fd >= 0)
		(void)close(o->data_fd);
	o->data_fd = steal_fd(fd);
	o->state = FILL_FOLLOWING;
	fill_one_serve_locked(o, &t);
	if (list_empty(&o->waiters))
		o->state = FILL_ENDING; /* it goes on without us */
	todo_unlock_and_run(o->engine, &t);
	(void)chunkmap_free(old);
}

/* We looked on so far; from here on it is ours. Bytes that were given out may be no more. */
static void stop_following(struct fill_one *o)
{
	struct fill *f = o->engine;
	bool followed;

	fill_lock(f);
	followed = o->data_fd >= 0;
	if (followed)
		(void)close(o->data_fd);
	o->data_fd = -1;
	o->map = chunkmap_free(o->map);
	fill_unlock(f);
	if (followed && f->config.verify == FILL_VERIFY_AT_EOF)
		fill_one_spoil(o);
}

static void begin_running(struct fill_one *o)
{
	struct todo t;

	todo_init(&t);
	fill_lock(o->engine);
	if (o->engine->stopping) {
		o->state = FILL_ENDING;
	} else {
		o->state = FILL_RUNNING;
		fill_one_serve_locked(o, &t);
		fill_one_plan_locked(o, &t);
	}
	todo_unlock_and_run(o->engine, &t);
}

static void job_open(struct fill_one *o)
{
	struct fill *f = o->engine;
	struct store *s = f->config.store;
	cleanup_free struct label *label = malloc(sizeof(*label));
	struct err err;
	size_t n_sources;
	bool followed;
	int fd = blob_open(s, &o->digest);
	int r;

	if (fd >= 0) {
		complete(o, fd);
		return;
	}
	if (label == NULL) {
		fail(o, -ENOMEM, NULL);
		return;
	}
	label_init(label);
	(void)label_read(s, &o->digest, label);
	fill_lock(f);
	gather_locked(o, label);
	followed = o->state == FILL_FOLLOWING;
	n_sources = o->n_sources;
	fill_unlock(f);
	/* Without a source it can only be looked on at while somebody else fills it. */
	r = ingest_open(s, o->ref, INGEST_FETCHED | (n_sources > 0 ? INGEST_CREATE : 0), &o->ingest,
			&err);
	if (r == -EBUSY) {
		follow(o);
		return;
	}
	if (n_sources == 0 && (r == 0 || r == -ENOENT))
		r = err_set(&err, ENOENT, "no source is known for %s", o->object);
	if (r < 0) {
		fail(o, r, &err);
		return;
	}
	/* It may have been committed between the two looks. */
	fd = blob_open(s, &o->digest);
	if (fd >= 0) {
		o->ingest = ingest_abort(o->ingest);
		complete(o, fd);
		return;
	}
	if (followed)
		stop_following(o);
	r = begin_data(o, &err);
	if (r < 0)
		fail(o, r, &err);
	else
		begin_running(o);
}

/*
 * The host that the bytes came from is not asked again. Where several had a part in them it may be
 * any: the first one is left out, and asked after all when the others do no better.
 */
static void blame_locked(struct fill_one *o)
{
	char host[HOST_LIST_BYTES];

	if (host_list_first(o->hosts, host))
		host_list_add(o->doubtful, host);
	host_list_add(o->avoid, host);
	o->avoid_is_old = false;
}

/*
 * Not the digest that was asked for: away with the bytes. Another host may have the right ones,
 * which is nobody's business but ours unless readers have seen some already.
 */
static void mismatch(struct fill_one *o, int r, const struct err *err)
{
	struct fill *f = o->engine;
	bool seen = f->config.verify == FILL_VERIFY_AT_EOF && o->size > HOLD_BACK_BYTES;
	struct err why;
	struct todo t;

	(void)err_set(&why, -r, "%s (from %s)", err_text(err, r),
		      o->hosts[0] != '\0' ? o->hosts : "an earlier fill");
	if (seen)
		fill_one_spoil(o);
	todo_init(&t);
	fill_lock(f);
	f->stats.mismatches++;
	readers_spoilt_locked(f, &o->digest);
	if (o->hosts[0] != '\0')
		blame_locked(o);
	o->err = why;
	o->wrong = true;
	o->map = chunkmap_free(o->map);
	if (seen || f->stopping || o->n_retries == MISMATCHES_MAX) {
		bool is_heard = fill_one_has_waiters_locked(o);

		fill_one_fail_locked(o, r, &why, &t);
		todo_unlock_and_run(f, &t);
		if (!is_heard) /* at-eof: who has read a part of it may have left */
			log_err("fill", "%s: %s", o->object, why.msg);
		return;
	}
	o->n_retries++;
	o->source_at = 0;
	o->here_at_failure = 0;
	fill_unlock(f);
	log_debug("fill", "%s: %s; another host is asked", o->object, why.msg);
	r = ingest_truncate(o->ingest, 0);
	if (r < 0)
		(void)err_errno(&why, -r, "drop wrong data");
	else
		r = begin_data(o, &why);
	if (r < 0) {
		fail(o, r, &why);
		return;
	}
	o->wrong = false;
	begin_running(o);
}

static void learn(struct fill_one *o)
{
	const char *source = o->source_at < o->n_sources ? o->sources[o->source_at]->name : NULL;

	(void)label_learn(o->engine->config.store, &o->digest, source,
			  o->mediatype[0] != '\0' ? o->mediatype : NULL, o->size, "fetch");
}

static void job_verify(struct fill_one *o)
{
	struct fill *f = o->engine;
	struct digest d;
	struct todo t;
	struct err err;
	int r = ingest_verify(o->ingest, &d, &err);

	if (r == -EBADMSG || r == -ENODATA || r == -EFBIG) {
		mismatch(o, -EBADMSG, &err);
		return;
	}
	if (r < 0) {
		fail(o, r, &err);
		return;
	}
	describe_fd(f, &o->digest, o->data_fd,
		    o->source_at < o->n_sources ? o->sources[o->source_at]->name : "");
	todo_init(&t);
	fill_lock(f);
	o->verified = true;
	fill_one_serve_locked(o, &t);
	todo_unlock_and_run(f, &t);
	todo_init(&t);
	r = ingest_commit(o->ingest, &d, &err);
	if (r < 0) {
		/* A file that may be open by passthrough, and that the disk may not hold. */
		if (f->config.verify == FILL_VERIFY_STRICT)
			fill_one_spoil(o);
		fail(o, r, &err);
		return;
	}
	learn(o);
	fill_lock(f);
	f->stats.completed++;
	failure_forget_locked(f, &o->digest);
	o->committed = true;
	fill_one_serve_locked(o, &t);
	o->state = FILL_ENDING;
	todo_unlock_and_run(f, &t);
}

/* Of what it has, less what has become a blob or goes. */
static uint64_t kept_locked(const struct fill_one *o)
{
	return o->map == NULL || o->verified || o->wrong ? 0 : chunkmap_here(o->map);
}

/* Nothing is in flight: close what is open. */
static void job_close(struct fill_one *o)
{
	struct fill *f = o->engine;
	struct known_blob *b;
	struct hasher_state st;
	bool was_ours = o->ingest != NULL;
	int data_fd;
	uint64_t kept;

	if (was_ours && o->map != NULL && ingest_hashed(o->ingest, &st))
		chunkmap_save_hash(o->map, &st);
	fill_lock(f);
	kept = kept_locked(o);
	b = known_get(f->known, &o->digest);
	if (b != NULL && was_ours)
		b->local = kept;
	data_fd = o->data_fd;
	o->data_fd = -1;
	o->verified = o->committed = false;
	o->map = chunkmap_free(o->map);
	fill_unlock(f);
	/* A blob, or somebody else's data, was opened apart from an ingest. */
	if (!was_ours && data_fd >= 0)
		(void)close(data_fd);
	o->ingest = kept > 0 ? ingest_close(o->ingest) : ingest_abort(o->ingest);
	o->wrong = false;
}

void fill_one_run_job(struct work *w)
{
	struct fill_one *o = list_entry(w, struct fill_one, job);
	struct fill *f = o->engine;
	enum fill_state state;
	struct todo t;

	fill_lock(f);
	state = o->state;
	fill_unlock(f);
	switch (state) {
	case FILL_OPENING:
	case FILL_FOLLOWING:
		job_open(o);
		break;
	case FILL_VERIFYING:
		job_verify(o);
		break;
	case FILL_ENDING:
		job_close(o);
		break;
	case FILL_RUNNING:
		break;
	}
	todo_init(&t);
	fill_lock(f);
	o->job_busy = false;
	fill_one_next_locked(o, state, &t);
	todo_unlock_and_run(f, &t);
}
