#include "registry/auth.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/workqueue.h"
#include "registry/credentials.h"
#include "registry/exchange.h"
#include "registry/token_reply.h"

#define MAX_GRANTS 1024
#define BASIC_LIFE_MS 300000 /* then the file or helper is asked again */
#define MAX_FORM_BYTES ((size_t)256 << 10)

/* One host's answer for one scope: what it was, or being had. */
struct grant {
	struct auth *auth;
	char *key; /* origin, scope */
	char *scope;
	char *authorization; /* NULL: none yet, or refused */
	uint64_t expires_ms;
	struct list waiters; /* of struct auth_wait */
	bool asking;

	/* While asking. */
	struct host_list *hosts;
	const struct host *host;
	char *repository;
	struct challenge challenge;
	struct work work; /* finds the credentials */
	struct post post; /* brings them back */
	struct credential credential;
	int credential_r; /* of finding it */
	struct err credential_err;
	struct exchange x;
	struct buf reply;
	char *url, *form, *basic;
};

struct auth {
	struct registry *r;
	struct map grants;
};

int auth_new(struct registry *r, struct auth **ret)
{
	struct auth *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return -ENOMEM;
	a->r = r;
	map_init(&a->grants);
	*ret = a;
	return 0;
}

static void wipe(char **s)
{
	if (*s != NULL)
		OPENSSL_cleanse(*s, strlen(*s));
	free(*s);
	*s = NULL;
}

/* What only asking needs. */
static void settle(struct grant *g)
{
	g->asking = false;
	exchange_stop(&g->x);
	if (g->reply.cap > 0)
		OPENSSL_cleanse(g->reply.data, g->reply.len);
	buf_done(&g->reply);
	credential_done(&g->credential);
	wipe(&g->form);
	wipe(&g->basic);
	free(g->url);
	free(g->repository);
	g->url = g->repository = NULL;
	g->hosts = host_list_unref(g->hosts);
	g->host = NULL;
}

static void grant_free(struct grant *g)
{
	settle(g);
	wipe(&g->authorization);
	free(g->scope);
	free(g->key);
	free(g);
}

struct auth *auth_free(struct auth *a)
{
	struct grant *g;
	size_t pos = 0;

	if (a == NULL)
		return NULL;
	while ((g = map_next(&a->grants, &pos)) != NULL)
		grant_free(g);
	map_done(&a->grants);
	free(a);
	return NULL;
}

static struct grant *find(struct auth *a, const struct host *h, const char *scope)
{
	cleanup_free char *key = NULL;

	if (asprintf(&key, "%s %s", h->origin.s, scope) < 0) {
		key = NULL;
		return NULL;
	}
	return map_get(&a->grants, key, strlen(key));
}

static bool is_alive(const struct grant *g)
{
	return g->authorization != NULL && clock_mono_ms() < g->expires_ms;
}

const char *auth_known(struct auth *a, const struct host *h, const char *scope)
{
	const struct grant *g = find(a, h, scope);

	return g != NULL && is_alive(g) ? g->authorization : NULL;
}

/* Make room: one that nobody waits for, dead ones first. */
static void drop_one(struct auth *a)
{
	struct grant *g, *idle = NULL;
	size_t pos = 0;

	while ((g = map_next(&a->grants, &pos)) != NULL) {
		if (g->asking)
			continue;
		idle = g;
		if (!is_alive(g))
			break;
	}
	if (idle == NULL)
		return;
	(void)map_del(&a->grants, idle->key, strlen(idle->key));
	grant_free(idle);
}

static struct grant *find_or_add(struct auth *a, const struct host *h, const char *scope)
{
	struct grant *g = find(a, h, scope);

	if (g != NULL)
		return g;
	if (a->grants.n_used >= MAX_GRANTS)
		drop_one(a);
	g = calloc(1, sizeof(*g));
	if (g == NULL)
		return NULL;
	g->auth = a;
	list_init(&g->waiters);
	exchange_init(&g->x);
	buf_init(&g->reply, 2 * TOKEN_MAX_BYTES);
	g->scope = strdup(scope);
	if (asprintf(&g->key, "%s %s", h->origin.s, scope) < 0)
		g->key = NULL;
	if (g->scope == NULL || g->key == NULL ||
	    map_put(&a->grants, g->key, strlen(g->key), g) < 0) {
		grant_free(g);
		return NULL;
	}
	return g;
}

