#include "store/leftovers.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/dir.h"
#include "base/fd.h"
#include "store/store_private.h"

#define WRITTEN_WITHIN_NS 60000000000LL

struct sweep {
	struct store *store;
	int64_t before_ns;
	bool dry_run;
	int (*fn)(void *arg, const char *path);
	void *arg;
};

static int sweep_file(struct sweep *w, int dir_fd, const char *dir, const char *name)
{
	char path[sizeof("labels/sha256/") + NAME_MAX];
	struct stat st;
	int r;

	if (!fd_is_temporary(name) || fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISREG(st.st_mode) ||
	    (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec >= w->before_ns)
		return 0;
	(void)snprintf(path, sizeof(path), "%s%s", dir, name);
	r = w->fn(w->arg, path);
	if (r != 0 || w->dry_run)
		return r;
	return unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

/* dir: "", or with a slash at its end */
static int sweep_dir(struct sweep *w, const char *dir)
{
	cleanup_dir DIR *d = dir_open(w->store->root_fd, *dir != '\0' ? dir : ".");
	struct dirent *e;

	if (d == NULL)
		return errno == ENOENT ? 0 : -errno;
	while ((e = dir_next(d)) != NULL) {
		int r = sweep_file(w, dirfd(d), dir, e->d_name);

		if (r != 0)
			return r;
	}
	return errno != 0 ? -errno : 0;
}

int leftovers_sweep(struct store *s, int64_t before_ns, bool dry_run,
		    int (*fn)(void *arg, const char *path), void *arg)
{
	static const char *const dirs[] = {"", "labels/", "labels/sha256/"};
	int64_t safe_ns = clock_wall_ns() - WRITTEN_WITHIN_NS;
	struct sweep w = {
		.store = s,
		.before_ns = before_ns < safe_ns ? before_ns : safe_ns,
		.dry_run = dry_run,
		.fn = fn,
		.arg = arg,
	};
	int r = 0;

	if (s->rdonly && !dry_run)
		return -EROFS;
	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]) && r == 0; i++)
		r = sweep_dir(&w, dirs[i]);
	return r;
}
