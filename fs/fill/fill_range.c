/* The requests of a fill: what to ask for, and what to do with what comes. */
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "fill/fill_one.h"
#include "fill/planner.h"

#define HASH_NOTE_BYTES ((uint64_t)4 << 20)
#define BACKGROUND_CONNECTIONS 2
#define URGENT_CONNECTIONS 2 /* beside the others, for bytes that somebody waits for */

static struct range *range_of(struct registry_request *q)
{
	return list_entry(q, struct range, ask.q);
}

static void release_range(struct ask *a)
{
	struct range *r = list_entry(a, struct range, ask);

	XXH3_freeState(r->xxh3);
	free(r->piece);
	free(r);
}

/* The hash of a chunk that is gone on with covers what is here of it. */
static int prime(struct range *r)
{
	uint64_t in_chunk = r->start % CHUNK_BYTES;
	cleanup_free void *bytes = NULL;
	ssize_t n;

	r->xxh3 = XXH3_createState();
	if (r->xxh3 == NULL)
		return -ENOMEM;
	(void)XXH3_64bits_reset(r->xxh3);
	if (in_chunk == 0)
		return 0;
	bytes = malloc(in_chunk);
	if (bytes == NULL)
		return -ENOMEM;
	n = fd_pread_full(r->fill->data_fd, bytes, in_chunk, r->start - in_chunk);
	if (n < 0 || (uint64_t)n < in_chunk)
		return n < 0 ? (int)n : -EIO;
	(void)XXH3_64bits_update(r->xxh3, bytes, in_chunk);
	return 0;
}

static int range_head(struct registry_request *q, const struct registry_object *obj)
{
	struct range *r = range_of(q);
	struct fill *f = r->fill->engine;
	int ret = 0;

	fill_lock(f);
	if (!r->fill->has_size && obj->has_size)
		r->fill->size = obj->size; /* for people to see; what comes is what counts */
	else if (r->fill->has_size && obj->has_size && obj->size != r->fill->size)
		ret = -EPROTO;
	host_list_add(r->fill->hosts, obj->host);
	fill_unlock(f);
	r->judged_ns = clock_mono_ns();
	r->judged_at = r->start;
	if (ret == 0 && r->fill->map != NULL)
		ret = r->local_error = prime(r);
	return ret;
}

/* The piece lies in the data from r->at on, in one chunk. */
static void note_locked(struct range *r)
{
	struct fill_one *o = r->fill;
	uint64_t i = r->at / CHUNK_BYTES, got = r->at % CHUNK_BYTES + r->n_piece;

	chunkmap_note(o->map, i, got, XXH3_64bits_digest(r->xxh3));
}

static void note_hash_locked(struct fill_one *o)
{
	struct hasher_state st;

	if (!ingest_hashed(o->ingest, &st) || st.n_bytes < o->hash_saved_at + HASH_NOTE_BYTES)
		return;
	chunkmap_save_hash(o->map, &st);
	o->hash_saved_at = st.n_bytes;
}

/* Write the piece, without the lock, and serve who waits for it. */
static int write_piece(struct range *r)
{
	struct fill_one *o = r->fill;
	struct fill *f = o->engine;
	struct todo t;
	int w = ingest_write(o->ingest, r->piece, r->n_piece, r->at);

	if (w < 0) {
		r->local_error = w;
		return w;
	}
	if (o->map != NULL) {
		if (r->at % CHUNK_BYTES == 0)
			(void)XXH3_64bits_reset(r->xxh3);
		(void)XXH3_64bits_update(r->xxh3, r->piece, r->n_piece);
	}
	todo_init(&t);
	fill_lock(f);
	f->stats.bytes_fetched += r->n_piece;
	if (r->ask.cancelled)
		w = -ECANCELED;
	if (o->map != NULL) {
		note_locked(r);
		note_hash_locked(o);
	}
	r->at += r->n_piece;
	r->n_piece = 0;
	if (o->state == FILL_RUNNING)
		fill_one_serve_locked(o, &t);
	todo_unlock_and_run(f, &t);
	return w;
}