/* It is decided: tell who waits. g may be asked for again by them. */
static void tell(struct grant *g, int r, uint64_t retry_after_ms, const struct err *err)
{
	cleanup_free char *authorization = NULL;
	struct err short_of;
	struct list told;

	settle(g);
	if (r == 0) {
		authorization = strdup(g->authorization);
		if (authorization == NULL) {
			r = err_set(&short_of, ENOMEM, "out of memory");
			err = &short_of;
		}
	}
	list_init(&told);
	if (!list_empty(&g->waiters)) { /* g may be freed while they are told */
		told = g->waiters;
		told.next->prev = told.prev->next = &told;
		list_init(&g->waiters);
	}
	while (!list_empty(&told)) {
		struct auth_wait *w = list_entry(told.next, struct auth_wait, node);

		list_del(&w->node);
		w->done(w, r, authorization, retry_after_ms, err);
	}
	if (authorization != NULL)
		OPENSSL_cleanse(authorization, strlen(authorization));
}

/* text: "Basic ..." or "Bearer ...", ours now; NULL: memory was short. */
static void granted(struct grant *g, char *text, uint64_t life_ms)
{
	struct err err = {0};

	wipe(&g->authorization);
	g->authorization = text;
	/* Somewhat early, so that none expires on its way. */
	g->expires_ms = clock_mono_ms() + life_ms - (life_ms < 100000 ? life_ms / 10 : 10000);
	if (text == NULL)
		tell(g, err_set(&err, ENOMEM, "out of memory"), 0, &err);
	else
		tell(g, 0, 0, NULL);
}

static void refused(struct grant *g, int r, uint64_t retry_after_ms, struct err *err)
{
	/* Without credentials: say also why there were none. */
	if (r == -EACCES && g->credential_r < 0) {
		struct err whole = {0};

		(void)err_set(&whole, EACCES, "%s (%s)", err->msg, g->credential_err.msg);
		whole.detail = err->detail;
		tell(g, r, retry_after_ms, &whole);
		return;
	}
	tell(g, r, retry_after_ms, err);
}

/* RFC 7617 */
static char *make_basic(const struct credential *c)
{
	cleanup_free char *pair = NULL;
	char *out;
	int n = asprintf(&pair, "%s:%s", c->user, c->password != NULL ? c->password : "");

	if (n < 0) {
		pair = NULL;
		return NULL;
	}
	out = malloc(6 + ((size_t)n + 2) / 3 * 4 + 1);
	if (out != NULL) {
		memcpy(out, "Basic ", 6);
		(void)EVP_EncodeBlock((unsigned char *)out + 6, (unsigned char *)pair, n);
	}
	OPENSSL_cleanse(pair, (size_t)n);
	return out;
}

/* -- the token server ------------------------------------------------------------------------ */

/* Whether the blank separated list holds the word of n bytes. */
static bool holds(const char *list, const char *word, size_t n)
{
	for (list += strspn(list, " "); *list != '\0'; list += strspn(list, " ")) {
		size_t len = strcspn(list, " ");

		if (len == n && memcmp(list, word, n) == 0)
			return true;
		list += len;
	}
	return false;
}

/* Each word of list that out does not hold yet. */
static int add_scopes(struct buf *out, const char *list)
{
	int r = 0;

	for (list += strspn(list, " "); r == 0 && *list != '\0'; list += strspn(list, " ")) {
		size_t len = strcspn(list, " ");

		if (!holds(out->data, list, len)) {
			r = out->len > 0 ? buf_puts(out, " ") : 0;
			if (r == 0)
				r = buf_add(out, list, len);
		}
		list += len;
	}
	return r;
}

/* What we are after, and what the challenge names beside it. */
static int all_scopes(const struct grant *g, struct buf *out)
{
	int r = add_scopes(out, g->scope);

	return r < 0 ? r : add_scopes(out, g->challenge.scope);
}

/* realm?service=...&scope=...&scope=... */
static int make_url(struct grant *g)
{
	cleanup_buf struct buf b, scopes;
	char *word, *save = NULL;
	int r;

	buf_init(&b, URL_MAX_BYTES);
	buf_init(&scopes, URL_MAX_BYTES);
	r = all_scopes(g, &scopes);
	if (r == 0)
		r = buf_puts(&b, g->challenge.realm);
	if (r == 0 && g->challenge.service[0] != '\0')
		r = url_add_query(&b, "service", g->challenge.service);
	for (word = strtok_r(scopes.data, " ", &save); r == 0 && word != NULL;
	     word = strtok_r(NULL, " ", &save))
		r = url_add_query(&b, "scope", word);
	if (r == 0 && g->basic != NULL && g->credential.user != NULL)
		r = url_add_query(&b, "account", g->credential.user);
	if (r < 0)
		return r;
	free(g->url);
	g->url = buf_steal(&b);
	return g->url == NULL ? -ENOMEM : 0;
}

