#include "registry/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "registry/helper.h"

#define MAX_FILE_BYTES ((size_t)4 << 20)
#define MAX_SECRET_BYTES ((size_t)64 << 10)
#define DOCKER_HUB_KEY "https://index.docker.io/v1/"

struct credentials {
	char *path;
	int stop_fd; /* an eventfd, readable once stopped */
};

static void wipe(char *s)
{
	if (s != NULL)
		OPENSSL_cleanse(s, strlen(s));
	free(s);
}

void credential_done(struct credential *c)
{
	wipe(c->user);
	wipe(c->password);
	wipe(c->identity_token);
	wipe(c->bearer);
	memset(c, 0, sizeof(*c));
}

/* Before threads. */
static char *default_path(void)
{
	const char *s = getenv("REGISTRY_AUTH_FILE"); /* NOLINT(concurrency-mt-unsafe) */
	char *path = NULL;

	if (s != NULL && *s != '\0')
		return strdup(s);
	s = getenv("DOCKER_CONFIG"); /* NOLINT(concurrency-mt-unsafe) */
	if (s != NULL && *s != '\0')
		return asprintf(&path, "%s/config.json", s) < 0 ? NULL : path;
	s = getenv("HOME"); /* NOLINT(concurrency-mt-unsafe) */
	return asprintf(&path, "%s/.docker/config.json", s != NULL ? s : "") < 0 ? NULL : path;
}

int credentials_new(const char *file, struct credentials **ret, struct err *err)
{
	struct credentials *c;

	if (file != NULL && access(file, R_OK) < 0) {
		int r = errno;

		(void)err_errno(err, r, "auth file \"%.200s\"", file);
		if (err != NULL)
			err->code = EINVAL;
		return -EINVAL;
	}
	c = calloc(1, sizeof(*c));
	if (c == NULL)
		return err_set(err, ENOMEM, "out of memory");
	c->path = file != NULL ? strdup(file) : default_path();
	c->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->path == NULL || c->stop_fd < 0) {
		credentials_free(c);
		return err_set(err, ENOMEM, "out of memory");
	}
	*ret = c;
	return 0;
}

struct credentials *credentials_free(struct credentials *c)
{
	if (c == NULL)
		return NULL;
	if (c->stop_fd >= 0)
		(void)close(c->stop_fd);
	free(c->path);
	free(c);
	return NULL;
}

void credentials_stop(struct credentials *c)
{
	uint64_t one = 1;

	(void)fd_write_full(c->stop_fd, &one, sizeof(one));
}

const char *credentials_path(const struct credentials *c)
{
	return c->path;
}

/* A secret of the file, copied. -EINVAL for what no header can hold. */
static int take(const json_t *o, const char *key, char **ret)
{
	const char *s = json_string_value(json_object_get(o, key));

	if (s == NULL || *s == '\0')
		return 0;
	if (strlen(s) > MAX_SECRET_BYTES || strpbrk(s, "\r\n") != NULL)
		return -EINVAL;
	free(*ret);
	*ret = strdup(s);
	return *ret == NULL ? -ENOMEM : 0;
}

/* "auth": base64 of user:password (RFC 7617). */
static int take_auth(const json_t *o, struct credential *ret)
{
	const char *s = json_string_value(json_object_get(o, "auth"));
	size_t n = s != NULL ? strlen(s) : 0, pad = 0;
	unsigned char *text;
	char *colon;
	int len, r = 0;

	if (n == 0)
		return 0;
	while (pad < 2 && pad < n && s[n - 1 - pad] == '=')
		pad++;
	if (n % 4 != 0 || n > MAX_SECRET_BYTES)
		return -EINVAL;
	text = calloc(1, n + 1);
	if (text == NULL)
		return -ENOMEM;
	len = EVP_DecodeBlock(text, (const unsigned char *)s, (int)n);
	if (len < 0 || (size_t)len < pad) {
		free(text);
		return -EINVAL;
	}
	text[(size_t)len - pad] = '\0';
	colon = strchr((char *)text, ':');
	if (colon == NULL || strlen((char *)text) != (size_t)len - pad ||
	    strpbrk((char *)text, "\r\n") != NULL) {
		r = -EINVAL;
	} else {
		*colon = '\0';
		free(ret->user);
		free(ret->password);
		ret->user = strdup((char *)text);
		ret->password = strdup(colon + 1);
		r = ret->user == NULL || ret->password == NULL ? -ENOMEM : 0;
	}
	OPENSSL_cleanse(text, n);
	free(text);
	return r;
}

