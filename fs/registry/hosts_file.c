/* What a hosts.toml says: keys, their types, the order of its hosts. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "registry/hosts_private.h"
#include "registry/toml.h"

#define MAX_HOSTS 64
#define MAX_HEADERS 64

static bool is_registry_name(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n < 256 && *s != '.' &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]") ==
		       n;
}

/*
 * Set base, name and origin from a URL whose path has been settled. docker.io is answered by
 * registry-1.docker.io: no mirror, though the names differ.
 */
static int set_base(struct host *h, const char *url, const char *registry, struct err *err)
{
	const char *authority = strstr(url, "://");
	size_t len;

	if (authority == NULL || url_origin(url, &h->origin) < 0 || strpbrk(url, "?#") != NULL)
		return err_set(err, EINVAL, "\"%.200s\" is no http or https URL of a host", url);
	authority += 3;
	len = strcspn(authority, "/");
	if (len == 0) /* libcurl forgives "https:///x" */
		return err_set(err, EINVAL, "\"%.200s\" is no http or https URL of a host", url);
	h->base = strdup(url);
	h->name = strndup(authority, len);
	if (h->base == NULL || h->name == NULL)
		return err_set(err, ENOMEM, "out of memory");
	h->named = strcasecmp(h->name, registry) == 0 ||
		   (strcmp(registry, "docker.io") == 0 &&
		    strcasecmp(h->name, "registry-1.docker.io") == 0);
	return 0;
}

int hosts_set_default(struct host *h, const char *registry, struct err *err)
{
	char url[320];
	const char *name = strcmp(registry, "docker.io") == 0 ? "registry-1.docker.io" : registry;
	/* Whoever filed certificates for a loopback address speaks TLS on it. */
	bool plain = url_is_loopback(registry) && h->n_cas == 0 && h->client_cert == NULL;

	(void)snprintf(url, sizeof(url), "%s://%s/v2", plain ? "http" : "https", name);
	return set_base(h, url, registry, err);
}

/* A server as it is written: "https://" and "/v2" may be missing. */
static int set_server(struct host *h, const char *server, bool override_path, const char *registry,
		      struct err *err)
{
	char url[1100];
	const char *scheme = strstr(server, "://") != NULL ? "" : "https://";
	size_t n;

	if (strlen(server) > 1024)
		return err_set(err, EINVAL, "the URL of a host is too long");
	(void)snprintf(url, sizeof(url), "%s%s", scheme, server);
	for (n = strlen(url); n > 0 && url[n - 1] == '/'; n--)
		url[n - 1] = '\0';
	if (!override_path && (n < 3 || strcmp(url + n - 3, "/v2") != 0))
		(void)snprintf(url + n, sizeof(url) - n, "/v2");
	return set_base(h, url, registry, err);
}

static char *path_in(const char *dir, const char *path)
{
	char *s;

	if (*path == '/')
		return strdup(path);
	return asprintf(&s, "%s/%s", dir, path) < 0 ? NULL : s;
}

int hosts_add_ca(struct host *h, const char *dir, const char *path)
{
	char **grown = realloc(h->ca_paths, (h->n_cas + 1) * sizeof(*grown));

	if (grown == NULL)
		return -ENOMEM;
	h->ca_paths = grown;
	grown[h->n_cas] = path_in(dir, path);
	if (grown[h->n_cas] == NULL)
		return -ENOMEM;
	h->n_cas++;
	return 0;
}

/* One certificate is what libcurl can show a server: the first counts. */
int hosts_set_client(struct host *h, const char *dir, const char *cert, const char *key)
{
	if (h->client_cert != NULL)
		return 0;
	h->client_cert = path_in(dir, cert);
	h->client_key = path_in(dir, key);
	return h->client_cert == NULL || h->client_key == NULL ? -ENOMEM : 0;
}

static int wrong_type(const char *key, const char *want, struct err *err)
{
	return err_set(err, EINVAL, "%s must be %s", key, want);
}