static int add_field(struct buf *b, const char *name, const char *value)
{
	int r = buf_printf(b, "%s%s=", b->len > 0 ? "&" : "", name);

	return r < 0 ? r : url_escape(b, value);
}

/* RFC 6749 sections 4.3.2 and 6 */
static int make_form(struct grant *g)
{
	const struct credential *c = &g->credential;
	cleanup_buf struct buf b, scopes;
	int r;

	buf_init(&b, MAX_FORM_BYTES);
	buf_init(&scopes, MAX_FORM_BYTES);
	r = all_scopes(g, &scopes);
	if (r == 0)
		r = add_field(&b, "grant_type",
			      c->identity_token != NULL ? "refresh_token" : "password");
	if (r == 0)
		r = add_field(&b, "service", g->challenge.service);
	if (r == 0)
		r = add_field(&b, "client_id", "contentfs");
	if (r == 0)
		r = add_field(&b, "scope", scopes.data);
	if (r == 0 && c->identity_token != NULL) {
		r = add_field(&b, "refresh_token", c->identity_token);
	} else if (r == 0) {
		r = add_field(&b, "username", c->user);
		if (r == 0)
			r = add_field(&b, "password", c->password != NULL ? c->password : "");
	}
	if (r < 0)
		return r;
	wipe(&g->form);
	g->form = buf_steal(&b);
	return g->form == NULL ? -ENOMEM : 0;
}

static int on_token_data(struct exchange *x, const void *p, size_t n)
{
	struct grant *g = x->arg;

	return buf_add(&g->reply, p, n) == 0 ? 0 : -EPROTO;
}

static void ask_server(struct grant *g, bool post);

/*
 * The server knows no GET: it has not looked at the password, so that this is the first try of it.
 * The other way round that could not be told: some that know no POST answer it with 401.
 */
static bool wants_post(const struct grant *g)
{
	int s = g->x.reply.status;

	return g->x.method == EXCHANGE_GET && g->credential.user != NULL && (s == 404 || s == 405);
}

static void on_token(struct exchange *x, int r, const struct err *err)
{
	struct grant *g = x->arg;
	struct err e = err != NULL ? *err : (struct err){0};
	char what[300], reason[200], *token = NULL, *text = NULL;
	uint64_t life_ms = 0;

	if (r < 0) {
		refused(g, r, 0, &e);
		return;
	}
	if (wants_post(g)) {
		ask_server(g, /* post= */ true);
		return;
	}
	exchange_describe(x, what, sizeof(what));
	exchange_reason(x, reason, sizeof(reason));
	if (x->reply.status == 200) {
		r = token_reply_parse(g->reply.data, g->reply.len, &token, &life_ms, &e);
		if (r < 0) {
			refused(g, err_wrap(&e, r, "%s", what), 0, &e);
			return;
		}
		if (asprintf(&text, "Bearer %s", token) < 0)
			text = NULL;
		wipe(&token);
		granted(g, text, life_ms);
		return;
	}
	if (x->reply.status == 401 || x->reply.status == 403)
		r = err_set(&e, EACCES, "%s: status %d%s%s", what, x->reply.status,
			    *reason != '\0' ? ": " : "", reason);
	else if (x->reply.status == 429 || x->reply.status >= 500)
		r = err_set(&e, EIO, "%s: status %d", what, x->reply.status);
	else
		r = err_set(&e, EPROTO, "%s: status %d", what, x->reply.status);
	e.detail = x->reply.status;
	refused(g, r, x->reply.retry_after_ms, &e);
}

