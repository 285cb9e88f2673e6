/* The table of FUSE operations: which node a request is for decides who answers. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/log.h"
#include "mount/private.h"
#include "mount/readahead.h"

#define FIXED_TTL 3600.0 /* seconds: what never changes */
#define DIR_TTL 1.0

/* The kernel has taken the answer to INIT in. */
static void answered(void *arg)
{
	struct mount *m = arg;

	readahead_raise(m->device);
	if (m->ready != NULL)
		m->ready(m->ready_arg);
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct mount *m = userdata;

	/* Commits, deletions and lazy fills change attributes behind a write-back cache. */
	conn->want &= ~(unsigned int)FUSE_CAP_WRITEBACK_CACHE;
	/* The kernel asks for a page after the last one it was answered. */
	if ((conn->capable & FUSE_CAP_PARALLEL_DIROPS) != 0)
		conn->want |= FUSE_CAP_PARALLEL_DIROPS;
	conn->max_write = 1U << 20;
	conn->max_read = m->max_read;
	conn->max_background = 64;
	conn->congestion_threshold = 48;
	passthrough_expect_init(m->passthrough, answered, m);
}

static void reply_fixed(fuse_req_t req, fuse_ino_t ino)
{
	struct mount *m = mount_of(req);
	struct fuse_entry_param e = {.ino = ino, .generation = 1, .entry_timeout = FIXED_TTL};

	e.attr_timeout = DIR_TTL;
	(void)fixed_attr(m, ino, &e.attr);
	fuse_reply_entry(req, &e);
}

static bool is_ref_dir(fuse_ino_t ino)
{
	return ino == INO_INGEST || ino_is_ref(ino);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (parent == INO_ROOT && strcmp(name, "blobs") == 0)
		reply_fixed(req, INO_BLOBS);
	else if (parent == INO_ROOT && strcmp(name, "ingest") == 0)
		reply_fixed(req, INO_INGEST);
	else if (parent == INO_ROOT && strcmp(name, "active") == 0)
		reply_fixed(req, INO_ACTIVE);
	else if (parent == INO_BLOBS && strcmp(name, "sha256") == 0)
		reply_fixed(req, INO_SHA256);
	else if (parent == INO_SHA256)
		blobs_lookup(req, name);
	else if (is_ref_dir(parent))
		refs_lookup(req, parent, name);
	else
		fuse_reply_err(req, ENOENT);
}

