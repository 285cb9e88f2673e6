#include "dist/auth_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "dist/auth_text.h"
#include "registry/credentials.h"

#define MAX_BYTES ((size_t)1 << 20)
#define DOCKER_HUB_KEY "https://index.docker.io/v1/"

CLEANUP_DEFINE(struct credentials *, credentials_free);

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

/* What it holds; nothing where there is no file. */
static int load(const char *path, struct buf *b, struct err *err)
{
	int r = fd_read_file(AT_FDCWD, path, b);

	return r < 0 && r != -ENOENT ? err_errno(err, -r, "read %s", path) : 0;
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

static int save(const char *path, const char *text, struct err *err)
{
	cleanup_free char *real = realpath(path, NULL);
	cleanup_fd int dir = -1;
	char parent[PATH_MAX];
	const char *name;
	int r;

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
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, MAX_BYTES);
	r = load(path, &b, err);
	if (r < 0)
		return r;
	r = auth_text_helper(b.data, b.len, key, out, n, err);
	return r < 0 ? err_wrap(err, r, "%s", path) : 0;
}

int auth_file_set(const char *path, const char *key, const char *user, const char *password,
		  struct err *err)
{
	cleanup_free char *text = NULL;
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, MAX_BYTES);
	r = load(path, &b, err);
	if (r < 0)
		return r;
	r = auth_text_set(b.data, b.len, key, user, password, &text, err);
	return r < 0 ? err_wrap(err, r, "%s", path) : save(path, text, err);
}

int auth_file_remove(const char *path, const char *host, bool *ret_found, struct err *err)
{
	cleanup_free char *text = NULL;
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, MAX_BYTES);
	r = load(path, &b, err);
	if (r < 0)
		return r;
	r = auth_text_remove(b.data, b.len, host, &text, err);
	if (r < 0)
		return err_wrap(err, r, "%s", path);
	*ret_found = text != NULL;
	return text != NULL ? save(path, text, err) : 0;
}
