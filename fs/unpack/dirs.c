#include "unpack/dirs.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

#define DEFAULT_ACL "system.posix_acl_default"
#define ONE_STEP (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS)

static struct dir *new_dir(const char *name)
{
	size_t n = strlen(name) + 1;
	struct dir *dir = calloc(1, sizeof(*dir) + n);

	if (dir == NULL)
		return NULL;
	memcpy(dir->name, name, n);
	list_init(&dir->lru);
	list_init(&dir->siblings);
	list_init(&dir->children);
	dir->fd = -1;
	return dir;
}

static void free_dir(struct dir *dir)
{
	if (dir->fd >= 0)
		(void)close(dir->fd);
	free(dir->default_acl);
	free(dir);
}

/* What is known of an open directory; made: we have just made it. */
static int look(struct dirs *d, struct dir *dir, bool made, struct err *err)
{
	struct stat st;

	if (fstat(dir->fd, &st) < 0)
		return err_errno(err, errno, "fstat");
	dir->dev = st.st_dev;
	dir->ino = st.st_ino;
	dir->mode = st.st_mode & 07777;
	dir->times[0] = st.st_atim;
	dir->times[1] = st.st_mtim;
	if (made)
		return 0;
	dir->end_times = true;
	dir->is_new = key_set_has(d->set, key_set_key(d->set, KEY_NEW, dir->dev, dir->ino, ""));
	dir->has_default_acl = fgetxattr(dir->fd, DEFAULT_ACL, NULL, 0) > 0;
	if (d->unprivileged && (dir->mode & 0700) != 0700 && st.st_uid == geteuid() &&
	    fchmod(dir->fd, dir->mode | 0700) == 0) {
		dir->end_mode = true;
		dir->final_mode = dir->mode;
	}
	return 0;
}

int dirs_init(struct dirs *d, int root_fd, struct key_set *set, struct err *err)
{
	*d = (struct dirs){.set = set, .unprivileged = geteuid() != 0};
	list_init(&d->lru);
	d->last_path = malloc(PATH_MAX);
	d->root = new_dir("");
	if (d->root == NULL || d->last_path == NULL)
		return err_set(err, ENOMEM, "out of memory");
	d->root->fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 0);
	if (d->root->fd < 0)
		return err_errno(err, errno, "duplicate a descriptor");
	return look(d, d->root, /* made= */ false, err);
}

static int set_final(struct dir *dir, struct err *err)
{
	int r = 0;

	if (dir->default_acl != NULL &&
	    fsetxattr(dir->fd, DEFAULT_ACL, dir->default_acl, dir->default_acl_len, 0) < 0)
		r = err_errno(err, errno, "set the default ACL");
	if (r == 0 && dir->end_mode && fchmod(dir->fd, dir->final_mode) < 0)
		r = err_errno(err, errno, "set the mode");
	if (r == 0 && dir->end_times && dir->is_changed && futimens(dir->fd, dir->times) < 0)
		r = err_errno(err, errno, "set the times");
	return r < 0 ? err_wrap(err, r, "directory \"%.200s\"", dir->name) : 0;
}

static void unlink_dir(struct dirs *d, struct dir *dir)
{
	list_del(&dir->lru);
	list_del(&dir->siblings);
	d->n_open--;
	if (d->last == dir)
		d->last = NULL;
}

/* Close the one that was used longest ago, among those with none below them open. */
static int evict_one(struct dirs *d, struct err *err)
{
	list_for_each (n, &d->lru) {
		struct dir *dir = list_entry(n, struct dir, lru);
		int r;

		if (dir->pins > 0 || !list_empty(&dir->children))
			continue;
		r = set_final(dir, err);
		unlink_dir(d, dir);
		free_dir(dir);
		return r;
	}
	return 0;
}

static void touch(struct dirs *d, struct dir *dir)
{
	if (dir->parent == NULL)
		return;
	list_del(&dir->lru);
	list_add_tail(&d->lru, &dir->lru);
	list_del(&dir->siblings);
	list_add_head(&dir->parent->children, &dir->siblings);
}

static struct dir *find_open(const struct dir *parent, const char *name)
{
	list_for_each (n, &parent->children) {
		struct dir *dir = list_entry(n, struct dir, siblings);

		if (strcmp(dir->name, name) == 0)
			return dir;
	}
	return NULL;
}

/*
 * A directory of ours that its owner may not read: opened up by an O_PATH descriptor, which is that
 * very directory, whatever its name means by then.
 */
static int open_up(int parent_fd, const char *name)
{
	cleanup_fd int fd =
		fd_openat2(parent_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, ONE_STEP);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0 || st.st_uid != geteuid())
		return -EACCES;
	if (chmod(fd_path(fd).s, (st.st_mode & 07777) | 0700) < 0)
		return -errno;
	return (int)(st.st_mode & 07777);
}

