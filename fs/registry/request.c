#include "registry/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "oci/manifest.h"
#include "oci/mediatype.h"
#include "registry/url.h"

#define PROGRESS_BYTES 65536 /* so much is worth another try at the same host */
#define FIRST_PAUSE_MS 200
#define MAX_PAUSE_MS 10000

static void on_wake(struct timer *t);
static void on_deadline(struct timer *t);

struct request *request_new(struct registry *r, struct registry_request *q)
{
	struct request *rq = calloc(1, sizeof(*rq));

	if (rq == NULL)
		return NULL;
	rq->r = r;
	rq->q = q;
	list_init(&rq->node);
	list_init(&rq->touched);
	list_init(&rq->wake.node);
	list_init(&rq->deadline.node);
	list_init(&rq->auth_wait.node);
	rq->wake.fired = on_wake;
	rq->deadline.fired = on_deadline;
	exchange_init(&rq->x);
	buf_init(&rq->whole, MANIFEST_MAX_BYTES);
	return rq;
}

void request_end(struct request *rq, int r, const struct err *err)
{
	struct registry_request *q = rq->q;
	struct registry_object object = rq->object;
	bool has_object = rq->has_object;
	struct err e = {0};

	if (r < 0 && err != NULL)
		e = *err;
	timer_clear(&rq->wake);
	timer_clear(&rq->deadline);
	auth_wait_cancel(&rq->auth_wait);
	exchange_stop(&rq->x);
	(void)pthread_mutex_lock(&rq->r->lock);
	list_del(&rq->node);
	list_del(&rq->touched);
	q->impl = NULL;
	(void)pthread_mutex_unlock(&rq->r->lock);
	(void)__atomic_sub_fetch(&rq->r->stats.active, 1, __ATOMIC_RELAXED);
	host_list_unref(rq->hosts);
	buf_done(&rq->whole);
	free(rq->turns);
	free(rq->scope);
	free(rq->url);
	free(rq->authorization);
	free(rq);
	q->done(q, r, has_object ? &object : NULL, r < 0 ? &e : NULL);
}

/* What was asked for, in front of a reason that does not name it. */
static void end_with(struct request *rq, int r, const struct err *why)
{
	struct err err = *why;

	(void)err_wrap(&err, r, "%s/%s %s", rq->q->host, rq->q->repository, rq->q->object);
	request_end(rq, r, &err);
}

void request_cancel(struct request *rq)
{
	struct err err = {0};

	(void)err_set(&err, ECANCELED, "cancelled");
	request_end(rq, -ECANCELED, &err);
}

void request_resume(struct request *rq)
{
	rq->progress_ms = clock_mono_ms();
	if (rq->delivering)
		request_deliver(rq);
	else
		exchange_resume(&rq->x);
}

const struct host *request_host(const struct request *rq)
{
	return &rq->hosts->hosts[rq->at];
}

/* -- beginning ----------------------------------------------------------------------------- */

static int check(struct request *rq, struct err *err)
{
	struct registry_request *q = rq->q;
	int r = strchr(q->object, ':') != NULL ? digest_parse(q->object, &rq->digest, err) : 1;

	if (q->op == REGISTRY_PING)
		return 0;
	if (!url_is_path(q->repository, "._-/"))
		return err_set(err, EINVAL, "\"%.100s\" is no repository", q->repository);
	if (!url_is_path(q->object, "._-:"))
		return err_set(err, EINVAL, "\"%.100s\" is no tag or digest", q->object);
	if (r < 0)
		return -EINVAL;
	rq->is_digest = r == 0;
	if (!rq->is_digest &&
	    (q->op == REGISTRY_BLOB || q->op == REGISTRY_ANY || q->op == REGISTRY_STAT))
		return err_set(err, EINVAL, "\"%.100s\" is no digest", q->object);
	if (q->mediatype != NULL && !mediatype_is_valid(q->mediatype))
		return err_set(err, EINVAL, "\"%.100s\" is no media type", q->mediatype);
	if (q->size > 0 && q->offset > q->size)
		return err_set(err, EINVAL, "offset %llu of %llu bytes",
			       (unsigned long long)q->offset, (unsigned long long)q->size);
	return 0;
}

