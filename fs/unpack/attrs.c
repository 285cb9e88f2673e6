#include "unpack/attrs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "unpack/acl.h"

#define ACCESS_ACL "system.posix_acl_access"
#define DEFAULT_ACL "system.posix_acl_default"

/*
 * What attributes are set on: an open file, or (fd < 0) path, which is the /proc/self/fd name of an
 * O_PATH descriptor: that very inode, and for a link the link itself.
 */
struct target {
	int fd;
	const char *path;
	mode_t type; /* S_IFMT bits */
	struct dir *dir;
};

void attrs_times(const struct tar_entry *e, struct timespec ret[2])
{
	/* What fits nanoseconds in 64 bits, as image tools hold times: to the year 2262. */
	static const time_t last = INT64_MAX / 1000000000;

	for (int i = 0; i < 2; i++) {
		ret[i] = i == 0 ? e->atime : e->mtime;
		if (ret[i].tv_sec < 0)
			ret[i] = (struct timespec){0};
		if (ret[i].tv_sec >= last)
			ret[i] = (struct timespec){.tv_sec = last};
	}
	if (ret[0].tv_sec < ret[1].tv_sec ||
	    (ret[0].tv_sec == ret[1].tv_sec && ret[0].tv_nsec < ret[1].tv_nsec))
		ret[0] = ret[1];
}

/* After a failed chown: 0 when we go on without. */
static int without_owner(const struct attrs *a, const struct tar_entry *e, int code,
			 struct err *err)
{
	if (!a->rootless || (code != EPERM && code != EINVAL))
		return err_errno(err, code, "set the owner %u:%u", e->uid, e->gid);
	omit(a->omissions, OMIT_OWNER, e->path, "owner %u:%u not set", e->uid, e->gid);
	return 0;
}

static int set_xattr(const struct target *t, const char *name, const void *value, size_t len)
{
	int r = t->fd >= 0 ? fsetxattr(t->fd, name, value, len, 0)
			   : setxattr(t->path, name, value, len, 0);

	return r < 0 ? errno : 0;
}

/* A failed setxattr(2): what containerd makes of it, and what --rootless lets pass. */
static int without_xattr(const struct attrs *a, const struct target *t, const struct tar_entry *e,
			 const char *name, int code, struct err *err)
{
	/* user.* is for files and directories alone (xattr(7)) */
	bool user_on_special = code == EPERM && strncmp(name, "user.", 5) == 0 &&
			       t->type != S_IFREG && t->type != S_IFDIR;

	if (code == ENOTSUP || user_on_special)
		omit(a->omissions, OMIT_XATTR_UNSUPPORTED, e->path, "attribute %.80s not set: %s",
		     name, err_describe(code));
	else if (a->rootless && (code == EPERM || code == EACCES))
		omit(a->omissions, OMIT_XATTR_DENIED, e->path, "attribute %.80s not set: %s", name,
		     err_describe(code));
	else
		return err_errno(err, code, "set attribute \"%.100s\"", name);
	return 0;
}

static int apply_xattr(const struct attrs *a, const struct target *t, const struct tar_entry *e,
		       const char *name, const void *value, size_t len, struct err *err)
{
	int code;

	/* trusted.* speaks to the kernel's overlayfs and the like: not a layer's business. */
	if (strncmp(name, "trusted.", 8) == 0) {
		omit(a->omissions, OMIT_XATTR_TRUSTED, e->path, "attribute %.80s not set", name);
		return 0;
	}
	/* Set at once it would be inherited by all that is made in the directory. */
	if (t->dir != NULL && strcmp(name, DEFAULT_ACL) == 0)
		return len <= XATTR_SIZE_MAX ? dir_set_default_acl(t->dir, value, len, err)
					     : without_xattr(a, t, e, name, E2BIG, err);
	code = set_xattr(t, name, value, len);
	return code != 0 ? without_xattr(a, t, e, name, code, err) : 0;
}

static int apply_acl(const struct attrs *a, const struct target *t, const struct tar_entry *e,
		     const char *name, const char *text, struct err *err)
{
	uint8_t value[ACL_MAX_BYTES];
	int n = text != NULL ? acl_from_text(text, value) : 0;

	if (n == -ENOENT) {
		omit(a->omissions, OMIT_ACL, e->path,
		     "access control list not set: it names users without their ids");
		return 0;
	}
	if (n < 0)
		return err_set(err, EBADMSG, "bad access control list");
	return n > 0 ? apply_xattr(a, t, e, name, value, (size_t)n, err) : 0;
}

