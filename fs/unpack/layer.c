#include "unpack/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "unpack/attrs.h"
#include "unpack/hide.h"
#include "unpack/names.h"
#include "unpack/tar.h"

#define MAX_TRIES 8 /* when somebody else puts things in our way */

struct layer {
	struct tar tar;
	struct dirs dirs;
	struct key_set set;
	struct attrs attrs;
	struct omissions *omissions;
	bool in_user_namespace;
	uint64_t n_entries, max_entries;
	char last[256]; /* the entry before, for errors between two */
};

/* What an entry is to be made as. */
struct place {
	struct dir *parent; /* pinned */
	const char *name;
};

/* Until make() does not say -EEXIST, what is in its way is removed. */
static int make_replacing(struct layer *l, const struct tar_entry *e, const struct place *at,
			  int (*make)(struct layer *l, const struct tar_entry *e,
				      const struct place *at),
			  struct err *err)
{
	for (int i = 0; i < MAX_TRIES; i++) {
		int fd = make(l, e, at);

		if (fd != -EEXIST)
			return fd < 0 ? err_errno(err, -fd, "create") : fd;
		fd = hide_remove(&l->dirs, at->parent, at->name, err);
		if (fd < 0)
			return fd;
	}
	return err_errno(err, EEXIST, "create");
}

static int make_file(struct layer *l, const struct tar_entry *e, const struct place *at)
{
	int fd = openat(at->parent->fd, at->name,
			O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC,
			e->mode & 0777);

	(void)l;
	return fd < 0 ? -errno : fd;
}

static int write_data(struct layer *l, const struct tar_entry *e, int fd, struct err *err)
{
	const uint8_t *p;
	uint64_t offset;
	size_t n;
	int r;

	while ((r = tar_data(&l->tar, &p, &n, &offset, err)) > 0) {
		r = e->is_sparse ? fd_pwrite_full(fd, p, n, offset) : fd_write_full(fd, p, n);
		if (r < 0)
			return err_errno(err, -r, "write");
	}
	if (r == 0 && e->is_sparse && ftruncate(fd, (off_t)e->size) < 0)
		return err_errno(err, errno, "set the size to %llu", (unsigned long long)e->size);
	return r;
}

static int apply_file(struct layer *l, const struct tar_entry *e, const struct place *at,
		      struct err *err)
{
	cleanup_fd int fd = make_replacing(l, e, at, make_file, err);
	int r;

	if (fd < 0)
		return fd;
	r = write_data(l, e, fd, err);
	if (r == 0)
		r = attrs_file(&l->attrs, at->parent, fd, e, err);
	if (r < 0) /* no half file is left that looks like a whole one */
		(void)unlinkat(at->parent->fd, at->name, 0);
	return r;
}

static int make_symlink(struct layer *l, const struct tar_entry *e, const struct place *at)
{
	(void)l;
	return symlinkat(e->link, at->parent->fd, at->name) < 0 ? -errno : 0;
}

static int make_special(struct layer *l, const struct tar_entry *e, const struct place *at)
{
	mode_t type = e->type == TAR_FIFO ? S_IFIFO : e->type == TAR_CHAR ? S_IFCHR : S_IFBLK;
	dev_t dev = e->type == TAR_FIFO ? 0 : makedev(e->major, e->minor);

	(void)l;
	return mknodat(at->parent->fd, at->name, type | (e->mode & 0777), dev) < 0 ? -errno : 0;
}

static int apply_special(struct layer *l, const struct tar_entry *e, const struct place *at,
			 struct err *err)
{
	bool device = e->type != TAR_FIFO;
	int r;

	if (device && l->attrs.rootless) {
		omit(l->omissions, OMIT_DEVICE, e->path, "device not made");
		return hide_remove(&l->dirs, at->parent, at->name, err);
	}
	r = make_replacing(l, e, at, make_special, err);
	if (r == -EPERM && device && l->in_user_namespace) {
		omit(l->omissions, OMIT_DEVICE, e->path,
		     "device not made: not allowed in a user namespace");
		return 0;
	}
	return r < 0 ? r : attrs_other(&l->attrs, at->parent, at->name, e, err);
}

static int apply_symlink(struct layer *l, const struct tar_entry *e, const struct place *at,
			 struct err *err)
{
	int r;