static int take_entry(const json_t *o, struct credential *ret)
{
	int r = take(o, "username", &ret->user);

	if (r == 0)
		r = take(o, "password", &ret->password);
	if (r == 0)
		r = take_auth(o, ret);
	if (r == 0)
		r = take(o, "identitytoken", &ret->identity_token);
	if (r == 0)
		r = take(o, "registrytoken", &ret->bearer);
	if (r < 0)
		return r;
	if (ret->bearer == NULL && ret->identity_token == NULL && ret->user == NULL)
		return -ENOENT;
	return 0;
}

/* Whether a key of "auths", less its scheme and version, is exactly name. */
static bool is_key_of(const char *key, const char *name)
{
	size_t n = strlen(name);

	if (strncasecmp(key, "https://", 8) == 0)
		key += 8;
	else if (strncasecmp(key, "http://", 7) == 0)
		key += 7;
	if (strncasecmp(key, name, n) != 0)
		return false;
	key += n;
	return *key == '\0' || strcmp(key, "/") == 0 || strcmp(key, "/v1/") == 0 ||
	       strcmp(key, "/v2/") == 0 || strcmp(key, "/v1") == 0 || strcmp(key, "/v2") == 0;
}

static json_t *entry_called(json_t *auths, const char *name)
{
	json_t *v = json_object_get(auths, name), *found = NULL;
	const char *key;

	if (json_is_object(v))
		return v;
	json_object_foreach(auths, key, v) if (found == NULL && json_is_object(v) &&
					       is_key_of(key, name)) found = v;
	return found;
}

static bool is_docker_hub(const char *host)
{
	return strcasecmp(host, "docker.io") == 0 ||
	       strcasecmp(host, "registry-1.docker.io") == 0 ||
	       strcasecmp(host, "index.docker.io") == 0;
}

static const char *const hub[] = {"index.docker.io", "docker.io", "registry-1.docker.io"};

bool credentials_is_key(const char *key, const char *host)
{
	bool is_key = is_key_of(key, host);

	for (size_t i = 0; !is_key && is_docker_hub(host) && i < 3; i++)
		is_key = is_key_of(key, hub[i]);
	return is_key;
}

/* host/a/b, host/a, host; then Docker's other names. */
static json_t *find_entry(json_t *auths, const char *host, const char *repository)
{
	char name[1024];
	json_t *v = NULL;
	int n = snprintf(name, sizeof(name), "%s/%s", is_docker_hub(host) ? "docker.io" : host,
			 repository);

	while (v == NULL && n > 0 && (size_t)n < sizeof(name)) {
		char *slash = strrchr(name, '/');

		v = entry_called(auths, name);
		if (slash == NULL)
			break;
		*slash = '\0';
	}
	for (size_t i = 0; v == NULL && is_docker_hub(host) && i < 3; i++)
		v = entry_called(auths, hub[i]);
	return v != NULL ? v : entry_called(auths, host);
}

/* What a helper knows the host as. */
static const char *helper_key(const char *host)
{
	return is_docker_hub(host) ? DOCKER_HUB_KEY : host;
}

static void find_helper(const json_t *root, const char *host, char *out, size_t n)
{
	const json_t *helpers = json_object_get(root, "credHelpers");
	const json_t *v = json_object_get(helpers, host);

	if (v == NULL && is_docker_hub(host))
		v = json_object_get(helpers, DOCKER_HUB_KEY);
	if (v == NULL && is_docker_hub(host))
		v = json_object_get(helpers, "docker.io");
	if (v == NULL)
		v = json_object_get(root, "credsStore");
	(void)snprintf(out, n, "%s", json_is_string(v) ? json_string_value(v) : "");
}

