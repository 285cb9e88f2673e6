/* What a reply means for a request: bytes, another way to ask, a challenge, or a failure. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "oci/manifest.h"
#include "registry/request.h"

#define MAX_REFUSED 2 /* authorizations in a row, fresh ones */
#define PROGRESS_BYTES 65536

static bool is_good(const struct exchange *x)
{
	return x->reply.status == 200 || x->reply.status == 206;
}

static bool is_whole_manifest(const struct request *rq)
{
	return rq->forms[rq->form] == FORM_MANIFEST && rq->x.method == EXCHANGE_GET &&
	       rq->q->op != REGISTRY_STAT;
}

/* A failed check of the reply's header or bytes; rq->err has the words. */
static int broken(struct request *rq, int code, const char *why)
{
	char what[300];

	rq->is_broken = true;
	exchange_describe(&rq->x, what, sizeof(what));
	return err_set(&rq->err, code, "%s: %s", what, why);
}

static int announce(struct request *rq)
{
	int r = 0;

	rq->has_object = true;
	(void)snprintf(rq->object.host, sizeof(rq->object.host), "%s", request_host(rq)->name);
	if (!rq->announced && rq->q->head != NULL)
		r = rq->q->head(rq->q, &rq->object);
	rq->announced = true;
	rq->asker_ended = r != 0;
	return r;
}

/* Size and type, once; a host that contradicts what is known is wrong. */
static int take_object(struct request *rq, bool has_size, uint64_t size)
{
	struct registry_object *o = &rq->object;

	if (has_size && rq->q->size > 0 && size != rq->q->size)
		return broken(rq, EPROTO, "not the size that it should have");
	if (has_size && o->has_size && size != o->size)
		return broken(rq, EPROTO, "not the size that was told before");
	if (has_size) {
		o->has_size = true;
		o->size = size;
	}
	if (o->mediatype[0] == '\0')
		(void)snprintf(o->mediatype, sizeof(o->mediatype), "%s", rq->x.reply.mediatype);
	return 0;
}

/* The answer to HEAD, or to a GET whose body nobody wants. */
static int take_head(struct request *rq)
{
	const struct reply *p = &rq->x.reply;
	struct digest d;
	bool has_digest = p->digest[0] != '\0' && digest_parse(p->digest, &d, NULL) == 0;
	int r;

	if (rq->q->op == REGISTRY_RESOLVE && rq->is_digest && has_digest &&
	    !digest_equal(&d, &rq->digest))
		return broken(rq, EPROTO, "another digest than the one asked for");
	if (rq->forms[rq->form] == FORM_MANIFEST && p->has_length && p->length > MANIFEST_MAX_BYTES)
		return broken(rq, E2BIG, "a manifest of more than 4 MiB");
	if (rq->q->op == REGISTRY_RESOLVE && (!p->has_length || (!has_digest && !rq->is_digest)))
		return 0; /* GET will tell */
	r = take_object(rq, p->has_length, p->length);
	if (r < 0)
		return r;
	if (!rq->is_digest) {
		rq->object.digest = d;
		rq->object.has_digest = true;
	}
	return announce(rq);
}

/* RFC 9110 section 15.3.7: exactly what was asked for, or less from its beginning. */
static int take_range(struct request *rq)
{
	const struct exchange *x = &rq->x;
	const struct content_range *c = &x->reply.range;

	if (!x->has_range || !x->reply.has_range || !c->has_range)
		return broken(rq, EPROTO, "status 206 without a valid Content-Range");
	if (c->first != x->range_first || c->last > x->range_last)
		return broken(rq, EPROTO, "another range than the one asked for");
	if (x->reply.has_length && x->reply.length != c->last - c->first + 1)
		return broken(rq, EPROTO, "Content-Length contradicts Content-Range");
	rq->skip = 0;
	rq->reply_end = c->last + 1;
	return take_object(rq, c->has_total, c->total);
}