static void forget_one(struct mount *m, fuse_ino_t ino, uint64_t n)
{
	if (ino_is_blob(ino))
		blob_table_forget(m->blobs, (uint32_t)ino, n);
	else if (ino_is_ref(ino))
		ref_tree_forget(m->refs, (uint32_t)ino, n);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	forget_one(mount_of(req), ino, n);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget_one(mount_of(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct mount *m = mount_of(req);
	struct stat st;

	if (ino_is_blob(ino))
		blob_getattr(req, ino, fi);
	else if (ino_is_ref(ino))
		refs_getattr(req, ino, fi);
	else if (fixed_attr(m, ino, &st))
		fuse_reply_attr(req, &st, DIR_TTL);
	else
		fuse_reply_err(req, ESTALE);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		       struct fuse_file_info *fi)
{
	if (ino_is_ref(ino))
		refs_setattr(req, ino, attr, to_set, fi);
	else
		fuse_reply_err(req, EROFS);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	(void)rdev;
	if (is_ref_dir(parent))
		refs_mknod(req, parent, name, mode);
	else
		fuse_reply_err(req, EROFS);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	(void)mode;
	if (is_ref_dir(parent))
		refs_mkdir(req, parent, name);
	else
		fuse_reply_err(req, EROFS);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (parent == INO_SHA256)
		blobs_unlink(req, name);
	else if (is_ref_dir(parent))
		refs_unlink(req, parent, name);
	else
		fuse_reply_err(req, EROFS);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	if (is_ref_dir(parent))
		refs_rmdir(req, parent, name);
	else
		fuse_reply_err(req, EROFS);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	(void)target;
	(void)name;
	fuse_reply_err(req, is_ref_dir(parent) ? EPERM : EROFS);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to_parent,
		      const char *to_name, unsigned int flags)
{
	(void)name;
	(void)to_name;
	(void)flags;
	/* EXDEV would make mv copy, which is what it wants for a move out of the mount alone. */
	fuse_reply_err(req, is_ref_dir(parent) && is_ref_dir(to_parent) ? EPERM : EROFS);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	(void)ino;
	(void)name;
	fuse_reply_err(req, is_ref_dir(parent) ? EPERM : EROFS);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (ino_is_blob(ino))
		blob_open_file(req, ino, fi);
	else if (ino_is_ref(ino))
		ref_open(req, ino, fi);
	else if (ino == INO_ACTIVE && (fi->flags & O_ACCMODE) == O_RDONLY)
		active_open(req, fi);
	else
		fuse_reply_err(req, EROFS);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	(void)mode;
	if (is_ref_dir(parent))
		ref_create(req, parent, name, fi);
	else
		fuse_reply_err(req, EROFS);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	if (ino_is_blob(ino))
		blob_read_file(req, size, off, fi);
	else if (ino_is_ref(ino))
		ref_read(req, size, off, fi);
	else
		active_read(req, size, off, fi);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	if (ino_is_ref(ino))
		ref_write(req, buf, size, off, fi);
	else
		fuse_reply_err(req, EBADF);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (ino_is_ref(ino))
		ref_flush(req, ino, fi);
	else
		fuse_reply_err(req, 0);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	(void)datasync;
	if (ino_is_ref(ino))
		ref_fsync(req, fi);
	else
		fuse_reply_err(req, 0);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (ino_is_blob(ino))
		blob_release(req, ino, fi);
	else if (ino_is_ref(ino))
		ref_release(req, ino, fi);
	else
		active_release(req, fi);
}

/* The directories that never change: their names, by node. */
static void open_fixed_dir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct dir_list *l = dir_list_new();
	int r = l == NULL ? -ENOMEM : 0;

	if (r == 0 && ino == INO_ROOT) {
		r = dir_list_add(l, "blobs", INO_BLOBS, S_IFDIR);
		if (r == 0)
			r = dir_list_add(l, "ingest", INO_INGEST, S_IFDIR);
		if (r == 0)
			r = dir_list_add(l, "active", INO_ACTIVE, S_IFREG);
	} else if (r == 0) {
		r = dir_list_add(l, "sha256", INO_SHA256, S_IFDIR);
	}
	fi->fh = (uintptr_t)l;
	if (r < 0)
		fuse_reply_err(req, -r);
	if (r < 0 || fuse_reply_open(req, fi) != 0)
		(void)dir_list_free(l);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (ino == INO_SHA256)
		blobs_opendir(req, fi);
	else if (is_ref_dir(ino))
		refs_opendir(req, ino, fi);
	else if (ino == INO_ROOT || ino == INO_BLOBS)
		open_fixed_dir(req, ino, fi);
	else
		fuse_reply_err(req, ENOTDIR);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	if (ino == INO_SHA256)
		blobs_readdir(req, size, off, fi, false);
	else
		dir_list_reply((struct dir_list *)(uintptr_t)fi->fh, req, size, off, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	if (ino == INO_SHA256)
		blobs_readdir(req, size, off, fi, true);
	else
		dir_list_reply((struct dir_list *)(uintptr_t)fi->fh, req, size, off, true);
}

static void op_releasedir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	if (ino == INO_SHA256) {
		blobs_releasedir(req, fi);
		return;
	}
	(void)dir_list_free((struct dir_list *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;

	(void)ino;
	if (fstatvfs(store_root_fd(mount_of(req)->store), &st) < 0) {
		fuse_reply_err(req, errno);
		return;
	}
	st.f_namemax = 255;
	fuse_reply_statfs(req, &st);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	xattr_get(req, ino, name, size);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	xattr_list(req, ino, size);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			size_t size, int flags)
{
	(void)flags;
	xattr_set(req, ino, name, value, size);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	xattr_remove(req, ino, name);
}

const struct fuse_lowlevel_ops mount_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.create = op_create,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.fsync = op_fsync,
	.release = op_release,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_releasedir,
	.statfs = op_statfs,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.setxattr = op_setxattr,
	.removexattr = op_removexattr,
};