static void ask_server(struct grant *g, bool post)
{
	struct err err = {0};
	int r = 0;

	if (!post && g->credential.user != NULL && g->basic == NULL) {
		g->basic = make_basic(&g->credential);
		r = g->basic == NULL ? -ENOMEM : 0;
	}
	if (r == 0)
		r = post ? make_form(g) : make_url(g);
	g->reply.len = 0;
	exchange_stop(&g->x);
	exchange_init(&g->x);
	g->x.arg = g;
	g->x.method = post ? EXCHANGE_POST : EXCHANGE_GET;
	g->x.url = post ? g->challenge.realm : g->url;
	g->x.host = g->host;
	g->x.authorization = post ? NULL : g->basic;
	g->x.accept = "application/json";
	g->x.no_plain = true; /* what comes is a secret, too */
	if (post) {
		g->x.content_type = "application/x-www-form-urlencoded";
		g->x.body = g->form;
		g->x.body_len = g->form != NULL ? strlen(g->form) : 0;
	}
	g->x.data = on_token_data;
	g->x.done = on_token;
	if (r == 0)
		r = exchange_start(g->auth->r, &g->x, &err);
	else
		(void)err_errno(&err, -r, "token request");
	if (r < 0) {
		refused(g, r == -EINVAL ? -EPROTO : r, 0, &err);
		return;
	}
	STAT_ADD(g->auth->r, tokens, 1);
}

/* -- credentials ----------------------------------------------------------------------------- */

static void use_credentials(struct grant *g)
{
	const struct credential *c = &g->credential;
	bool any = c->user != NULL || c->identity_token != NULL;
	struct err err = {0};
	char *text = NULL;

	if (g->challenge.scheme == CHALLENGE_BASIC) {
		if (c->user != NULL)
			granted(g, make_basic(c), BASIC_LIFE_MS);
		else
			refused(g,
				err_set(&err, EACCES, "%s wants a user and a password",
					g->host->name),
				0, &err);
		return;
	}
	if (c->bearer != NULL) {
		if (asprintf(&text, "Bearer %s", c->bearer) < 0)
			text = NULL;
		granted(g, text, BASIC_LIFE_MS);
		return;
	}
	if (any && url_is_plain(g->challenge.realm) && !url_is_plain(g->host->base)) {
		refused(g,
			err_set(&err, EACCES,
				"%s wants its password sent to \"%.100s\", over plain HTTP",
				g->host->name, g->challenge.realm),
			0, &err);
		return;
	}
	ask_server(g, /* post= */ c->identity_token != NULL);
}

static void on_credentials(struct post *p)
{
	use_credentials(list_entry(p, struct grant, post));
}

/* "USER:PASSWORD" of the command line, for the registry that it names and no mirror. */
static int take_named(const char *text, struct credential *ret)
{
	size_t n = strcspn(text, ":");

	ret->user = strndup(text, n);
	ret->password = strdup(text[n] == ':' ? text + n + 1 : "");
	if (ret->user == NULL || ret->password == NULL) {
		credential_done(ret);
		return -ENOMEM;
	}
	return 0;
}

/* On a worker: files and programs take their time. */
static void find_credentials(struct work *w)
{
	struct grant *g = list_entry(w, struct grant, work);
	struct registry *r = g->auth->r;

	g->credential_err = (struct err){0};
	if (g->host->named && r->named_credentials != NULL)
		g->credential_r = take_named(r->named_credentials, &g->credential);
	else
		g->credential_r = credentials_find(r->credentials, g->host->name, g->repository,
						   &g->credential, &g->credential_err);
	client_post(r, &g->post);
}

int auth_answer(struct auth *a, struct host_list *hosts, const struct host *h,
		const char *repository, const char *scope, const struct challenge *c,
		const char *refused_one, struct auth_wait *w, struct err *err)
{
	struct grant *g = find_or_add(a, h, scope);

	if (g == NULL)
		return err_set(err, ENOMEM, "out of memory");
	/* Another request may have brought a better one meanwhile. */
	if (is_alive(g) && (refused_one == NULL || strcmp(refused_one, g->authorization) != 0))
		return 1;
	list_add_tail(&g->waiters, &w->node);
	if (g->asking)
		return 0;
	g->asking = true;
	g->hosts = host_list_ref(hosts);
	g->host = h;
	g->challenge = *c;
	g->post.run = on_credentials;
	g->work.run = find_credentials;
	g->repository = strdup(repository);
	if (g->repository == NULL) {
		auth_wait_cancel(w);
		settle(g);
		return err_set(err, ENOMEM, "out of memory");
	}
	wipe(&g->authorization);
	workqueue_add(a->r->workers, &g->work);
	return 0;
}

void auth_wait_cancel(struct auth_wait *w)
{
	list_del(&w->node);
}