static int take_all(struct request *rq)
{
	const struct reply *p = &rq->x.reply;

	if (p->has_length && p->length < rq->pos)
		return broken(rq, EPROTO, "the object is shorter than what was asked for");
	rq->skip = rq->pos; /* the range was ignored */
	rq->reply_end = p->has_length ? p->length : UINT64_MAX;
	return take_object(rq, p->has_length, p->length);
}

static int take_blob(struct request *rq)
{
	const struct registry_object *o = &rq->object;
	int r = rq->x.reply.status == 206 ? take_range(rq) : take_all(rq);

	if (r < 0)
		return r;
	if (o->has_size && rq->q->offset > o->size)
		return broken(rq, EPROTO, "the object is shorter than the offset asked for");
	if (o->has_size && !rq->has_end) {
		rq->has_end = true;
		if (rq->end == 0 || rq->end > o->size)
			rq->end = o->size;
	}
	r = announce(rq);
	if (r != 0)
		return r;
	return rq->has_end && rq->pos >= rq->end ? EXCHANGE_ENOUGH : 0;
}

int request_on_head(struct exchange *x)
{
	struct request *rq = x->arg;
	int r;

	if (!is_good(x))
		return 0;
	rq->n_refused = 0;
	if (rq->q->op == REGISTRY_PING)
		return announce(rq);
	if (is_whole_manifest(rq)) {
		if (x->reply.status != 200)
			return broken(rq, EPROTO, "a part of a manifest");
		if (x->reply.has_length && x->reply.length > MANIFEST_MAX_BYTES)
			return broken(rq, E2BIG, "a manifest of more than 4 MiB");
		return 0;
	}
	if (rq->q->op == REGISTRY_BLOB || rq->q->op == REGISTRY_ANY)
		return take_blob(rq);
	r = take_head(rq);
	return r == 0 && x->method == EXCHANGE_GET ? EXCHANGE_ENOUGH : r;
}

static void note_progress(struct request *rq, uint64_t n)
{
	uint64_t before = rq->attempt_bytes / PROGRESS_BYTES;

	rq->attempt_bytes += n;
	if (rq->attempt_bytes / PROGRESS_BYTES != before)
		rq->progress_ms = clock_mono_ms();
}

/* The part of these bytes that is wanted; -EAGAIN changes nothing. */
static int take_bytes(struct request *rq, const char *p, size_t n)
{
	uint64_t skip = rq->skip < n ? rq->skip : n;
	uint64_t left = rq->end != 0 ? rq->end - rq->pos : UINT64_MAX;
	uint64_t take = n - skip < left ? n - skip : left;
	int r = 0;

	if (rq->reply_end != UINT64_MAX && take > rq->reply_end - rq->pos)
		return broken(rq, EPROTO, "more bytes than were told");
	if (take > 0)
		r = rq->q->data(rq->q, rq->pos, p + skip, (size_t)take);
	if (r == -EAGAIN)
		return r;
	rq->asker_ended = r != 0;
	if (r != 0)
		return r;
	rq->skip -= skip;
	rq->pos += take;
	note_progress(rq, take);
	return rq->end != 0 && rq->pos == rq->end && rq->reply_end > rq->end ? EXCHANGE_ENOUGH : 0;
}

int request_on_data(struct exchange *x, const void *p, size_t n)
{
	struct request *rq = x->arg;
	int r;

	if (!is_good(x) || rq->q->op == REGISTRY_PING)
		return EXCHANGE_ENOUGH;
	if (!is_whole_manifest(rq))
		return take_bytes(rq, p, n);
	r = buf_add(&rq->whole, p, n);
	if (r == -E2BIG)
		return broken(rq, E2BIG, "a manifest of more than 4 MiB");
	return r;
}

/* -- at the end of a reply ------------------------------------------------------------------ */