static int open_one(const struct dirs *d, struct dir *dir, int parent_fd)
{
	int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK;
	int fd = fd_openat2(parent_fd, dir->name, flags, 0, ONE_STEP);
	int mode;

	if (fd != -EACCES || !d->unprivileged)
		return fd;
	mode = open_up(parent_fd, dir->name);
	if (mode < 0)
		return mode;
	dir->end_mode = true;
	dir->final_mode = (mode_t)mode;
	return fd_openat2(parent_fd, dir->name, flags, 0, ONE_STEP);
}

/* Open name in parent; the error's text is the caller's to give. */
static int open_child(struct dirs *d, struct dir *parent, const char *name, bool made,
		      struct dir **ret, struct err *err)
{
	struct dir *dir;
	int r = 0;

	if (parent->depth + 1 > DIRS_MAX_DEPTH)
		return err_set(err, E2BIG, "more than %d directories deep", DIRS_MAX_DEPTH);
	parent->pins++;
	if (d->n_open >= DIRS_MAX_OPEN)
		r = evict_one(d, err);
	parent->pins--;
	if (r < 0)
		return r;
	dir = new_dir(name);
	if (dir == NULL)
		return err_set(err, ENOMEM, "out of memory");
	dir->fd = open_one(d, dir, parent->fd);
	if (dir->fd < 0) {
		r = dir->fd;
		dir->fd = -1;
		(void)err_errno(err, -r, "open directory \"%.200s\"", name);
	} else {
		r = look(d, dir, made, err);
	}
	if (r < 0) {
		free_dir(dir);
		return r;
	}
	dir->parent = parent;
	dir->depth = parent->depth + 1;
	list_add_tail(&d->lru, &dir->lru);
	list_add_head(&parent->children, &dir->siblings);
	d->n_open++;
	*ret = dir;
	return 0;
}

int dirs_child(struct dirs *d, struct dir *parent, const char *name, struct dir **ret,
	       struct err *err)
{
	struct dir *dir = find_open(parent, name);
	int r;

	if (dir == NULL) {
		r = open_child(d, parent, name, /* made= */ false, &dir, err);
		if (dir == NULL)
			return r == -ELOOP ? err_errno(err, ENOTDIR, "\"%.200s\"", name) : r;
	}
	touch(d, dir);
	dir->is_changed = true;
	dir->pins++;
	*ret = dir;
	return 0;
}

int dirs_make(struct dirs *d, struct dir *parent, const char *name, struct dir **ret,
	      struct err *err)
{
	struct dir *dir = NULL;
	int r;

	if (mkdirat(parent->fd, name, 0700) < 0)
		return err_errno(err, errno, "make directory \"%.200s\"", name);
	dirs_forget(d, parent, name);
	r = open_child(d, parent, name, /* made= */ true, &dir, err);
	if (dir == NULL)
		return r;
	dir->is_new = true;
	dir->has_default_acl = parent->has_default_acl;
	r = key_set_add(d->set, key_set_key(d->set, KEY_NEW, dir->dev, dir->ino, ""));
	if (r < 0)
		return err_errno(err, -r, "remember a directory");
	dir->pins++;
	*ret = dir;
	return 0;
}

void dir_unpin(struct dir *dir)
{
	assert(dir->pins > 0);
	dir->pins--;
}

int dirs_mark(struct dirs *d, const struct dir *dir, const char *name, struct err *err)
{
	int r;

	if (dir->is_new)
		return 0;
	r = key_set_add(d->set, key_set_key(d->set, KEY_NAME, dir->dev, dir->ino, name));
	return r < 0 ? err_errno(err, -r, "remember a name") : 0;
}

void dir_set_final(struct dir *dir, mode_t mode, const struct timespec times[2])
{
	dir->end_mode = dir->end_times = dir->is_changed = true;
	dir->final_mode = mode;
	dir->times[0] = times[0];
	dir->times[1] = times[1];
}

int dir_set_default_acl(struct dir *dir, const void *value, size_t len, struct err *err)
{
	void *copy = malloc(len > 0 ? len : 1);

	if (copy == NULL)
		return err_set(err, ENOMEM, "out of memory");
	memcpy(copy, value, len);
	free(dir->default_acl);
	dir->default_acl = copy;
	dir->default_acl_len = len;
	return 0;
}

/* One below dir that has none below it, or dir itself. */
static struct dir *lowest(struct dir *dir)
{
	while (!list_empty(&dir->children))
		dir = list_entry(dir->children.next, struct dir, siblings);
	return dir;
}

void dirs_forget(struct dirs *d, struct dir *parent, const char *name)
{
	struct dir *top = find_open(parent, name), *dir;

	d->last = NULL; /* it may have led through a link of that name */
	if (top == NULL)
		return;
	do {
		dir = lowest(top);
		assert(dir->pins == 0);
		unlink_dir(d, dir);
		if (dir != top)
			free_dir(dir);
	} while (dir != top);
	free_dir(top);
}

/* The walk: where it is, and what is left of the path, links replaced by their targets. */
struct walk {
	struct dir *at;
	unsigned int flags;
	int links;
	char rest[2 * PATH_MAX];
};

