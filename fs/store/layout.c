#include "store/layout.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/dir.h"
#include "base/fd.h"
#include "store/store_private.h"

static int open_dir(int dir_fd, const char *path)
{
	int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* Make dir_fd/name, durably when it is new, and open it. */
static int make_dir(int dir_fd, const char *name)
{
	int r;

	if (mkdirat(dir_fd, name, 0755) == 0) {
		r = fd_sync_dir(dir_fd, ".");
		if (r < 0)
			return r;
	} else if (errno != EEXIST) {
		return -errno;
	}
	return open_dir(dir_fd, name);
}

/* mkdir -p; what is there already is left as it is. Returns a descriptor of the last one. */
static int make_path(const char *path)
{
	cleanup_free char *copy = strdup(path);
	cleanup_fd int fd = -1;
	char *save = NULL, *part;

	if (copy == NULL)
		return -ENOMEM;
	fd = open_dir(AT_FDCWD, copy[0] == '/' ? "/" : ".");
	if (fd < 0)
		return fd;
	for (part = strtok_r(copy, "/", &save); part != NULL; part = strtok_r(NULL, "/", &save)) {
		int next = make_dir(fd, part);

		if (next < 0)
			return next;
		(void)close(fd);
		fd = next;
	}
	return steal_fd(fd);
}

static bool has_dir(int root_fd, const char *name)
{
	struct stat st;

	return fstatat(root_fd, name, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

/* 1, 0 or a negative errno. lost+found is what mkfs leaves in a directory that is empty to us. */
static int is_empty(int root_fd)
{
	cleanup_dir DIR *dir = dir_open(root_fd, ".");
	struct dirent *e;

	if (dir == NULL)
		return -errno;
	while ((e = dir_next(dir)) != NULL)
		if (strcmp(e->d_name, "lost+found") != 0)
			return 0;
	return errno != 0 ? -errno : 1;
}

static int open_root(const char *root, unsigned int flags, struct err *err)
{
	int fd = open_dir(AT_FDCWD, root);

	if (fd == -ENOENT && (flags & STORE_CREATE) != 0 && (flags & STORE_RDONLY) == 0)
		fd = make_path(root);
	if (fd == -ENOENT)
		return err_set(err, ENOENT, "no content store at \"%s\"", root);
	if (fd < 0)
		return err_errno(err, -fd, "content store \"%s\"", root);
	return fd;
}

/* That root_fd is a store, or may become one. */
static int check_root(int root_fd, const char *root, unsigned int flags, struct err *err)
{
	int r;

	if (has_dir(root_fd, "blobs") || has_dir(root_fd, "ingest"))
		return 0;
	if ((flags & STORE_CREATE) == 0 || (flags & STORE_RDONLY) != 0)
		return err_set(err, ENOENT, "\"%s\" is not a content store", root);
	r = is_empty(root_fd);
	if (r < 0)
		return err_errno(err, -r, "content store \"%s\"", root);
	/* Filled since it was looked at: another process may have begun the store, blobs first. */
	if (r == 0 && !has_dir(root_fd, "blobs"))
		return err_set(err, ENOENT,
			       "\"%s\" is not a content store, and not empty: not making it one",
			       root);
	return 0;
}

static int open_rooms(struct store *s)
{
	cleanup_fd int blobs_fd = -1;

	if (s->rdonly) {
		s->blobs_fd = open_dir(s->root_fd, "blobs/sha256");
		if (s->blobs_fd < 0 && s->blobs_fd != -ENOENT)
			return s->blobs_fd;
		s->ingest_fd = open_dir(s->root_fd, "ingest");
		if (s->ingest_fd < 0 && s->ingest_fd != -ENOENT)
			return s->ingest_fd;
		return 0;
	}
	blobs_fd = make_dir(s->root_fd, "blobs");
	if (blobs_fd < 0)
		return blobs_fd;
	s->blobs_fd = make_dir(blobs_fd, "sha256");
	if (s->blobs_fd < 0)
		return s->blobs_fd;
	s->ingest_fd = make_dir(s->root_fd, "ingest");
	return s->ingest_fd < 0 ? s->ingest_fd : 0;
}

int store_open(const char *root, unsigned int flags, struct store **ret, struct err *err)
{
	cleanup(store_closep) struct store *s = NULL;
	int r;

	if (root[0] == '\0')
		return err_set(err, ENOENT, "no content store at \"\"");
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return err_set(err, ENOMEM, "out of memory");
	s->blobs_fd = s->ingest_fd = -1;
	s->rdonly = (flags & STORE_RDONLY) != 0;
	s->root_fd = open_root(root, flags, err);
	if (s->root_fd < 0)
		return s->root_fd;
	r = check_root(s->root_fd, root, flags, err);
	if (r < 0)
		return r;
	s->root = realpath(root, NULL);
	if (s->root == NULL)
		return err_errno(err, errno, "content store \"%s\"", root);
	r = open_rooms(s);
	if (r < 0)
		return err_errno(err, -r, "content store \"%s\"", root);
	*ret = steal_ptr(s);
	return 0;
}

struct store *store_close(struct store *s)
{
	if (s == NULL)
		return NULL;
	cleanup_closep(&s->root_fd);
	cleanup_closep(&s->blobs_fd);
	cleanup_closep(&s->ingest_fd);
	free(s->root);
	free(s);
	return NULL;
}

const char *store_root(const struct store *s)
{
	return s->root;
}

int store_root_fd(const struct store *s)
{
	return s->root_fd;
}

int store_blobs_fd(const struct store *s)
{
	return s->blobs_fd < 0 ? -1 : s->blobs_fd;
}

int store_ingest_fd(const struct store *s)
{
	return s->ingest_fd < 0 ? -1 : s->ingest_fd;
}
