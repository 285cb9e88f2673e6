#include "store/scrub.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "store/blob.h"
#include "store/store_private.h"

#define CHUNK_BYTES ((size_t)256 << 10)
#define MAX_NAMES 1000
#define ASIDE_NAME_MAX (DIGEST_HEX_LEN + 16)

static int hash_file(int fd, struct hasher *h, struct scrub_result *ret)
{
	cleanup_free unsigned char *chunk = malloc(CHUNK_BYTES);
	ssize_t n;

	if (chunk == NULL)
		return -ENOMEM;
	while ((n = fd_read_full(fd, chunk, CHUNK_BYTES)) > 0) {
		hasher_update(h, chunk, (size_t)n);
		ret->bytes += (uint64_t)n;
	}
	if (n < 0)
		return (int)n;
	hasher_final(h, &ret->actual);
	return 0;
}

int scrub_blob(struct store *s, const struct digest *d, struct scrub_result *ret)
{
	cleanup_fd int fd = blob_open(s, d);
	struct hasher *h;
	int r;

	ret->bytes = 0;
	if (fd < 0)
		return fd;
	if (fstat(fd, &ret->st) < 0)
		return -errno;
	blob_only_scanned(fd);
	/* What the page cache holds says nothing of the disk. Advice: a failure changes nothing. */
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
	r = hasher_new(&h);
	if (r < 0)
		return r;
	r = hash_file(fd, h, ret);
	hasher_free(h);
	if (r < 0)
		return r;
	return digest_equal(&ret->actual, d) ? 0 : -EBADMSG;
}

static int open_quarantine(struct store *s)
{
	cleanup_fd int fd = -1;
	int sub;

	if ((mkdirat(s->root_fd, "quarantine", 0755) < 0 && errno != EEXIST) ||
	    (mkdirat(s->root_fd, "quarantine/sha256", 0755) < 0 && errno != EEXIST))
		return -errno;
	fd = openat(s->root_fd, "quarantine", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	sub = openat(fd, "sha256", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (sub < 0)
		return -errno;
	/* New or not: a damaged blob that is nowhere would be worse than one that is damaged. */
	(void)fd_sync_dir(s->root_fd, ".");
	(void)fd_sync(fd);
	return sub;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* name: what it is called there. */
static int move_aside(struct store *s, const char *hex, int to_fd, char name[ASIDE_NAME_MAX])
{
	(void)snprintf(name, ASIDE_NAME_MAX, "%s", hex);
	for (int i = 1; i < MAX_NAMES; i++) {
		if (renameat2(s->blobs_fd, hex, to_fd, name, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno == EINVAL) /* no such rename here: the newest damaged one is kept */
			return renameat(s->blobs_fd, hex, to_fd, hex) < 0 ? -errno : 0;
		if (errno != EEXIST)
			return -errno;
		(void)snprintf(name, ASIDE_NAME_MAX, "%s.%d", hex, i);
	}
	return -EEXIST;
}

int scrub_quarantine(struct store *s, const struct digest *d, const struct scrub_result *found)
{
	char hex[DIGEST_HEX_LEN + 1], name[ASIDE_NAME_MAX];
	cleanup_fd int to_fd = -1;
	struct stat st;
	int r;

	if (s->rdonly)
		return -EROFS;
	to_fd = open_quarantine(s);
	if (to_fd < 0)
		return to_fd;
	r = blob_stat(s, d, &st);
	if (r < 0)
		return r;
	if (!is_same_file(&st, &found->st))
		return -ENOENT;
	digest_hex(d, hex);
	r = move_aside(s, hex, to_fd, name);
	if (r < 0)
		return r;
	/* Whoever put another one there between the two looks gets it back. */
	if (fstatat(to_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !is_same_file(&st, &found->st)) {
		if (renameat2(to_fd, name, s->blobs_fd, hex, RENAME_NOREPLACE) < 0)
			return errno == EEXIST ? -ENOENT : -errno;
		r = fd_sync_dir(s->blobs_fd, ".");
		return r < 0 ? r : -ENOENT;
	}
	r = fd_sync(to_fd);
	return r == 0 ? fd_sync_dir(s->blobs_fd, ".") : r;
}
