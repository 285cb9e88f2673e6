#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/dir.h"
#include "store/ingest_dir.h"

static int open_dir(struct store *s, const char *name)
{
	int fd = openat(s->ingest_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int ingest_peek(struct store *s, const char *ref)
{
	char name[DIGEST_HEX_LEN + 1];
	int r = ingest_dir_name(ref, name, NULL);

	if (r < 0)
		return r;
	return s->ingest_fd < 0 ? -ENOENT : open_dir(s, name);
}

int ingest_stat(struct store *s, const char *ref, struct ingest_status *ret)
{
	char name[DIGEST_HEX_LEN + 1];
	cleanup_fd int fd = -1;
	int r = ingest_dir_name(ref, name, NULL);

	if (r == -ENOMEM)
		return r;
	if (r < 0 || s->ingest_fd < 0)
		return -ENOENT;
	fd = open_dir(s, name);
	if (fd < 0)
		return fd == -ENOTDIR || fd == -ELOOP ? -ENOENT : fd;
	return ingest_dir_load(fd, name, ret);
}

static bool is_ingest_name(const char *name)
{
	struct digest d;

	return digest_parse_hex(name, &d) == 0;
}

int ingest_walk(struct store *s, int (*fn)(void *arg, const struct ingest_status *st), void *arg)
{
	cleanup_dir DIR *dir = NULL;
	struct dirent *e;

	if (s->ingest_fd < 0)
		return 0;
	dir = dir_open(s->ingest_fd, ".");
	if (dir == NULL)
		return -errno;
	while ((e = dir_next(dir)) != NULL) {
		struct ingest_status st;
		cleanup_fd int fd = -1;
		int r;

		if (!is_ingest_name(e->d_name))
			continue;
		fd = open_dir(s, e->d_name);
		r = fd < 0 ? fd : ingest_dir_load(fd, e->d_name, &st);
		/* Gone, or not for us to read: the others are listed all the same. */
		if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP || r == -EACCES)
			continue;
		if (r == 0)
			r = fn(arg, &st);
		if (r != 0)
			return r;
	}
	return errno != 0 ? -errno : 0;
}