static void choose_forms(struct request *rq)
{
	const char *type = rq->q->mediatype;
	bool manifest_first =
		type != NULL && (mediatype_is_manifest(type) || mediatype_is_index(type));

	switch (rq->q->op) {
	case REGISTRY_RESOLVE:
	case REGISTRY_MANIFEST:
		rq->forms[rq->n_forms++] = FORM_MANIFEST;
		break;
	case REGISTRY_BLOB:
	case REGISTRY_PING:
		rq->forms[rq->n_forms++] = FORM_BLOB;
		break;
	case REGISTRY_STAT:
	case REGISTRY_ANY:
		rq->forms[rq->n_forms++] = manifest_first ? FORM_MANIFEST : FORM_BLOB;
		rq->forms[rq->n_forms++] = manifest_first ? FORM_BLOB : FORM_MANIFEST;
		break;
	}
}

/* Whether the blank separated list holds the word. */
static bool holds(const char *list, const char *word)
{
	size_t n = strlen(word);

	while (list != NULL && *list != '\0') {
		size_t len = strcspn(list, " ");

		if (len == n && strncasecmp(list, word, n) == 0)
			return true;
		list += len + (list[len] == ' ');
	}
	return false;
}

/* Those that may be asked this, in their order. Returns 0 or -EIO: none. */
static int choose_hosts(struct request *rq, struct err *err)
{
	unsigned int want = rq->is_digest ? HOST_PULL : HOST_RESOLVE;
	size_t n = 0;

	rq->turns = calloc(rq->hosts->n_hosts, sizeof(*rq->turns));
	if (rq->turns == NULL)
		return err_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < rq->hosts->n_hosts; i++) {
		const struct host *h = &rq->hosts->hosts[i];

		rq->turns[i].out = (h->caps & want) == 0 || holds(rq->q->avoid, h->name) ||
				   (rq->q->op == REGISTRY_PING && !h->named);
		if (!rq->turns[i].out && n++ == 0)
			rq->at = i;
	}
	return n > 0 ? 0 : err_set(err, EIO, "no host is left to be asked");
}

static int prepare(struct request *rq, struct err *err)
{
	struct registry_request *q = rq->q;
	int r = check(rq, err);

	if (r == 0)
		r = hosts_get(rq->r->hosts, q->host, &rq->hosts, err);
	if (r == 0)
		r = choose_hosts(rq, err);
	if (r < 0)
		return r;
	if (q->op == REGISTRY_PING) {
		rq->scope = strdup("");
		if (rq->scope == NULL)
			return err_set(err, ENOMEM, "out of memory");
	} else if (asprintf(&rq->scope, "repository:%s:pull", q->repository) < 0) {
		rq->scope = NULL;
		return err_set(err, ENOMEM, "out of memory");
	}
	choose_forms(rq);
	rq->pos = q->offset;
	rq->has_end = q->size > 0;
	rq->end = q->size;
	if (q->length > 0 && (q->size == 0 || q->length < q->size - q->offset) &&
	    __builtin_add_overflow(q->offset, q->length, &rq->end))
		rq->end = UINT64_MAX;
	rq->object.digest = rq->digest;
	rq->object.has_digest = rq->is_digest;
	rq->progress_ms = clock_mono_ms();
	return 0;
}

void request_begin(struct request *rq)
{
	struct err err = {0};
	int r = prepare(rq, &err);

	if (r < 0) {
		end_with(rq, r, &err);
		return;
	}
	timer_set(rq->r, &rq->deadline, clock_mono_ms()); /* which reckons */
	request_ask(rq);
}

/* -- asking -------------------------------------------------------------------------------- */

static int make_url(struct request *rq)
{
	const struct host *h = request_host(rq);
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, URL_MAX_BYTES);
	if (rq->q->op == REGISTRY_PING)
		r = buf_printf(&b, "%s/", h->base);
	else
		r = buf_printf(&b, "%s/%s/%s/%s", h->base, rq->q->repository,
			       rq->forms[rq->form] == FORM_BLOB ? "blobs" : "manifests",
			       rq->q->object);
	if (r == 0 && !h->named)
		r = url_add_query(&b, "ns", rq->hosts->registry);
	if (r < 0)
		return r;
	free(rq->url);
	rq->url = buf_steal(&b);
	return rq->url == NULL ? -ENOMEM : 0;
}

