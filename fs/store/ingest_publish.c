#include "store/ingest_publish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "base/fd.h"

/* Somebody else may publish, or delete, the same digest between our looks at it. */
#define MAX_TRIES 100

enum published { BY_RENAME, BY_LINK };

/* 1: a regular file of that size has the name; 0: something damaged has it; -ENOENT ... */
static int look_at_blob(struct store *s, const char *hex, off_t size)
{
	struct stat st;

	if (fstatat(s->blobs_fd, hex, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return S_ISREG(st.st_mode) && st.st_size == size;
}

/*
 * Somebody else's blob of the same digest: they may have named it a moment ago, and not have
 * synced yet what our success promises.
 */
static int sync_present(struct store *s, const char *hex, struct err *err)
{
	cleanup_fd int fd = openat(s->blobs_fd, hex, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? -errno : fd_sync(fd);

	if (r == 0)
		r = fd_sync_dir(s->blobs_fd, ".");
	if (r < 0 && r != -ENOENT)
		return err_errno(err, -r, "sync blob that is present");
	return r;
}

/* 0444, dated now, on disk. */
static int seal(int data_fd, bool *ret_spoilt, struct err *err)
{
	const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
	int r;

	if (fchmod(data_fd, 0444) < 0)
		return err_errno(err, errno, "make data read-only");
	(void)futimens(data_fd, now);
	r = fd_sync(data_fd);
	if (r < 0) {
		/* The kernel may have dropped the pages: a second fsync would lie. */
		*ret_spoilt = true;
		return err_errno(err, -r, "sync data");
	}
	return 0;
}

/*
 * Give data its name: rename without replacing, one step that leaves no second name by which
 * somebody could write to the blob after a crash; link(2) where the file system cannot.
 */
static int name_it(struct store *s, struct ingest_dir *dir, const char *hex, bool damaged,
		   enum published *ret)
{
	*ret = BY_RENAME;
	if (damaged)
		return renameat(dir->fd, "data", s->blobs_fd, hex) < 0 ? -errno : 0;
	if (renameat2(dir->fd, "data", s->blobs_fd, hex, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP)
		return -errno;
	*ret = BY_LINK;
	return linkat(dir->fd, "data", s->blobs_fd, hex, 0) < 0 ? -errno : 0;
}

static void unname_it(struct store *s, struct ingest_dir *dir, const char *hex, enum published how)
{
	if (how == BY_LINK)
		(void)unlinkat(s->blobs_fd, hex, 0);
	else
		(void)renameat(s->blobs_fd, hex, dir->fd, "data");
}

static int publish(struct store *s, struct ingest_dir *dir, int data_fd, const char *hex,
		   bool *ret_spoilt, struct err *err)
{
	enum published how;
	struct stat st;
	bool sealed = false;
	int r;

	if (fstat(data_fd, &st) < 0)
		return err_errno(err, errno, "stat data");
	for (int i = 0; i < MAX_TRIES; i++) {
		int there = look_at_blob(s, hex, st.st_size);

		if (there < 0 && there != -ENOENT)
			return err_errno(err, -there, "look for the blob");
		if (there == 1) {
			r = sync_present(s, hex, err);
			if (r != -ENOENT)
				return r;
			continue; /* deleted under us */
		}
		if (!sealed) {
			r = seal(data_fd, ret_spoilt, err);
			if (r < 0)
				return r;
			sealed = true;
		}
		r = name_it(s, dir, hex, /* damaged= */ there == 0, &how);
		if (r == -EEXIST)
			continue;
		if (r < 0)
			return err_errno(err, -r, "name blob");
		r = fd_sync_dir(s->blobs_fd, ".");
		if (r < 0) {
			unname_it(s, dir, hex, how);
			return err_errno(err, -r, "sync blobs directory");
		}
		return 0;
	}
	return err_set(err, EBUSY, "the blob comes and goes");
}

int ingest_publish(struct store *s, struct ingest_dir *dir, int data_fd, const struct digest *d,
		   bool *ret_spoilt, struct err *err)
{
	char hex[DIGEST_HEX_LEN + 1];
	int r;

	digest_hex(d, hex);
	r = publish(s, dir, data_fd, hex, ret_spoilt, err);
	if (r < 0)
		(void)fchmod(data_fd, 0644);
	return r;
}