/* Whether somebody waits for bytes that end in the piece. */
static bool is_urgent(const struct range *r)
{
	const struct fill_one *o = r->fill;
	bool urgent = false;

	if (o->engine->config.verify != FILL_VERIFY_AT_EOF)
		return false;
	fill_lock(o->engine);
	list_for_each (n, &o->waiters) {
		const struct waiter *w = list_entry(n, struct waiter, node);

		urgent = urgent || (w->end > r->at && w->end <= r->at + r->n_piece);
	}
	fill_unlock(o->engine);
	return urgent;
}

static void note_speed_locked(struct range *r, uint64_t bytes, uint64_t ns)
{
	if (r->capped)
		return;
	r->fill->bytes_per_s = bytes * 1000000 / (ns / 1000 + 1) + 1;
	r->source->bytes_per_s = r->fill->bytes_per_s;
}

/*
 * How fast is one connection, of late? As long as nothing is known the first moments have to tell,
 * with what they cost to begin; from then on whole windows do, so that a host that has become slow
 * is not waited for with few.
 */
static void judge(struct range *r)
{
	struct fill_one *o = r->fill;
	uint64_t got = r->at + r->n_piece, now = clock_mono_ns(), ns = now - r->judged_ns;
	struct todo t;

	if (ns < PLANNER_JUDGE_NS || (r->judged && ns < PLANNER_WINDOW_NS))
		return;
	todo_init(&t);
	fill_lock(o->engine);
	if (o->bytes_per_s == 0 || r->judged) {
		note_speed_locked(r, got - r->judged_at, ns);
		fill_one_plan_locked(o, &t);
	}
	todo_unlock_and_run(o->engine, &t);
	r->judged = true;
	r->judged_ns = now;
	r->judged_at = got;
}

/* In order, for each range on the network thread alone. */
static int range_data(struct registry_request *q, uint64_t offset, const void *p, size_t n)
{
	struct range *r = range_of(q);
	const unsigned char *from = p;
	int w = 0;

	if (offset != r->at + r->n_piece || n > r->end - offset)
		return -EPROTO;
	while (n > 0 && w == 0) {
		size_t room = PIECE_BYTES - (size_t)(r->at % PIECE_BYTES) - r->n_piece;
		size_t m = n < room ? n : room;

		memcpy(r->piece + r->n_piece, from, m);
		r->n_piece += m;
		from += m;
		n -= m;
		if (m == room)
			w = write_piece(r);
	}
	if (w == 0 && r->n_piece > 0 && is_urgent(r))
		w = write_piece(r);
	if (w == 0)
		judge(r);
	return w;
}

static void range_trouble(struct registry_request *q, const struct err *err)
{
	struct fill_one *o = range_of(q)->fill;

	fill_lock(o->engine);
	o->trouble = *err;
	fill_unlock(o->engine);
}

/* Which of two reasons tells more of what is the matter: refusals over silence over absence. */
static int weight(int r)
{
	switch (-r) {
	case 0:
		return 0;
	case ENOENT:
		return 1;
	case EIO:
	case ETIMEDOUT:
		return 2;
	default:
		return 3;
	}
}

static void keep_error(struct fill_one *o, int r, const struct err *err)
{
	if (o->err.code != 0 && weight(-o->err.code) > weight(r))
		return;
	if (err != NULL)
		o->err = *err;
	else
		(void)err_errno(&o->err, -r, "fetch");
	o->err.code = -r;
}

void fill_one_use_source_locked(struct fill_one *o)
{
	o->bytes_per_s = o->source_at < o->n_sources ? o->sources[o->source_at]->bytes_per_s : 0;
	o->length = 0;
}

/*
 * A request has failed for good: go on with the next source. After the last one begin again with
 * the first when something has come since the last time, else give up.
 */