static bool wants_head(const struct request *rq)
{
	return !rq->get && (rq->q->op == REGISTRY_RESOLVE || rq->q->op == REGISTRY_STAT);
}

/* Not for all of it: a reply without Content-Range is easier to serve and to cache. */
static bool wants_range(const struct request *rq)
{
	uint64_t size = rq->q->size > 0 ? rq->q->size : rq->object.size;

	return rq->pos > 0 || (rq->end != 0 && (size == 0 || rq->end < size));
}

static int set_authorization(struct request *rq)
{
	const char *s = auth_known(rq->r->auth, request_host(rq), rq->scope);

	free(rq->authorization);
	rq->authorization = NULL;
	if (s == NULL)
		return 0;
	rq->authorization = strdup(s);
	return rq->authorization == NULL ? -ENOMEM : 0;
}

void request_ask(struct request *rq)
{
	struct exchange *x = &rq->x;
	bool manifest = rq->forms[rq->form] == FORM_MANIFEST;
	cleanup_free char *accept = NULL;
	struct err err = {0};
	int r = make_url(rq);

	rq->turns[rq->at].tried = true;
	if (r == 0)
		r = set_authorization(rq);
	exchange_stop(x);
	exchange_init(x);
	x->arg = rq;
	x->method = wants_head(rq) ? EXCHANGE_HEAD : EXCHANGE_GET;
	x->url = rq->url;
	x->host = request_host(rq);
	x->authorization = rq->authorization;
	if (r == 0 && manifest) {
		if (rq->q->mediatype != NULL &&
		    asprintf(&accept, "%s, */*", rq->q->mediatype) < 0) {
			accept = NULL;
			r = -ENOMEM;
		}
		x->accept = accept != NULL ? accept : MEDIATYPE_ACCEPT;
	}
	x->has_range = !manifest && x->method == EXCHANGE_GET && wants_range(rq);
	x->range_first = rq->pos;
	x->range_last = rq->end != 0 ? rq->end - 1 : UINT64_MAX;
	x->no_plain = !rq->is_digest;
	x->max_bytes_per_s = rq->q->max_bytes_per_s;
	x->head = request_on_head;
	x->data = request_on_data;
	x->done = request_on_done;
	rq->whole.len = 0;
	rq->skip = rq->attempt_bytes = 0;
	rq->is_broken = false;
	if (r == 0)
		r = exchange_start(rq->r, x, &err);
	else
		(void)err_errno(&err, -r, "request");
	if (r < 0)
		end_with(rq, r, &err);
}

/* -- the next host, the next round --------------------------------------------------------- */

static bool is_soon(uint64_t a_ms, unsigned int a_fails, uint64_t b_ms, unsigned int b_fails)
{
	return a_ms != b_ms ? a_ms < b_ms : a_fails < b_fails;
}

/* The live host that may be asked first: those behind the current one before those in front. */
static bool find_next(const struct request *rq, bool untried, uint64_t now_ms, size_t *ret)
{
	size_t n = rq->hosts->n_hosts;
	bool found = false;
	uint64_t best_ms = 0;

	for (size_t k = 1; k <= n; k++) {
		size_t i = (rq->at + k) % n;
		const struct turn *t = &rq->turns[i];
		uint64_t ms = t->not_before_ms > now_ms ? t->not_before_ms : now_ms;

		if (t->out || (untried && (t->tried || ms > now_ms)))
			continue;
		if (!found || is_soon(ms, t->fails, best_ms, rq->turns[*ret].fails)) {
			found = true;
			best_ms = ms;
			*ret = i;
		}
	}
	return found;
}

static void go_to(struct request *rq, size_t i)
{
	if (i != rq->at)
		STAT_ADD(rq->r, failovers, 1);
	if (i != rq->at && !rq->announced)
		rq->form = 0;
	rq->at = i;
	rq->get = false;
	rq->n_refused = 0;
	request_ask(rq);
}