	if (e->link[0] == '\0')
		return err_set(err, EBADMSG, "a link to nothing");
	r = make_replacing(l, e, at, make_symlink, err);
	return r < 0 ? r : attrs_other(&l->attrs, at->parent, at->name, e, err);
}

/* Two names of one file? */
static bool is_same(const struct dir *a, const char *a_name, const struct dir *b,
		    const char *b_name)
{
	struct stat x, y;

	return fstatat(a->fd, a_name, &x, AT_SYMLINK_NOFOLLOW) == 0 &&
	       fstatat(b->fd, b_name, &y, AT_SYMLINK_NOFOLLOW) == 0 && x.st_dev == y.st_dev &&
	       x.st_ino == y.st_ino;
}

/* One try: 0, 1 when something else is in the way, or a negative errno. */
static int try_link(struct layer *l, const struct clean_name *target, const struct place *at,
		    struct err *err)
{
	struct dir *from;
	int r = dirs_walk(&l->dirs, target->path, target->parent_len, 0, &from, err);

	if (r < 0)
		return r;
	if (linkat(from->fd, target->base, at->parent->fd, at->name, 0) < 0) {
		r = -errno;
		if (r == -EEXIST)
			r = is_same(from, target->base, at->parent, at->name) ? 0 : 1;
	}
	dir_unpin(from);
	return r < 0 ? err_errno(err, -r, "link") : r;
}

/* A link has the attributes of its file: nothing is set, so that nothing can be set on another. */
static int apply_link(struct layer *l, const struct tar_entry *e, const struct place *at,
		      struct err *err)
{
	struct clean_name target;
	int r = clean_name(e->link, &target, err);

	if (r == 0 && target.path[0] == '\0')
		return err_set(err, EBADMSG, "a hard link to a directory");
	for (int i = 0; r == 0 && i < MAX_TRIES; i++) {
		r = try_link(l, &target, at, err);
		if (r < 0)
			return err_wrap(err, r, "hard link to \"%.150s\"", e->link);
		if (r == 0)
			return 0;
		r = hide_remove(&l->dirs, at->parent, at->name, err);
	}
	return r < 0 ? r : err_errno(err, EEXIST, "link");
}

/* A directory over a directory is the same one. */
static int apply_dir(struct layer *l, const struct tar_entry *e, const struct place *at,
		     struct err *err)
{
	struct dir *dir;
	int r = 0;

	for (int i = 0; i < MAX_TRIES; i++) {
		r = dirs_make(&l->dirs, at->parent, at->name, &dir, err);
		if (r == -EEXIST)
			r = dirs_child(&l->dirs, at->parent, at->name, &dir, err);
		if (r == 0) {
			r = attrs_dir(&l->attrs, dir, e, err);
			dir_unpin(dir);
			return r;
		}
		if (r != -ENOTDIR && r != -ENOENT)
			return r;
		r = hide_remove(&l->dirs, at->parent, at->name, err);
		if (r < 0)
			return r;
	}
	return err_errno(err, EEXIST, "create");
}

static int apply_at(struct layer *l, const struct tar_entry *e, const struct place *at,
		    struct err *err)
{
	switch (e->type) {
	case TAR_FILE:
		return apply_file(l, e, at, err);
	case TAR_LINK:
		return apply_link(l, e, at, err);
	case TAR_SYMLINK:
		return apply_symlink(l, e, at, err);
	case TAR_DIR:
		return apply_dir(l, e, at, err);
	default:
		return apply_special(l, e, at, err);
	}
}

/* "./": the root's own attributes. Anything else that comes out there is passed over. */
static int apply_root(struct layer *l, const struct tar_entry *e, const struct clean_name *name,
		      struct err *err)
{
	if (e->type != TAR_DIR || name->had_dotdot || e->path[0] == '\0')
		return 0;
	return attrs_dir(&l->attrs, l->dirs.root, e, err);
}