int credentials_parse(const char *text, size_t len, const char *host, const char *repository,
		      struct credential *ret, char *ret_helper, size_t n, struct err *err)
{
	struct credential c = {0};
	json_error_t where;
	json_t *root = json_loadb(text, len, 0, &where), *v;
	int r;

	if (root == NULL) /* where.text would quote what stands there: a secret, perhaps */
		return err_set(err, EINVAL, "line %d, column %d: no JSON", where.line,
			       where.column);
	if (!json_is_object(root)) {
		json_decref(root);
		return err_set(err, EINVAL, "no JSON object");
	}
	find_helper(root, host, ret_helper, n);
	v = find_entry(json_object_get(root, "auths"), host, repository);
	r = v != NULL ? take_entry(v, &c) : -ENOENT;
	json_decref(root);
	if (r < 0)
		credential_done(&c);
	if (r == -EINVAL)
		return err_set(err, EINVAL, "what is filed for \"%.100s\" is garbled", host);
	if (r < 0)
		return err_set(err, -r, "nothing is filed for \"%.100s\"", host);
	*ret = c;
	return 0;
}

/* {"ServerURL": ..., "Username": ..., "Secret": ...}; the user <token> has an identity token. */
static int parse_helper_reply(const struct buf *b, struct credential *ret)
{
	json_t *o = json_loadb(b->data, b->len, 0, NULL);
	int r = take(o, "Username", &ret->user);

	if (r == 0)
		r = take(o, "Secret", &ret->password);
	json_decref(o);
	if (r == 0 && (ret->user == NULL || ret->password == NULL))
		r = -ENOENT;
	if (r == 0 && strcmp(ret->user, "<token>") == 0) {
		ret->identity_token = steal_ptr(ret->password);
		free(ret->user);
		ret->user = NULL;
	}
	if (r < 0)
		credential_done(ret);
	return r;
}

static int ask_helper(struct credentials *c, const char *helper, const char *host,
		      struct credential *ret, struct err *err)
{
	cleanup_buf struct buf out;
	int r;

	buf_init(&out, MAX_SECRET_BYTES);
	r = helper_run(helper, "get", helper_key(host), c->stop_fd, &out, err);
	if (r < 0)
		return r;
	r = parse_helper_reply(&out, ret);
	OPENSSL_cleanse(out.data, out.len);
	if (r == -EINVAL)
		return err_set(err, EINVAL, "docker-credential-%s: garbled reply", helper);
	if (r < 0)
		return err_set(err, -r, "docker-credential-%s: nothing for \"%.100s\"", helper,
			       host);
	return 0;
}

int credentials_find(struct credentials *c, const char *host, const char *repository,
		     struct credential *ret, struct err *err)
{
	struct credential filed = {0};
	cleanup_buf struct buf text;
	struct err helper_err = {0};
	char helper[256] = "";
	int r;

	buf_init(&text, MAX_FILE_BYTES);
	r = fd_read_file(AT_FDCWD, c->path, &text);
	if (r == -ENOENT || r == -ENOTDIR)
		return err_set(err, ENOENT, "no credentials: there is no \"%.200s\"", c->path);
	if (r < 0)
		return err_errno(err, -r, "\"%.200s\"", c->path);
	r = credentials_parse(text.data, text.len, host, repository, &filed, helper, sizeof(helper),
			      err);
	OPENSSL_cleanse(text.data, text.len);
	if (r == -EINVAL || r == -ENOMEM)
		return err_wrap(err, r, "\"%.200s\"", c->path);
	if (*helper != '\0') {
		struct credential asked = {0};
		int k = ask_helper(c, helper, host, &asked, &helper_err);

		if (k == 0) {
			credential_done(&filed);
			*ret = asked;
			return 0;
		}
		if (r < 0) {
			if (err != NULL)
				*err = helper_err;
			return k;
		}
	}
	if (r < 0)
		return err_wrap(err, r, "\"%.200s\"", c->path);
	*ret = filed;
	return 0;
}
