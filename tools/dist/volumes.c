#include "dist/volumes.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/dir.h"
#include "base/fd.h"

#define VOLUMES_MAX 1024
#define IN_ROOT (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

/* "/a//b/./../c/" is "/a/c"; -EINVAL for what names the root, -ENAMETOOLONG. */
static int clean(const char *path, char out[PATH_MAX])
{
	size_t len = 0;

	while (*path != '\0') {
		size_t n = strcspn(path, "/");

		if (n == 2 && path[0] == '.' && path[1] == '.') {
			while (len > 0 && out[--len] != '/')
				;
		} else if (n > 0 && !(n == 1 && path[0] == '.')) {
			if (len + 1 + n >= PATH_MAX)
				return -ENAMETOOLONG;
			out[len++] = '/';
			memcpy(out + len, path, n);
			len += n;
		}
		path += n + (path[n] == '/');
	}
	out[len] = '\0';
	return len == 0 ? -EINVAL : 0;
}

static bool is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

static int by_destination(const void *a, const void *b)
{
	const struct runtime_volume *l = a, *r = b;

	return strcmp(l->destination, r->destination);
}

static bool is_known(const struct volumes *v, const char *path)
{
	for (size_t i = 0; i < v->n; i++)
		if (strcmp(v->mounts[i].destination, path) == 0)
			return true;
	return false;
}

/* Their paths, cleaned and sorted, each once; sources are not there yet. */
static int list(const struct image_config *c, struct volumes *v, struct err *err)
{
	char path[PATH_MAX];

	if (c->volumes.n > VOLUMES_MAX)
		return err_set(err, E2BIG, "%zu volumes, the limit is %d", c->volumes.n,
			       VOLUMES_MAX);
	v->mounts = calloc(c->volumes.n + 1, sizeof(*v->mounts));
	if (v->mounts == NULL)
		return err_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < c->volumes.n; i++) {
		int r = clean(c->volumes.s[i], path);

		if (r < 0)
			return err_set(err, -r, "\"%s\" is no place for a volume", c->volumes.s[i]);
		if (is_below(path, "/proc") || is_below(path, "/sys") || is_below(path, "/dev") ||
		    is_known(v, path))
			continue;
		v->mounts[v->n].destination = strdup(path);
		if (v->mounts[v->n].destination == NULL)
			return err_set(err, ENOMEM, "out of memory");
		v->n++;
	}
	qsort(v->mounts, v->n, sizeof(*v->mounts), by_destination);
	return 0;
}

/* Open path inside the root as a directory, made (0755) with those above it where it is absent. */
static int open_in_root(int root_fd, const char *path)
{
	int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	int fd = fd_openat2(root_fd, path, flags, 0, IN_ROOT);
	cleanup_fd int parent_fd = -1;
	const char *slash = strrchr(path, '/');
	char parent[PATH_MAX];

	if (fd != -ENOENT || slash == NULL)
		return fd;
	(void)snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
	parent_fd = open_in_root(root_fd, parent[0] != '\0' ? parent : "/"); /* NOLINT: by depth */
	if (parent_fd < 0)
		return parent_fd;
	/* what is there and cannot be opened is a link to nowhere */
	if (mkdirat(parent_fd, slash + 1, 0755) < 0)
		return errno == EEXIST ? -ENOENT : -errno;
	return fd_openat2(root_fd, path, flags, 0, IN_ROOT);
}

/* One pass over the directory; how many were moved, or a negative errno. */
static int move_some(int from_fd, int to_fd)
{
	cleanup_dir DIR *dir = dir_open(from_fd, ".");
	struct dirent *e;
	int n = 0;

	if (dir == NULL)
		return -errno;
	for (; (e = dir_next(dir)) != NULL; n++)
		if (renameat(from_fd, e->d_name, to_fd, e->d_name) < 0)
			return -errno;
	return errno != 0 ? -errno : n;
}

/* In passes: a listing may leave out what is there while its directory changes. */
static int move_children(int from_fd, int to_fd)
{
	int n;

	do
		n = move_some(from_fd, to_fd);
	while (n > 0);
	return n;
}

/* Owner first: changing it takes the setgid bit. Times last. */
static int copy_attributes(int from_fd, int to_fd)
{
	struct stat st, mine;

	if (fstat(from_fd, &st) < 0 || fstat(to_fd, &mine) < 0)
		return -errno;
	if ((st.st_uid != mine.st_uid || st.st_gid != mine.st_gid) &&
	    fchown(to_fd, st.st_uid, st.st_gid) < 0)
		return -errno;
	if (fchmod(to_fd, st.st_mode & 07777) < 0)
		return -errno;
	return futimens(to_fd, (struct timespec[2]){st.st_atim, st.st_mtim}) < 0 ? -errno : 0;
}

static int make(int volumes_fd, int root_fd, size_t n, struct runtime_volume *v)
{
	cleanup_fd int from_fd = -1, to_fd = -1;
	char name[32];
	char *source;
	int r;

	(void)snprintf(name, sizeof(name), "%zu", n);
	if (asprintf(&source, "volumes/%s", name) < 0)
		return -ENOMEM;
	v->source = source;
	from_fd = open_in_root(root_fd, v->destination);
	if (from_fd < 0)
		return from_fd;
	if (mkdirat(volumes_fd, name, 0700) < 0)
		return -errno;
	to_fd = openat(volumes_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (to_fd < 0)
		return -errno;
	r = move_children(from_fd, to_fd);
	return r < 0 ? r : copy_attributes(from_fd, to_fd);
}

int volumes_make(int dir_fd, const struct image_config *c, struct volumes *ret, struct err *err)
{
	cleanup_fd int volumes_fd = -1, root_fd = -1;
	cleanup(volumes_done) struct volumes v = {0};
	int r = list(c, &v, err);

	if (r < 0)
		return r;
	root_fd = openat(dir_fd, "rootfs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return err_errno(err, errno, "rootfs");
	if (v.n > 0 && mkdirat(dir_fd, "volumes", 0755) < 0)
		return err_errno(err, errno, "make directory \"volumes\"");
	volumes_fd = v.n > 0 ? openat(dir_fd, "volumes", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	if (v.n > 0 && volumes_fd < 0)
		return err_errno(err, errno, "volumes");
	/* those within others first, so that these find them in place, empty */
	for (size_t i = v.n; i-- > 0;) {
		r = make(volumes_fd, root_fd, i, &v.mounts[i]);
		if (r < 0)
			return err_errno(err, -r, "volume \"%s\"", v.mounts[i].destination);
	}
	*ret = v;
	v = (struct volumes){0};
	return 0;
}

void volumes_done(struct volumes *v)
{
	for (size_t i = 0; i < v->n; i++) {
		free((char *)v->mounts[i].destination);
		free((char *)v->mounts[i].source);
	}
	free(v->mounts);
	*v = (struct volumes){0};
}