/* A default ACL of the directory above has left its mark; the layer knows nothing of it. */
static void drop_inherited(const struct target *t)
{
	const char *const names[] = {ACCESS_ACL, DEFAULT_ACL};

	for (int i = 0; i < 2; i++) {
		if (t->fd >= 0)
			(void)fremovexattr(t->fd, names[i]);
		else
			(void)removexattr(t->path, names[i]);
	}
}

static int apply_xattrs(const struct attrs *a, const struct target *t, const struct tar_entry *e,
			struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < e->n_xattrs; i++)
		r = apply_xattr(a, t, e, e->xattrs[i].name, e->xattrs[i].value, e->xattrs[i].len,
				err);
	if (r == 0)
		r = apply_acl(a, t, e, ACCESS_ACL, e->acl_access, err);
	if (r == 0 && t->type == S_IFDIR)
		r = apply_acl(a, t, e, DEFAULT_ACL, e->acl_default, err);
	return r;
}

static bool has_xattrs(const struct tar_entry *e)
{
	return e->n_xattrs > 0 || e->acl_access != NULL || e->acl_default != NULL;
}

/* Owner and attributes of an open file or directory whose state is st; *st follows. */
static int apply_open(const struct attrs *a, const struct target *t, const struct tar_entry *e,
		      struct stat *st, struct err *err)
{
	int r = 0;

	if (st->st_uid != e->uid || st->st_gid != e->gid) {
		if (fchown(t->fd, e->uid, e->gid) < 0)
			r = without_owner(a, e, errno, err);
		st->st_mode &= ~(mode_t)(S_ISUID | S_ISGID);
	}
	if (r == 0 && has_xattrs(e)) {
		r = apply_xattrs(a, t, e, err);
		st->st_mode = 0; /* an ACL may have changed it */
	}
	return r;
}

int attrs_file(const struct attrs *a, const struct dir *parent, int fd, const struct tar_entry *e,
	       struct err *err)
{
	const struct target t = {.fd = fd, .type = S_IFREG};
	struct timespec times[2];
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "fstat");
	if (parent->has_default_acl) {
		drop_inherited(&t);
		st.st_mode = 0;
	}
	r = apply_open(a, &t, e, &st, err);
	if (r < 0)
		return r;
	if ((st.st_mode & 07777) != e->mode || st.st_mode == 0)
		if (fchmod(fd, e->mode) < 0)
			return err_errno(err, errno, "set the mode");
	attrs_times(e, times);
	return futimens(fd, times) < 0 ? err_errno(err, errno, "set the times") : 0;
}

int attrs_dir(const struct attrs *a, struct dir *dir, const struct tar_entry *e, struct err *err)
{
	const struct target t = {.fd = dir->fd, .type = S_IFDIR, .dir = dir};
	struct timespec times[2];
	struct stat st;
	int r;

	if (fstat(dir->fd, &st) < 0)
		return err_errno(err, errno, "fstat");
	if (dir->is_new && dir->has_default_acl) {
		drop_inherited(&t);
		dir->has_default_acl = false;
	}
	r = apply_open(a, &t, e, &st, err);
	if (r < 0)
		return r;
	attrs_times(e, times);
	dir_set_final(dir, e->mode, times);
	return 0;
}

/* The rare things that need an O_PATH descriptor: attributes of links, modes of devices. */
static int apply_by_path(const struct attrs *a, const struct dir *parent, const char *name,
			 const struct tar_entry *e, struct err *err)
{
	cleanup_fd int fd = openat(parent->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct fd_path self = fd_path(fd);
	struct target t = {.fd = -1, .path = self.s};
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_errno(err, errno, "open");
	t.type = st.st_mode & S_IFMT;
	if (parent->has_default_acl && t.type != S_IFLNK)
		drop_inherited(&t);
	r = apply_xattrs(a, &t, e, err);
	if (r < 0 || t.type == S_IFLNK)
		return r;
	return chmod(self.s, e->mode) < 0 ? err_errno(err, errno, "set the mode") : 0;
}

int attrs_other(const struct attrs *a, const struct dir *parent, const char *name,
		const struct tar_entry *e, struct err *err)
{
	/* The group of a set-group-id directory goes to what is made in it. */
	bool owned = e->uid == a->uid && e->gid == a->gid && (parent->mode & S_ISGID) == 0;
	struct timespec times[2];
	int r = 0;

	if (!owned && fchownat(parent->fd, name, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
		r = without_owner(a, e, errno, err);
	if (r == 0 && (e->type != TAR_SYMLINK || has_xattrs(e)))
		r = apply_by_path(a, parent, name, e, err);
	if (r < 0)
		return r;
	attrs_times(e, times);
	if (utimensat(parent->fd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(err, errno, "set the times");
	return 0;
}
