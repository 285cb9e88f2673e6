#include "base/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"

DIR *dir_open(int dir_fd, const char *path)
{
	cleanup_fd int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;

	if (dir != NULL)
		(void)steal_fd(fd);
	return dir;
}

struct dirent *dir_next(DIR *dir)
{
	for (;;) {
		struct dirent *e;

		errno = 0;
		e = readdir(dir); /* NOLINT(concurrency-mt-unsafe): this DIR is ours alone */
		if (e == NULL || (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0))
			return e;
	}
}