void request_deliver(struct request *rq)
{
	uint64_t size = rq->whole.len;
	bool wants_bytes = rq->q->op != REGISTRY_RESOLVE;
	int r = 0;

	rq->delivering = true;
	if (rq->q->op == REGISTRY_MANIFEST || !wants_bytes) {
		rq->pos = 0;
		rq->end = size;
	} else if (rq->end == 0 || rq->end > size) {
		rq->end = size;
	}
	if (wants_bytes && rq->pos < rq->end)
		r = rq->q->data(rq->q, rq->pos, rq->whole.data + rq->pos,
				(size_t)(rq->end - rq->pos));
	if (r != -EAGAIN)
		request_end(rq, r, NULL);
}

/* All of a manifest is here: is it what was asked for? */
static void take_manifest(struct request *rq)
{
	const struct reply *p = &rq->x.reply;
	struct digest d, told;
	bool is_told = p->digest[0] != '\0' && digest_parse(p->digest, &told, NULL) == 0;
	int r = digest_of(rq->whole.data, rq->whole.len, &d);

	if (r == 0 && rq->is_digest && !digest_equal(&d, &rq->digest))
		r = broken(rq, EBADMSG, "the bytes contradict the digest");
	else if (r == 0 && !rq->is_digest && is_told && !digest_equal(&d, &told))
		r = broken(rq, EBADMSG, "the bytes contradict the digest that was told");
	if (r == 0)
		r = take_object(rq, true, rq->whole.len);
	if (r == 0 && rq->q->offset > rq->whole.len)
		r = broken(rq, EPROTO, "the object is shorter than the offset asked for");
	if (r == -ENOMEM) {
		request_end(rq, r, NULL);
		return;
	}
	if (r < 0) {
		struct err err = rq->err;

		request_failed_for_good(rq, r, &err);
		return;
	}
	rq->object.digest = d;
	rq->object.has_digest = true;
	r = announce(rq);
	if (r != 0)
		request_end(rq, r, NULL);
	else
		request_deliver(rq);
}

/* The reply to a GET of a blob has ended well. */
static void take_blob_end(struct request *rq)
{
	bool to_the_end = rq->x.reply.status == 200 && rq->reply_end == UINT64_MAX;
	struct err err;

	if (rq->end != 0 && rq->pos >= rq->end) {
		request_end(rq, 0, NULL);
	} else if (rq->has_end ? rq->pos >= rq->end : to_the_end && rq->skip == 0) {
		if (!rq->object.has_size && to_the_end) { /* the reply's end is the blob's */
			rq->object.has_size = true;
			rq->object.size = rq->pos;
		}
		request_end(rq, 0, NULL);
	} else if (rq->x.reply.status == 206 && rq->pos >= rq->reply_end) {
		request_ask(rq); /* a range may be answered in part: the rest */
	} else {
		(void)broken(rq, EIO, "fewer bytes than were told");
		err = rq->err;
		request_failed_for_now(rq, -EIO, &err, /* at_once= */ true, 0);
	}
}

static void take_good(struct request *rq)
{
	if (is_whole_manifest(rq)) {
		take_manifest(rq);
	} else if (rq->q->op == REGISTRY_RESOLVE && !rq->announced) {
		rq->get = true; /* HEAD left the digest or the size out */
		request_ask(rq);
	} else if (rq->q->op == REGISTRY_RESOLVE || rq->q->op == REGISTRY_STAT ||
		   rq->q->op == REGISTRY_PING) {
		request_end(rq, 0, NULL);
	} else {
		take_blob_end(rq);
	}
}

/* Status 416: nothing at that offset. The end, when it is the end; of a blob of no bytes too. */
static void take_unsatisfiable(struct request *rq)
{
	const struct reply *p = &rq->x.reply;
	struct err err;

	if (p->has_range && !p->range.has_range && p->range.total == rq->pos &&
	    (!rq->has_end || rq->pos == rq->end) && take_object(rq, true, rq->pos) == 0) {
		int r = announce(rq);

		request_end(rq, r, NULL);
		return;
	}
	(void)broken(rq, EPROTO, "status 416: it says that it has less than it should");
	err = rq->err;
	err.detail = 416;
	request_failed_for_good(rq, -EPROTO, &err);
}