static void source_failed_locked(struct fill_one *o, const struct range *r, int code,
				 const struct err *err, struct todo *t)
{
	uint64_t here = o->map != NULL ? chunkmap_here(o->map) : 0;

	keep_error(o, code, err);
	if (o->source_at < o->n_sources && o->sources[o->source_at] == r->source)
		o->source_at++;
	if (o->source_at >= o->n_sources && here > o->here_at_failure && code != -ENOENT &&
	    code != -EACCES) {
		o->here_at_failure = here;
		o->source_at = 0;
	}
	if (o->source_at >= o->n_sources && (o->avoid_is_old || o->doubtful[0] != '\0')) {
		host_list_subtract(o->avoid, o->avoid_is_old ? o->avoid : o->doubtful);
		o->doubtful[0] = '\0';
		o->avoid_is_old = false;
		o->source_at = 0;
	}
	if (o->source_at >= o->n_sources)
		fill_one_fail_locked(o, -o->err.code, &o->err, t);
	else
		fill_one_use_source_locked(o);
}

static void range_ended_locked(struct fill_one *o, struct range *r, int code, const struct err *err,
			       struct todo *t)
{
	struct err why;

	if (o->state != FILL_RUNNING)
		return;
	if (r->local_error < 0) {
		(void)err_errno(&why, -r->local_error, "write data");
		fill_one_fail_locked(o, r->local_error, &why, t);
		return;
	}
	if (code == 0 && !o->has_size && o->single) {
		o->size = r->at;
		o->has_size = true;
	} else if (code == 0 && r->at < r->end) {
		code = err_set(&why, EPROTO, "%s: %s: ended early", r->source->name, o->object);
		err = &why;
	}
	/* With the round trip, unless it is the first, whose connection had to be made. */
	if (code == 0 && r->at - r->start >= CHUNK_BYTES)
		note_speed_locked(r, r->at - r->start,
				  clock_mono_ns() -
					  (o->bytes_per_s == 0 ? r->judged_ns : r->asked_ns));
	if (code < 0 && !(code == -ECANCELED && r->ask.cancelled))
		source_failed_locked(o, r, code, err, t);
	else if (code == 0 && o->source_at < o->n_sources && o->sources[o->source_at] == r->source)
		o->err.code = 0;
	fill_one_plan_locked(o, t);
}

static void range_done(struct registry_request *q, int code, const struct registry_object *obj,
		       const struct err *err)
{
	struct range *r = range_of(q);
	struct fill_one *o = r->fill;
	struct fill *f = o->engine;
	struct todo t;

	if (r->n_piece > 0 && r->local_error == 0)
		(void)write_piece(r);
	todo_init(&t);
	fill_lock(f);
	if (obj != NULL && r->at > r->start)
		host_list_add(o->hosts, obj->host);
	list_del(&r->node);
	o->n_ranges--;
	range_ended_locked(o, r, code, err, &t);
	if (o->state == FILL_ENDING && o->n_ranges == 0)
		fill_one_job_locked(o, &t);
	ask_unref_locked(&r->ask);
	todo_unlock_and_run(f, &t);
}

static int start_locked(struct fill_one *o, const struct span *span, struct todo *t)
{
	uint64_t cap = o->engine->config.background_bps;
	struct range *r = calloc(1, sizeof(*r));
	int e = r == NULL ? -ENOMEM : 0;

	if (e < 0)
		return e;
	ask_init(&r->ask, release_range);
	r->fill = o;
	r->source = o->sources[o->source_at];
	r->start = r->at = span->start;
	r->end = span->end;
	r->asked_ns = clock_mono_ns();
	r->piece = malloc(PIECE_BYTES);
	if (r->piece == NULL)
		e = -ENOMEM;
	if (e < 0) {
		release_range(&r->ask);
		return e;
	}
	r->capped = cap > 0 && list_empty(&o->waiters);
	r->ask.q = (struct registry_request){
		.op = o->op,
		.host = r->source->ref.host,
		.repository = r->source->ref.repository,
		.object = o->object,
		.mediatype =
			o->mediatype[0] != '\0' && o->op == REGISTRY_MANIFEST ? o->mediatype : NULL,
		.offset = span->start,
		.length = o->single ? 0 : span->end - span->start,
		.size = o->has_size ? o->size : 0,
		.avoid = o->avoid[0] != '\0' ? o->avoid : NULL,
		.max_bytes_per_s = r->capped ? cap / BACKGROUND_CONNECTIONS + 1 : 0,
		.head = range_head,
		.data = range_data,
		.trouble = range_trouble,
		.done = range_done,
	};
	list_add_tail(&o->ranges, &r->node);
	o->n_ranges++;
	todo_start_locked(t, &r->ask);
	return 0;
}

