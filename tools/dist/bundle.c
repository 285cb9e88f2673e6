#include "dist/bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "dist/volumes.h"
#include "oci/passwd.h"
#include "oci/runtime_spec.h"

/*
 * Links are followed inside the root alone. What it is is looked at before it is opened: to open a
 * device, which a layer may bring along, can be enough to set it off.
 */
static int open_file_in_root(int root_fd, const char *path)
{
	cleanup_fd int fd =
		fd_openat2(root_fd, path, O_PATH, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
	struct stat st;
	int r;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOENT;
	r = open(fd_path(fd).s, O_RDONLY | O_NOCTTY | O_CLOEXEC);
	return r < 0 ? -errno : r;
}

/* A regular file of the image; none is as good as an empty one. */
static int read_in_root(int root_fd, const char *path, struct buf *b, struct err *err)
{
	cleanup_fd int fd = open_file_in_root(root_fd, path);
	struct stat st;
	ssize_t n;
	int r;

	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return 0;
	if (fd < 0)
		return err_errno(err, -fd, "%s of the image", path);
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "%s of the image", path);
	r = (uint64_t)st.st_size > b->max ? -E2BIG : buf_reserve(b, (size_t)st.st_size);
	if (r < 0)
		return err_errno(err, -r, "%s of the image", path);
	n = fd_read_full(fd, b->data + b->len, (size_t)st.st_size);
	if (n < 0)
		return err_errno(err, (int)-n, "%s of the image", path);
	b->len += (size_t)n;
	return 0;
}

static int resolve_user(int dir_fd, const char *user, struct process_user *ret, struct err *err)
{
	cleanup_fd int root_fd = openat(dir_fd, "rootfs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	cleanup_buf struct buf passwd, group;
	int r;

	buf_init(&passwd, PASSWD_MAX_BYTES);
	buf_init(&group, PASSWD_MAX_BYTES);
	if (root_fd < 0)
		return err_errno(err, errno, "rootfs");
	r = read_in_root(root_fd, "etc/passwd", &passwd, err);
	if (r == 0)
		r = read_in_root(root_fd, "etc/group", &group, err);
	if (r == 0)
		r = passwd_resolve(user, passwd.data, passwd.len, group.data, group.len, ret, err);
	return r;
}

/* The one id that we can give to a container without privilege is its root's, which is us. */
static void be_root(const struct bundle_options *o, struct process_user *u)
{
	char text[128];

	if ((u->uid != 0 || u->gid != 0) && o->warn != NULL) {
		(void)snprintf(text, sizeof(text),
			       "user %u:%u cannot be had rootless: the process runs as its root",
			       u->uid, u->gid);
		o->warn(o->warn_arg, text);
	}
	u->uid = u->gid = 0;
}

int bundle_finish(int dir_fd, const struct image_config *c, const struct bundle_options *o,
		  struct err *err)
{
	cleanup(volumes_done) struct volumes v = {0};
	cleanup_free char *text = NULL;
	struct process_user user = {0};
	struct runtime_options spec = {
		.user = &user,
		.args = o->args,
		.terminal = o->terminal,
		.rootless = o->rootless,
		.host_uid = geteuid(),
		.host_gid = getegid(),
	};
	int r = resolve_user(dir_fd, c->user, &user, err);

	if (r == 0 && o->rootless)
		be_root(o, &user);
	if (r == 0)
		r = volumes_make(dir_fd, c, &v, err);
	if (r < 0)
		return r;
	spec.volumes = v.mounts;
	spec.n_volumes = v.n;
	r = runtime_spec_make(c, &spec, &text, err);
	if (r < 0)
		return r;
	r = fd_write_file(dir_fd, "config.json", text, strlen(text), 0644);
	return r < 0 ? err_errno(err, -r, "config.json") : 0;
}