static int parse_capabilities(struct host *h, const json_t *v, struct err *err)
{
	static const struct {
		const char *name;
		enum host_caps cap;
	} known[] = {{"pull", HOST_PULL}, {"resolve", HOST_RESOLVE}, {"push", HOST_PUSH}};
	size_t i;
	json_t *e;

	if (v != NULL && !json_is_array(v))
		return wrong_type("capabilities", "an array of strings", err);
	if (json_array_size(v) == 0) {
		h->caps = HOST_PULL | HOST_RESOLVE | HOST_PUSH;
		return 0;
	}
	json_array_foreach(v, i, e)
	{
		size_t k = 0;

		if (!json_is_string(e))
			return wrong_type("capabilities", "an array of strings", err);
		while (k < 3 && strcasecmp(json_string_value(e), known[k].name) != 0)
			k++;
		if (k == 3)
			return err_set(err, EINVAL, "unknown capability \"%.60s\"",
				       json_string_value(e));
		h->caps |= known[k].cap;
	}
	return 0;
}

static int parse_ca(struct host *h, const json_t *v, const char *dir, struct err *err)
{
	size_t i;
	json_t *e;

	if (json_is_string(v))
		return hosts_add_ca(h, dir, json_string_value(v)) < 0
			       ? err_set(err, ENOMEM, "out of memory")
			       : 0;
	if (v != NULL && !json_is_array(v))
		return wrong_type("ca", "a path or an array of paths", err);
	json_array_foreach(v, i, e)
	{
		if (!json_is_string(e))
			return wrong_type("ca", "a path or an array of paths", err);
		if (hosts_add_ca(h, dir, json_string_value(e)) < 0)
			return err_set(err, ENOMEM, "out of memory");
	}
	return 0;
}

/* "cert and key in one", ["the same", ...] or [["cert", "key"], ...] */
static int parse_client(struct host *h, const json_t *v, const char *dir, struct err *err)
{
	static const char *const want = "a path, an array of paths, or of [certificate, key]";
	size_t i;
	json_t *e;

	if (json_is_string(v))
		return hosts_set_client(h, dir, json_string_value(v), json_string_value(v)) < 0
			       ? err_set(err, ENOMEM, "out of memory")
			       : 0;
	if (v != NULL && !json_is_array(v))
		return wrong_type("client", want, err);
	json_array_foreach(v, i, e)
	{
		const json_t *cert = json_is_array(e) ? json_array_get(e, 0) : e;
		const json_t *key = json_is_array(e) ? json_array_get(e, 1) : e;
		const char *key_path = json_string_value(key);

		if (!json_is_string(cert) || (json_is_array(e) && json_array_size(e) > 2) ||
		    (key != NULL && key_path == NULL))
			return wrong_type("client", want, err);
		if (key_path == NULL || *key_path == '\0')
			key_path = json_string_value(cert);
		if (hosts_set_client(h, dir, json_string_value(cert), key_path) < 0)
			return err_set(err, ENOMEM, "out of memory");
	}
	return 0;
}

/* RFC 9110 section 5.5: no line end, no NUL; a name is a token. */
static bool is_header(const char *name, const char *value)
{
	size_t n = strlen(name);

	return n > 0 && strcspn(value, "\r\n") == strlen(value) &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			    "!#$%&'*+-.^_`|~") == n;
}

static int add_header(struct host *h, const char *name, const json_t *v, struct err *err)
{
	const char *value = json_string_value(v);
	struct host_header *grown;

	if (value == NULL)
		return wrong_type("a value in header", "a string or an array of strings", err);
	if (!is_header(name, value))
		return err_set(err, EINVAL, "invalid header \"%.60s\"", name);
	if (h->n_headers == MAX_HEADERS)
		return err_set(err, EINVAL, "more than %d headers", MAX_HEADERS);
	grown = realloc(h->headers, (h->n_headers + 1) * sizeof(*grown));
	if (grown == NULL)
		return err_set(err, ENOMEM, "out of memory");
	h->headers = grown;
	grown = &grown[h->n_headers++];
	grown->name = strdup(name);
	grown->value = strdup(value);
	if (grown->name == NULL || grown->value == NULL)
		return err_set(err, ENOMEM, "out of memory");
	return 0;
}