/* The spans in flight, less what has come of them. */
static size_t flying(const struct fill_one *o, struct span out[RANGES_MAX])
{
	size_t n = 0;

	list_for_each (node, &o->ranges) {
		struct range *r = list_entry(node, struct range, node);

		if (r->at < r->end && n < RANGES_MAX)
			out[n++] = (struct span){.start = r->at, .end = r->end};
	}
	return n;
}

/* The next piece of [from, to): 1 when asked for, 0 when there is none, or a negative errno. */
static int ask_for_locked(struct fill_one *o, uint64_t from, uint64_t to, uint64_t length,
			  struct todo *t)
{
	struct span spans[RANGES_MAX], next;
	int r;

	if (!planner_next(o->map, spans, flying(o, spans), from, to, length, &next))
		return 0;
	r = start_locked(o, &next, t);
	return r < 0 ? r : 1;
}

/* What somebody waits for and nobody has asked for: the background goes on behind it. */
static int ask_urgent_locked(struct fill_one *o, struct todo *t)
{
	unsigned int limit = o->engine->config.connections + URGENT_CONNECTIONS;
	int r = 0;

	if (o->engine->config.verify != FILL_VERIFY_AT_EOF)
		return 0; /* they wait for the whole */
	list_for_each (n, &o->waiters) {
		const struct waiter *w = list_entry(n, struct waiter, node);

		if (o->n_ranges >= limit)
			break;
		if (w->whole)
			continue;
		r = ask_for_locked(o, w->offset, w->end, CHUNK_BYTES, t);
		if (r < 0)
			break;
		if (r > 0) {
			o->cursor = w->offset;
			o->length = 0;
		}
	}
	return r;
}

static int ask_background_locked(struct fill_one *o, struct todo *t)
{
	unsigned int limit = planner_connections(o->engine->config.connections, o->bytes_per_s);
	int r = 1;

	if (list_empty(&o->waiters) && limit > BACKGROUND_CONNECTIONS)
		limit = BACKGROUND_CONNECTIONS;
	while (r > 0 && o->n_ranges < limit) {
		uint64_t length = planner_length(o->length, o->size - chunkmap_here(o->map),
						 o->engine->config.connections, o->bytes_per_s);

		r = ask_for_locked(o, o->cursor, o->size, length, t);
		if (r == 0 && o->cursor > 0)
			r = ask_for_locked(o, 0, o->cursor, length, t);
		if (r > 0)
			o->length = length;
	}
	return r;
}

static int ask_single_locked(struct fill_one *o, struct todo *t)
{
	struct span all = {.start = 0, .end = o->has_size ? o->size : UINT64_MAX};

	return o->n_ranges > 0 ? 0 : start_locked(o, &all, t);
}

static bool is_whole(const struct fill_one *o)
{
	if (o->n_ranges > 0)
		return false;
	return o->map != NULL ? chunkmap_front(o->map) == o->size : o->has_size;
}

void fill_one_plan_locked(struct fill_one *o, struct todo *t)
{
	struct err err;
	int r;

	if (o->state != FILL_RUNNING)
		return;
	if (is_whole(o)) {
		o->state = FILL_VERIFYING;
		fill_one_job_locked(o, t);
		return;
	}
	if (o->source_at >= o->n_sources)
		return;
	if (o->single) {
		r = ask_single_locked(o, t);
	} else {
		r = ask_urgent_locked(o, t);
		if (r >= 0)
			r = ask_background_locked(o, t);
	}
	/* Those in flight go on; without any there is nobody left to plan again. */
	if (r < 0 && o->n_ranges == 0) {
		(void)err_errno(&err, -r, "ask for more");
		fill_one_fail_locked(o, r, &err, t);
	}
}

void fill_one_cancel_ranges_locked(struct fill_one *o, bool capped_only, struct todo *t)
{
	list_for_each (n, &o->ranges) {
		struct range *r = list_entry(n, struct range, node);

		if (r->capped || !capped_only)
			todo_cancel_locked(t, &r->ask);
	}
}
