#include "registry/step.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "registry/url.h"

#define MAX_REFUSED 2
#define FIRST_PAUSE_MS 200
#define STALLS 6 /* of the client's: a server may have to hash what it was sent */

static void ask(struct step *s);

void step_init(struct step *s, const char *host, const char *repository)
{
	memset(s, 0, sizeof(*s));
	s->host = host;
	s->repository = repository;
	s->body_fd = -1;
	exchange_init(&s->x);
	list_init(&s->auth_wait.node);
	list_init(&s->again.node);
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_cond_init(&s->ended_cond, NULL);
}

void step_done(struct step *s)
{
	(void)pthread_cond_destroy(&s->ended_cond);
	(void)pthread_mutex_destroy(&s->lock);
	free(s->location);
	s->location = NULL;
}

/* -- on the network thread ------------------------------------------------------------------- */

static void finish(struct step *s, int r, const struct err *err)
{
	exchange_stop(&s->x);
	s->hosts = host_list_unref(s->hosts);
	free(s->built_url);
	free(s->scope);
	free(s->authorization);
	s->built_url = s->scope = s->authorization = NULL;
	(void)pthread_mutex_lock(&s->lock);
	s->result = r;
	if (r < 0)
		s->err = *err;
	s->ended = true;
	(void)pthread_cond_signal(&s->ended_cond);
	(void)pthread_mutex_unlock(&s->lock);
}

static void on_again(struct timer *t)
{
	ask(list_entry(t, struct step, again));
}

static void retry(struct step *s, int r, const struct err *err, uint64_t retry_after_ms)
{
	uint64_t pause_ms =
		client_jitter(s->r, FIRST_PAUSE_MS << (s->n_fails < 6 ? s->n_fails : 6));

	if (s->once || ++s->n_fails >= s->r->max_attempts || retry_after_ms > s->r->deadline_ms) {
		finish(s, r, err);
		return;
	}
	STAT_ADD(s->r, retries, 1);
	exchange_stop(&s->x);
	s->again.fired = on_again;
	timer_set(s->r, &s->again,
		  clock_mono_ms() + (retry_after_ms > pause_ms ? retry_after_ms : pause_ms));
}

static void on_authorized(struct auth_wait *w, int r, const char *authorization,
			  uint64_t retry_after_ms, const struct err *err)
{
	struct step *s = (struct step *)(void *)((char *)w - offsetof(struct step, auth_wait));

	(void)authorization; /* ask() finds it */
	if (r == 0)
		ask(s);
	else if (r == -EIO || r == -ETIMEDOUT)
		retry(s, r, err, retry_after_ms);
	else
		finish(s, r, err);
}

static void take_challenge(struct step *s, const struct err *status)
{
	struct challenge c = s->x.reply.challenge;
	struct url_origin at;
	struct err err = *status;
	int r;

	if (c.scheme == CHALLENGE_NONE || s->n_refused >= MAX_REFUSED || s->x.at != NULL ||
	    url_origin(s->x.url, &at) < 0 || strcmp(at.s, s->to->origin.s) != 0) {
		finish(s, -EACCES, &err);
		return;
	}
	s->n_refused++;
	s->auth_wait.done = on_authorized;
	r = auth_answer(s->r->auth, s->hosts, s->to, s->repository, s->scope, &c, s->authorization,
			&s->auth_wait, &err);
	if (r == 1)
		ask(s);
	else if (r < 0)
		finish(s, r, &err);
}

/* Keep what the caller may want of the reply. Returns 0, -EPROTO or -ENOMEM. */
static int keep(struct step *s, struct err *err)
{
	const struct reply *p = &s->x.reply;
	int r = 0;

	s->status = p->status;
	s->chunk_min = p->chunk_min;
	(void)snprintf(s->upload_range, sizeof(s->upload_range), "%s", p->upload_range);
	(void)snprintf(s->digest, sizeof(s->digest), "%s", p->digest);
	free(s->location);
	s->location = NULL;
	if (p->location != NULL)
		r = url_join(s->x.url, p->location, &s->location);
	if (r == -ENOMEM)
		return err_set(err, ENOMEM, "out of memory");
	if (r < 0)
		return err_set(err, EPROTO, "%s: its Location is no URL", s->what);
	if (s->location != NULL && url_is_plain(s->location) && !url_is_plain(s->to->base))
		return err_set(err, EPROTO, "%s: its Location is plain HTTP", s->what);
	return 0;
}

static void on_done(struct exchange *x, int r, const struct err *err)
{
	struct step *s = x->arg;
	struct err e = {0};
	int status = x->reply.status;

	exchange_describe(x, s->what, sizeof(s->what));
	exchange_reason(x, s->reason, sizeof(s->reason));
	if (r == -EIO || r == -ETIMEDOUT) {
		retry(s, r, err, 0);
		return;
	}
	if (r < 0) {
		finish(s, r, err);
		return;
	}
	(void)err_set(&e, EIO, "%s: status %d%s%s", s->what, status, *s->reason != '\0' ? ": " : "",
		      s->reason);
	e.detail = status;
	if (status == 401) {
		e.code = EACCES;
		take_challenge(s, &e);
	} else if (status == 408 || status == 429 || status >= 500) {
		retry(s, -EIO, &e, x->reply.retry_after_ms);
	} else {
		r = keep(s, &e);
		finish(s, r, &e);
	}
}