/* Put the target of the link called name in front of what is left. -EINVAL: it is no link. */
static int follow(struct dirs *d, struct walk *w, const char *name, const char *rest,
		  struct err *err)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(w->at->fd, name, target, sizeof(target));
	size_t left = strlen(rest);

	if (n < 0)
		return errno == EINVAL ? err_errno(err, ENOTDIR, "\"%.200s\"", name)
				       : err_errno(err, errno, "read link \"%.200s\"", name);
	if (++w->links > DIRS_MAX_LINKS)
		return err_errno(err, ELOOP, "\"%.200s\"", name);
	if ((size_t)n + 1 + left >= sizeof(w->rest))
		return err_errno(err, ENAMETOOLONG, "\"%.200s\"", name);
	memmove(w->rest + n + 1, rest, left + 1);
	memcpy(w->rest, target, (size_t)n);
	w->rest[n] = '/';
	if (target[0] == '/')
		w->at = d->root;
	return 0;
}

static int make_missing(struct dirs *d, struct walk *w, const char *name, struct dir **ret,
			struct err *err)
{
	struct dir *dir = NULL;
	int r = dirs_make(d, w->at, name, &dir, err);

	if (dir == NULL)
		return r;
	dir_unpin(dir);
	dir->final_mode = 0755 | (dir->mode & S_ISGID);
	dir->end_mode = true;
	w->at->is_changed = true;
	*ret = dir;
	return 0;
}

/* One name further. 0, or 1 when it was a link, whose target is to be walked instead. */
static int step(struct dirs *d, struct walk *w, const char *name, const char *rest, struct err *err)
{
	struct dir *dir = find_open(w->at, name);
	int r = 0;

	if (dir == NULL)
		r = open_child(d, w->at, name, /* made= */ false, &dir, err);
	if (r == -ENOENT && (w->flags & DIRS_CREATE) != 0) {
		r = make_missing(d, w, name, &dir, err);
		if (r == -EEXIST) /* a link to nowhere, or somebody else was faster */
			r = -ELOOP;
	}
	if (r == -ELOOP || r == -ENOTDIR) {
		r = follow(d, w, name, rest, err);
		return r < 0 ? r : 1;
	}
	if (dir == NULL)
		return r;
	if ((w->flags & DIRS_MARK) != 0 && !dir->named) {
		r = dirs_mark(d, w->at, name, err);
		dir->named = true;
	}
	w->at = dir;
	return r;
}

static int walk_rest(struct dirs *d, struct walk *w, struct err *err)
{
	char *at = w->rest;

	for (;;) {
		char *name = at + strspn(at, "/");
		size_t n = strcspn(name, "/");
		int r = 0;

		if (n == 0)
			return 0;
		at = name + n + (name[n] == '/');
		name[n] = '\0';
		if (strcmp(name, "..") == 0)
			w->at = w->at->parent != NULL ? w->at->parent : d->root;
		else if (strcmp(name, ".") != 0)
			r = step(d, w, name, at, err);
		if (r < 0)
			return r;
		if (r > 0)
			at = w->rest;
	}
}

static void remember_walk(struct dirs *d, struct dir *dir, const char *path, size_t len)
{
	/* Those above are needed as long as those below. */
	for (struct dir *up = dir; up->parent != NULL; up = up->parent)
		touch(d, up);
	memcpy(d->last_path, path, len);
	d->last_len = len;
	d->last = dir;
}

int dirs_walk(struct dirs *d, const char *path, size_t len, unsigned int flags, struct dir **ret,
	      struct err *err)
{
	struct walk w = {.at = d->root, .flags = flags};
	int r;

	assert(len < PATH_MAX);
	if (d->last != NULL && d->last_len == len && memcmp(d->last_path, path, len) == 0 &&
	    (flags & DIRS_MARK) != 0) {
		d->last->pins++;
		*ret = d->last;
		return 0;
	}
	memcpy(w.rest, path, len);
	w.rest[len] = '\0';
	r = walk_rest(d, &w, err);
	if (r < 0)
		return r;
	w.at->is_changed = true;
	w.at->pins++;
	if ((flags & DIRS_MARK) != 0)
		remember_walk(d, w.at, path, len);
	*ret = w.at;
	return 0;
}

int dirs_finish(struct dirs *d, struct err *err)
{
	int first = 0;

	while (!list_empty(&d->lru)) {
		struct dir *dir = lowest(d->root);
		struct err e = {0};
		int r = set_final(dir, &e);

		if (r < 0 && first == 0) {
			first = r;
			if (err != NULL)
				*err = e;
		}
		unlink_dir(d, dir);
		free_dir(dir);
	}
	if (first == 0)
		first = set_final(d->root, err);
	return first;
}

void dirs_done(struct dirs *d)
{
	while (d->root != NULL && !list_empty(&d->lru)) {
		struct dir *dir = lowest(d->root);

		unlink_dir(d, dir);
		free_dir(dir);
	}
	if (d->root != NULL)
		free_dir(d->root);
	d->root = NULL;
	free(d->last_path);
	d->last_path = NULL;
}
