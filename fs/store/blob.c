#include "store/blob.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/fd.h"
#include "store/label.h"
#include "store/store_private.h"

#define USED_EVERY_S 60

int blob_open(struct store *s, const struct digest *d)
{
	char hex[DIGEST_HEX_LEN + 1];
	cleanup_fd int fd = -1;
	struct stat st;

	if (s->blobs_fd < 0)
		return -ENOENT;
	digest_hex(d, hex);
	/* O_NONBLOCK: a fifo of that name is no blob, and must not hold us up. */
	fd = openat(s->blobs_fd, hex, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return errno == ELOOP || errno == ENXIO ? -ENOENT : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOENT;
	(void)fd_lock_shared(fd); /* without it what is read here may be evicted: no harm to us */
	return steal_fd(fd);
}

int blob_reopen(int fd)
{
	int own = open(fd_path(fd).s, O_RDONLY | O_CLOEXEC);

	if (own < 0)
		own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return -errno;
	(void)fd_lock_shared(own);
	return own;
}

int blob_stat(struct store *s, const struct digest *d, struct stat *ret)
{
	char hex[DIGEST_HEX_LEN + 1];
	struct stat st;

	if (s->blobs_fd < 0)
		return -ENOENT;
	digest_hex(d, hex);
	if (fstatat(s->blobs_fd, hex, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -ENOENT;
	*ret = st;
	return 0;
}

bool blob_exists(struct store *s, const struct digest *d)
{
	struct stat st;

	return blob_stat(s, d, &st) == 0;
}

int blob_path(const struct store *s, const struct digest *d, char *out, size_t n)
{
	char hex[DIGEST_HEX_LEN + 1];
	int len;

	digest_hex(d, hex);
	len = snprintf(out, n, "%s/blobs/sha256/%s", s->root, hex);
	return len < 0 || (size_t)len >= n || len >= PATH_MAX ? -ENAMETOOLONG : 0;
}

bool blob_used_lately(const struct stat *st)
{
	return st->st_atim.tv_sec + USED_EVERY_S > clock_wall_ns() / 1000000000;
}

void blob_only_scanned(int fd)
{
	(void)fcntl(fd, F_SETFL, O_NOATIME); /* the owner's alone to say */
}

void blob_used(struct store *s, const struct digest *d)
{
	static const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_OMIT}};
	char hex[DIGEST_HEX_LEN + 1];
	struct stat st = {0};

	if (s->rdonly || blob_stat(s, d, &st) < 0 || blob_used_lately(&st))
		return;
	digest_hex(d, hex);
	(void)utimensat(s->blobs_fd, hex, now, AT_SYMLINK_NOFOLLOW);
}

int blob_delete(struct store *s, const struct digest *d)
{
	char hex[DIGEST_HEX_LEN + 1];
	struct stat st;
	int r;

	if (s->rdonly)
		return -EROFS;
	r = blob_stat(s, d, &st);
	if (r < 0)
		return r;
	digest_hex(d, hex);
	if (unlinkat(s->blobs_fd, hex, 0) < 0)
		return -errno;
	(void)label_remove(s, d);
	return fd_sync_dir(s->blobs_fd, ".");
}

int blob_read(struct store *s, const struct digest *d, struct buf *b, struct err *err)
{
	cleanup_fd int fd = blob_open(s, d);
	size_t start = b->len;
	struct digest got;
	struct stat st;
	ssize_t n;
	int r;

	if (fd == -ENOENT)
		return err_set(err, ENOENT, "blob %s not found", digest_text(d).s);
	if (fd < 0)
		return err_errno(err, -fd, "blob %s", digest_text(d).s);
	if (fstat(fd, &st) < 0)
		return err_errno(err, errno, "blob %s", digest_text(d).s);
	r = (uint64_t)st.st_size > b->max ? -E2BIG : buf_reserve(b, (size_t)st.st_size);
	if (r == -E2BIG)
		return err_set(err, E2BIG, "blob %s: %lld bytes are more than expected here",
			       digest_text(d).s, (long long)st.st_size);
	if (r < 0)
		return err_set(err, -r, "out of memory");
	n = fd_pread_full(fd, b->data + start, (size_t)st.st_size, 0);
	if (n < 0)
		return err_errno(err, (int)-n, "blob %s", digest_text(d).s);
	if (digest_of(b->data + start, (size_t)n, &got) < 0)
		return err_set(err, ENOMEM, "out of memory");
	if (!digest_equal(&got, d))
		return err_set(err, EBADMSG, "blob %s: the bytes at rest are %s", digest_text(d).s,
			       digest_text(&got).s);
	b->len += (size_t)n;
	b->data[b->len] = '\0';
	return 0;
}