static int make_url(struct step *s)
{
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, URL_MAX_BYTES);
	if (s->path == NULL)
		return 0;
	r = buf_printf(&b, "%s/%s/%s", s->to->base, s->repository, s->path);
	if (r == 0 && !s->to->named)
		r = url_add_query(&b, "ns", s->hosts->registry);
	if (r < 0)
		return r;
	free(s->built_url);
	s->built_url = buf_steal(&b);
	return s->built_url == NULL ? -ENOMEM : 0;
}

/* What we know to be wanted, where the request goes to the registry itself. */
static int set_authorization(struct step *s, const char *url)
{
	struct url_origin at;
	const char *known = NULL;

	free(s->authorization);
	s->authorization = NULL;
	if (url_origin(url, &at) == 0 && strcmp(at.s, s->to->origin.s) == 0)
		known = auth_known(s->r->auth, s->to, s->scope);
	if (known == NULL)
		return 0;
	s->authorization = strdup(known);
	return s->authorization == NULL ? -ENOMEM : 0;
}

static void ask(struct step *s)
{
	struct exchange *x = &s->x;
	struct err err = {0};
	const char *url = NULL;
	int r = make_url(s);

	if (r == 0) {
		url = s->path != NULL ? s->built_url : s->url;
		r = set_authorization(s, url);
	}
	exchange_stop(x);
	exchange_init(x);
	x->arg = s;
	x->method = s->method;
	x->url = url;
	x->host = s->to;
	x->authorization = s->authorization;
	x->content_type = s->content_type;
	x->content_range = s->content_range;
	x->body = s->body;
	x->body_fd = s->body_fd;
	x->body_offset = s->body_offset;
	x->body_len = s->body_len;
	x->stall_ms = STALLS * s->r->stall_ms;
	x->done = on_done;
	if (r == 0)
		r = exchange_start(s->r, x, &err);
	else
		(void)err_errno(&err, -r, "push to %s", s->to->name);
	if (r < 0)
		finish(s, r, &err);
}

static int choose_host(struct step *s, struct err *err)
{
	int r = 0;

	if (!url_is_path(s->repository, "._-/"))
		r = err_set(err, EINVAL, "\"%.100s\" is no repository", s->repository);
	else if (s->from != NULL && !url_is_path(s->from, "._-/"))
		r = err_set(err, EINVAL, "\"%.100s\" is no repository", s->from);
	else
		r = hosts_get(s->r->hosts, s->host, &s->hosts, err);

	for (size_t i = 0; r == 0 && i < s->hosts->n_hosts; i++)
		if ((s->hosts->hosts[i].caps & HOST_PUSH) != 0) {
			s->to = &s->hosts->hosts[i];
			return 0;
		}
	return r < 0 ? r : err_set(err, EACCES, "%s: no host that may be pushed to", s->host);
}

static void begin(struct post *p)
{
	struct step *s = list_entry(p, struct step, post);
	struct err err = {0};
	int r = choose_host(s, &err);

	if (r == 0) {
		int n = s->from != NULL
				? asprintf(&s->scope, "repository:%s:pull,push repository:%s:pull",
					   s->repository, s->from)
				: asprintf(&s->scope, "repository:%s:pull,push", s->repository);

		if (n < 0) {
			s->scope = NULL;
			r = err_set(&err, ENOMEM, "out of memory");
		}
	}
	if (r < 0)
		finish(s, r, &err);
	else
		ask(s);
}

/* -- the caller's ---------------------------------------------------------------------------- */

int step_run(struct registry *r, struct step *s, struct err *err)
{
	int k = client_begin(r);

	if (k < 0)
		return err_errno(err, -k, "start the network thread");
	s->r = r;
	s->ended = false;
	s->n_refused = s->n_fails = 0;
	s->reason[0] = '\0';
	s->post.run = begin;
	client_post(r, &s->post);
	(void)pthread_mutex_lock(&s->lock);
	while (!s->ended)
		(void)pthread_cond_wait(&s->ended_cond, &s->lock);
	(void)pthread_mutex_unlock(&s->lock);
	if (s->result < 0 && err != NULL)
		*err = s->err;
	return s->result;
}

int step_refused(const struct step *s, struct err *err)
{
	int code = EINVAL, r;

	if (s->status == 403)
		code = EACCES;
	else if (s->status == 404)
		code = ENOENT;
	else if (s->status == 405)
		code = EOPNOTSUPP;
	else if (s->status == 413)
		code = E2BIG;
	r = err_set(err, code, "%s: status %d%s%s", s->what, s->status,
		    *s->reason != '\0' ? ": " : "", s->reason);
	if (err != NULL)
		err->detail = s->status;
	return r;
}
