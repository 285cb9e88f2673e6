#include "unpack/hide.h"

#include <errno.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/dir.h"
#include "base/fd.h"

int hide_remove(struct dirs *d, struct dir *parent, const char *name, struct err *err)
{
	int r;

	dirs_forget(d, parent, name);
	r = fd_remove_tree(parent->fd, name);
	if (r == -ELOOP)
		return err_set(err, E2BIG,
			       "cannot remove what was there: too many directories deep");
	return r < 0 ? err_errno(err, -r, "remove what was there") : 0;
}

static bool is_ours(const struct dirs *d, const struct dir *dir, const char *name)
{
	return dir->is_new ||
	       key_set_has(d->set, key_set_key(d->set, KEY_NAME, dir->dev, dir->ino, name));
}

static int hide_lower(struct dirs *d, struct dir *dir, struct err *err);

/* name in dir, as far as it is not this layer's. Recursion is bounded by DIRS_MAX_DEPTH. */
static int hide_one(struct dirs *d, struct dir *dir, const char *name, struct err *err)
{
	struct dir *sub;
	int r;

	if (!is_ours(d, dir, name))
		return hide_remove(d, dir, name, err);
	r = dirs_child(d, dir, name, &sub, err);
	if (r == -ENOTDIR || r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	r = hide_lower(d, sub, err);
	dir_unpin(sub);
	return r;
}

/* All in dir that is not this layer's. */
static int hide_lower(struct dirs *d, struct dir *dir, struct err *err)
{
	cleanup_dir DIR *s = NULL;
	struct dirent *e;

	if (dir->is_new)
		return 0;
	s = dir_open(dir->fd, ".");
	if (s == NULL)
		return err_errno(err, errno, "list what is hidden");
	while ((e = dir_next(s)) != NULL) {
		int r = hide_one(d, dir, e->d_name, err);

		if (r < 0)
			return r;
	}
	return errno != 0 ? err_errno(err, errno, "list what is hidden") : 0;
}

int hide_name(struct dirs *d, const char *path, size_t len, const char *name, struct err *err)
{
	struct dir *dir;
	int r = dirs_walk(d, path, len, 0, &dir, err);

	if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP)
		return 0;
	if (r < 0)
		return r;
	r = dir->is_new ? 0 : hide_one(d, dir, name, err);
	dir_unpin(dir);
	return r;
}

int hide_all(struct dirs *d, const char *path, size_t len, struct err *err)
{
	struct dir *dir;
	int r = dirs_walk(d, path, len, DIRS_CREATE | DIRS_MARK, &dir, err);

	if (r < 0)
		return r;
	r = hide_lower(d, dir, err);
	dir_unpin(dir);
	return r;
}