static int parse_headers(struct host *h, json_t *o, struct err *err)
{
	const char *name;
	json_t *v, *e;
	size_t i;
	int r = 0;

	if (o != NULL && !json_is_object(o))
		return wrong_type("header", "a table", err);
	json_object_foreach(o, name, v)
	{
		if (!json_is_array(v))
			r = add_header(h, name, v, err);
		json_array_foreach(v, i, e)
		{
			if (r == 0)
				r = add_header(h, name, e, err);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int parse_dial_timeout(struct host *h, const json_t *v, struct err *err)
{
	uint64_t ns;

	if (v == NULL)
		return 0;
	if (!json_is_string(v) || clock_parse_duration(json_string_value(v), &ns) < 0)
		return wrong_type("dial_timeout", "a duration like \"5s\"", err);
	h->dial_timeout_ms = ns / 1000000;
	return 0;
}

/* The keys that one host has, or the file as a whole for its server. */
static int parse_keys(struct host *h, json_t *o, const char *dir, struct err *err)
{
	const json_t *skip = json_object_get(o, "skip_verify");
	int r = parse_capabilities(h, json_object_get(o, "capabilities"), err);

	if (skip != NULL && !json_is_boolean(skip))
		return wrong_type("skip_verify", "true or false", err);
	h->skip_verify = json_is_true(skip);
	if (r == 0)
		r = parse_ca(h, json_object_get(o, "ca"), dir, err);
	if (r == 0)
		r = parse_client(h, json_object_get(o, "client"), dir, err);
	if (r == 0)
		r = parse_headers(h, json_object_get(o, "header"), err);
	return r == 0 ? parse_dial_timeout(h, json_object_get(o, "dial_timeout"), err) : r;
}

static int parse_host(struct host *h, const char *server, json_t *o, const char *dir,
		      const char *registry, struct err *err)
{
	const json_t *override = json_object_get(o, "override_path");
	int r;

	if (!json_is_object(o))
		return wrong_type("a host", "a table", err);
	if (override != NULL && !json_is_boolean(override))
		return wrong_type("override_path", "true or false", err);
	r = parse_keys(h, o, dir, err);
	if (r < 0)
		return r;
	if (server == NULL || *server == '\0')
		return hosts_set_default(h, registry, err);
	return set_server(h, server, json_is_true(override), registry, err);
}

static int parse_root(struct host_list *l, json_t *root, const char *dir, struct err *err)
{
	json_t *table = json_object_get(root, "host"), *server = json_object_get(root, "server");
	const char *url;
	json_t *o;
	int r;

	if (table != NULL && !json_is_object(table))
		return wrong_type("host", "tables: [host.\"URL\"]", err);
	if (server != NULL && !json_is_string(server))
		return wrong_type("server", "a URL", err);
	if (json_object_size(table) > MAX_HOSTS)
		return err_set(err, EINVAL, "more than %d hosts", MAX_HOSTS);
	json_object_foreach(table, url, o)
	{
		if (*url == '\0')
			return err_set(err, EINVAL, "a host without a URL");
		r = parse_host(&l->hosts[l->n_hosts++], url, o, dir, l->registry, err);
		if (r < 0)
			return err_wrap(err, r, "host \"%.100s\"", url);
	}
	return parse_host(&l->hosts[l->n_hosts++], json_string_value(server), root, dir,
			  l->registry, err);
}

int host_list_new(const char *registry, size_t max_hosts, struct host_list **ret, struct err *err)
{
	struct host_list *l;

	if (!is_registry_name(registry)) {
		(void)err_set(err, EINVAL, "\"%.100s\" is no registry host", registry);
		return -EINVAL;
	}
	l = calloc(1, sizeof(*l));
	if (l != NULL) {
		l->refs = 1;
		l->registry = strdup(registry);
		l->hosts = calloc(max_hosts, sizeof(*l->hosts));
	}
	if (l == NULL || l->registry == NULL || l->hosts == NULL) {
		host_list_unref(l);
		(void)err_set(err, ENOMEM, "out of memory");
		return -ENOMEM;
	}
	*ret = l;
	return 0;
}

int hosts_parse(const char *text, size_t len, const char *dir, const char *registry,
		struct host_list **ret, struct err *err)
{
	cleanup(host_list_unrefp) struct host_list *l = NULL;
	json_t *root;
	int r = toml_parse(text, len, &root, err);

	if (r < 0 && r != -ENOMEM && err != NULL)
		err->code = EINVAL;
	if (r < 0)
		return r == -ENOMEM ? r : -EINVAL;
	r = host_list_new(registry, json_object_size(json_object_get(root, "host")) + 1, &l, err);
	if (r == 0)
		r = parse_root(l, root, dir, err);
	json_decref(root);
	if (r == 0)
		*ret = steal_ptr(l);
	return r;
}