static void on_authorized(struct auth_wait *w, int r, const char *authorization,
			  uint64_t retry_after_ms, const struct err *err)
{
	struct request *rq =
		(struct request *)(void *)((char *)w - offsetof(struct request, auth_wait));

	(void)authorization; /* request_ask() finds it */
	if (r == 0)
		request_ask(rq);
	else if (r == -EACCES || r == -EPROTO)
		request_failed_for_good(rq, r, err);
	else
		request_failed_for_now(rq, r, err, /* at_once= */ false, retry_after_ms);
}

/* A challenge counts only from the host itself: not from where it has sent us. */
static void take_challenge(struct request *rq, const struct err *status)
{
	const struct host *h = request_host(rq);
	struct challenge c = rq->x.reply.challenge;
	struct err err = *status;
	int r;

	if (rq->x.at != NULL) {
		request_failed_for_now(rq, -EACCES, &err, /* at_once= */ true, 0);
		return;
	}
	if (c.scheme == CHALLENGE_NONE || rq->n_refused >= MAX_REFUSED) {
		request_failed_for_good(rq, -EACCES, &err);
		return;
	}
	rq->n_refused++;
	rq->auth_wait.done = on_authorized;
	r = auth_answer(rq->r->auth, rq->hosts, h, rq->q->repository, rq->scope, &c,
			rq->authorization, &rq->auth_wait, &err);
	if (r == 1)
		request_ask(rq);
	else if (r < 0)
		request_end(rq, r, &err);
}

/* A status that is neither success nor a challenge. */
static void take_status(struct request *rq, const struct err *err)
{
	int s = rq->x.reply.status;
	bool redirected = rq->x.at != NULL;

	if (s == 404 && rq->form + 1 < rq->n_forms && !rq->announced) {
		rq->form++;
		request_ask(rq);
	} else if (s == 404 || s == 410) {
		request_failed_for_good(rq, -ENOENT, err);
	} else if (rq->x.method == EXCHANGE_HEAD && (s == 400 || s == 405 || s == 501)) {
		rq->get = true;
		request_ask(rq);
	} else if (s == 403 && redirected) { /* a signature has expired on the way */
		request_failed_for_now(rq, -EACCES, err, /* at_once= */ true, 0);
	} else if (s == 403 || s == 407 || s == 451) {
		request_failed_for_good(rq, -EACCES, err);
	} else if (s == 408 || s == 425 || s == 429 || s >= 500) {
		request_failed_for_now(rq, -EIO, err, /* at_once= */ s == 408,
				       rq->x.reply.retry_after_ms);
	} else {
		request_failed_for_good(rq, -EPROTO, err);
	}
}

static void take_reply(struct request *rq)
{
	struct err err = {0};
	char what[300], reason[160];
	int s = rq->x.reply.status;

	if (is_good(&rq->x)) {
		take_good(rq);
		return;
	}
	if (s == 416 && rq->x.has_range) {
		take_unsatisfiable(rq);
		return;
	}
	exchange_describe(&rq->x, what, sizeof(what));
	exchange_reason(&rq->x, reason, sizeof(reason));
	(void)err_set(&err, EIO, "%s: status %d%s%s", what, s, *reason != '\0' ? ": " : "", reason);
	err.detail = s;
	if (s == 401)
		take_challenge(rq, &err);
	else
		take_status(rq, &err);
}

void request_on_done(struct exchange *x, int r, const struct err *err)
{
	struct request *rq = x->arg;
	struct err e = err != NULL ? *err : (struct err){0};

	if (r < 0 && rq->is_broken)
		e = rq->err; /* our own words for what our callbacks found */
	if (rq->asker_ended)
		request_end(rq, x->stopped, &e);
	else if (r == 0)
		take_reply(rq);
	else if (r == -ENOMEM || r == -EINVAL)
		request_end(rq, r, &e);
	else if (r == -EIO || r == -ETIMEDOUT)
		request_failed_for_now(rq, r, &e, /* at_once= */ r == -EIO, 0);
	else
		request_failed_for_good(rq, r, &e);
}
