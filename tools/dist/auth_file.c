#include "dist/auth_file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "registry/credentials.h"

#define MAX_BYTES ((size_t)1 << 20)
#define DOCKER_HUB_KEY "https://index.docker.io/v1/"

CLEANUP_DEFINE(struct credentials *, credentials_free);

static void json_freep(json_t **o)
{
	json_decref(*o);
}

int auth_file_path(const char *given, char *out, size_t n, struct err *err)
{
	cleanup(credentials_freep) struct credentials *c = NULL;
	int r;

	if (given == NULL) {
		r = credentials_new(NULL, &c, err);
		if (r < 0)
			return r;
		given = credentials_path(c);
	}
	if (given == NULL)
		return err_set(err, ENOENT,
			       "neither $REGISTRY_AUTH_FILE, $DOCKER_CONFIG nor $HOME says where "
			       "credentials are kept");
	r = snprintf(out, n, "%s", given);
	if (r < 0 || (size_t)r >= n)
		return err_errno(err, ENAMETOOLONG, "path of the auth file");
	return 0;
}

const char *auth_file_key(const char *host)
{
	return strcmp(host, "docker.io") == 0 ? DOCKER_HUB_KEY : host;
}

/* The file's object, an empty one where there is no file, or an empty one. */
static int load(const char *path, json_t **ret, struct err *err)
{
	cleanup_buf struct buf b;
	cleanup(json_freep) json_t *o = NULL;
	json_error_t e;
	int r;

	buf_init(&b, MAX_BYTES);
	r = fd_read_file(AT_FDCWD, path, &b);
	if (r < 0 && r != -ENOENT)
		return err_errno(err, -r, "read %s", path);
	if (r == -ENOENT || b.len == 0)
		o = json_object();
	else
		o = json_loadb(b.data, b.len, 0, &e);
	if (o == NULL && (r == -ENOENT || b.len == 0))
		return err_set(err, ENOMEM, "out of memory");
	if (o == NULL)
		return err_set(err, EBADMSG, "%s: line %d, column %d: no JSON", path, e.line,
			       e.column); /* e.text quotes what stands there: a secret, perhaps */
	if (!json_is_object(o))
		return err_set(err, EBADMSG, "%s: not a JSON object", path);
	*ret = steal_ptr(o);
	return 0;
}

/* mkdir -p of the directory that path lies in; 0700 for those that were not there. */
static int make_parents(const char *path)
{
	char dir[PATH_MAX];

	if (snprintf(dir, sizeof(dir), "%s", path) >= (int)sizeof(dir))
		return -ENAMETOOLONG;
	for (char *s = strchr(dir + 1, '/'); s != NULL; s = strchr(s + 1, '/')) {
		*s = '\0';
		if (mkdir(dir, 0700) < 0 && errno != EEXIST)
			return -errno;
		*s = '/';
	}
	return 0;
}

static int save(const char *path, const json_t *o, struct err *err)
{
	cleanup_free char *real = realpath(path, NULL);
	cleanup_free char *text = json_dumps(o, JSON_INDENT(8));
	cleanup_fd int dir = -1;
	char parent[PATH_MAX];
	const char *name;
	int r;

	if (text == NULL)
		return err_set(err, ENOMEM, "out of memory");
	if (real != NULL)
		path = real;
	r = make_parents(path);
	if (r < 0)
		return err_errno(err, -r, "make the directory of %s", path);
	name = strrchr(path, '/');
	(void)snprintf(parent, sizeof(parent), "%.*s", name != NULL ? (int)(name - path) + 1 : 1,
		       name != NULL ? path : ".");
	dir = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_errno(err, errno, "open %s", parent);
	r = fd_write_file(dir, name != NULL ? name + 1 : path, text, strlen(text), 0600);
	return r < 0 ? err_errno(err, -r, "write %s", path) : 0;
}

int auth_file_helper(const char *path, const char *key, char *out, size_t n, struct err *err)
{
	cleanup(json_freep) json_t *o = NULL;
	const char *name;
	int r = load(path, &o, err);

	if (r < 0)
		return r;
	name = json_string_value(json_object_get(json_object_get(o, "credHelpers"), key));
	if (name == NULL)
		name = json_string_value(json_object_get(o, "credsStore"));
	if (name == NULL)
		name = "";
	if (strlen(name) >= n)
		return err_set(err, EBADMSG, "%s: no credential helper can be called \"%.100s\"",
			       path, name);
	(void)snprintf(out, n, "%s", name);
	return 0;
}

/* base64("user:password") */
static char *encode(const char *user, const char *password)
{
	cleanup_free char *plain = NULL;
	char *out;
	int n = asprintf(&plain, "%s:%s", user, password);

	if (n < 0) {
		plain = NULL;
		return NULL;
	}
	out = malloc(((size_t)n + 2) / 3 * 4 + 1);
	if (out != NULL)
		(void)EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)plain, n);
	explicit_bzero(plain, (size_t)n);
	return out;
}

int auth_file_set(const char *path, const char *key, const char *user, const char *password,
		  struct err *err)
{
	cleanup(json_freep) json_t *o = NULL;
	cleanup_free char *auth = encode(user, password);
	json_t *auths;
	int r = load(path, &o, err);

	if (r < 0)
		return r;
	auths = json_object_get(o, "auths");
	if (!json_is_object(auths)) {
		auths = json_object();
		if (json_object_set_new(o, "auths", auths) < 0)
			return err_set(err, ENOMEM, "out of memory");
	}
	if (auth == NULL || json_object_set_new(auths, key, json_pack("{s:s}", "auth", auth)) < 0)
		return err_set(err, ENOMEM, "out of memory");
	return save(path, o, err);
}

int auth_file_remove(const char *path, const char *key, bool *ret_found, struct err *err)
{
	cleanup(json_freep) json_t *o = NULL;
	int r = load(path, &o, err);

	if (r < 0)
		return r;
	*ret_found = json_object_del(json_object_get(o, "auths"), key) == 0;
	return *ret_found ? save(path, o, err) : 0;
}