static int apply_entry(struct layer *l, const struct tar_entry *e, struct err *err)
{
	struct clean_name name;
	struct place at;
	const char *hidden;
	int r = clean_name(e->path, &name, err);

	if (r < 0)
		return r;
	if (name.path[0] == '\0')
		return apply_root(l, e, &name, err);
	switch (whiteout_of(&name, &hidden)) {
	case WHITEOUT_NAME:
		return hide_name(&l->dirs, name.path, name.parent_len, hidden, err);
	case WHITEOUT_OPAQUE:
		return hide_all(&l->dirs, name.path, name.parent_len, err);
	case WHITEOUT_META:
		omit(l->omissions, OMIT_AUFS, e->path, "a file of AUFS itself, passed over");
		return 0;
	case WHITEOUT_BAD:
		return err_set(err, EBADMSG, "a whiteout of what is no name");
	case WHITEOUT_NONE:
		break;
	}
	r = dirs_walk(&l->dirs, name.path, name.parent_len, DIRS_CREATE | DIRS_MARK, &at.parent,
		      err);
	if (r < 0)
		return r;
	at.name = name.base;
	r = dirs_mark(&l->dirs, at.parent, at.name, err);
	if (r == 0)
		r = apply_at(l, e, &at, err);
	dir_unpin(at.parent);
	return r;
}

/* Names in errors: the entry's, or where between entries it was. */
static int name_it(struct layer *l, int r, struct err *err)
{
	const char *name = tar_name(&l->tar);

	if (name[0] != '\0')
		return err_wrap(err, r, "%.250s", name);
	if (l->last[0] != '\0')
		return err_wrap(err, r, "after %.250s", l->last);
	return r;
}

static int apply_entries(struct layer *l, struct err *err)
{
	const struct tar_entry *e;
	int r;

	while ((r = tar_next(&l->tar, &e, err)) > 0) {
		if (l->max_entries > 0 && l->n_entries == l->max_entries)
			r = err_set(err, E2BIG, "more than %llu entries",
				    (unsigned long long)l->max_entries);
		else
			r = apply_entry(l, e, err);
		if (r < 0)
			break;
		l->n_entries++;
		(void)snprintf(l->last, sizeof(l->last), "%s", e->path);
	}
	return r < 0 ? name_it(l, r, err) : 0;
}

/* Whether our root is not the machine's: user_namespaces(7), the initial one maps all ids. */
static bool in_user_namespace(void)
{
	cleanup_buf struct buf b;
	unsigned long inside, outside, n;

	buf_init(&b, 4096);
	if (fd_read_file(AT_FDCWD, "/proc/self/uid_map", &b) < 0)
		return false;
	if (sscanf(b.data, "%lu %lu %lu", &inside, &outside, &n) != 3)
		return false;
	return !(inside == 0 && outside == 0 && n == UINT32_MAX);
}

/* Whatever went wrong, the directories made so far get the modes that they should have. */
static int finish(struct layer *l, int r, struct err *err)
{
	struct err e = {0};
	int f = dirs_finish(&l->dirs, &e);

	if (r == 0 && f < 0) {
		r = f;
		if (err != NULL)
			*err = e;
	}
	return r;
}

static int run(struct layer *l, int root_fd, struct err *err)
{
	int r = key_set_init(&l->set);

	if (r < 0)
		return err_errno(err, -r, "getrandom");
	r = dirs_init(&l->dirs, root_fd, &l->set, err);
	if (r < 0)
		return r;
	r = apply_entries(l, err);
	r = finish(l, r, err);
	if (r == 0 && l->n_entries > 0 && !tar_has_end_mark(&l->tar))
		omit(l->omissions, OMIT_END_MARK, NULL,
		     "the archive has no end mark, it may be cut short");
	return r < 0 ? r : tar_drain(&l->tar, err);
}

int layer_apply(int root_fd, bytes_next_fn *next, void *arg, const struct unpack_options *options,
		struct omissions *omissions, uint64_t *ret_n, struct err *err)
{
	struct layer l = {.omissions = omissions, .max_entries = options->max_entries};
	int r;

	l.attrs = (struct attrs){options->rootless, geteuid(), getegid(), omissions};
	l.in_user_namespace = in_user_namespace();
	tar_init(&l.tar, next, arg);
	r = run(&l, root_fd, err);
	dirs_done(&l.dirs);
	key_set_done(&l.set);
	tar_done(&l.tar);
	if (r < 0)
		return r;
	*ret_n = l.n_entries;
	return 0;
}