static void on_wake(struct timer *t)
{
	struct request *rq = list_entry(t, struct request, wake);
	size_t i = rq->at;

	for (size_t k = 0; k < rq->hosts->n_hosts; k++)
		rq->turns[k].tried = false;
	if (find_next(rq, /* untried= */ false, clock_mono_ms(), &i))
		go_to(rq, i);
}

/* When it must have ended, as things stand. */
static uint64_t deadline_of(const struct request *rq)
{
	uint64_t ms = rq->progress_ms + rq->r->deadline_ms;

	return rq->q->deadline_ms > 0 ? rq->q->deadline_ms : ms;
}

static void end_late(struct request *rq)
{
	struct err err = rq->err;

	if (rq->last < 0) {
		(void)err_wrap(&err, -ETIMEDOUT, "deadline passed");
		request_end(rq, -ETIMEDOUT, &err);
		return;
	}
	(void)err_set(&err, ETIMEDOUT, "deadline passed");
	end_with(rq, -ETIMEDOUT, &err);
}

static void on_deadline(struct timer *t)
{
	struct request *rq = list_entry(t, struct request, deadline);
	uint64_t now_ms = clock_mono_ms();

	if (rq->x.paused || rq->delivering) /* the asker's time, not the host's */
		rq->progress_ms = now_ms;
	if (now_ms >= deadline_of(rq))
		end_late(rq);
	else
		timer_set(rq->r, t, deadline_of(rq));
}

/* No host is left: the registry's own word counts more than that of a mirror. */
static void give_up(struct request *rq)
{
	if (rq->has_verdict)
		request_end(rq, rq->verdict, &rq->verdict_err);
	else
		request_end(rq, rq->last, &rq->err);
}

static void next_host(struct request *rq)
{
	uint64_t now_ms = clock_mono_ms(), pause_ms = FIRST_PAUSE_MS, due_ms;
	size_t i = rq->at;

	exchange_stop(&rq->x);
	if (find_next(rq, /* untried= */ true, now_ms, &i)) {
		go_to(rq, i);
		return;
	}
	if (!find_next(rq, /* untried= */ false, now_ms, &i)) {
		give_up(rq);
		return;
	}
	for (unsigned int k = 0; k < rq->round && pause_ms < MAX_PAUSE_MS; k++)
		pause_ms *= 2;
	rq->round++;
	due_ms = now_ms + client_jitter(rq->r, pause_ms < MAX_PAUSE_MS ? pause_ms : MAX_PAUSE_MS);
	if (rq->turns[i].not_before_ms > due_ms)
		due_ms = rq->turns[i].not_before_ms + client_jitter(rq->r, FIRST_PAUSE_MS / 4);
	if (due_ms >= deadline_of(rq)) {
		end_late(rq); /* no use in waiting for what comes too late */
		return;
	}
	timer_set(rq->r, &rq->wake, due_ms);
}

static void note(struct request *rq, int r, const struct err *err)
{
	rq->last = r;
	rq->err = *err;
	rq->err.code = -r;
	if (rq->q->trouble != NULL)
		rq->q->trouble(rq->q, &rq->err);
}

void request_failed_for_good(struct request *rq, int r, const struct err *err)
{
	note(rq, r, err);
	rq->turns[rq->at].out = true;
	if (request_host(rq)->named && (r == -ENOENT || r == -EACCES)) {
		rq->has_verdict = true;
		rq->verdict = r;
		rq->verdict_err = rq->err;
	}
	next_host(rq);
}

void request_failed_for_now(struct request *rq, int r, const struct err *err, bool at_once,
			    uint64_t retry_after_ms)
{
	struct turn *t = &rq->turns[rq->at];
	bool progress = rq->attempt_bytes >= PROGRESS_BYTES;

	note(rq, r, err);
	STAT_ADD(rq->r, retries, 1);
	t->fails = progress ? 0 : t->fails + 1;
	t->out = t->fails >= rq->r->max_attempts;
	t->not_before_ms = retry_after_ms > 0 ? clock_mono_ms() + retry_after_ms : 0;
	if (progress)
		rq->round = 0;
	if (!t->out && at_once && (progress || t->fails == 1))
		request_ask(rq);
	else
		next_host(rq);
}
