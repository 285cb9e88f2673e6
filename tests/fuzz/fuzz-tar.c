/*
 * A tar stream, parsed and applied to a directory of its own under /dev/shm, beside a canary that
 * must stay as it is. The first byte gives the size of pieces; checksums are made right, so that
 * the fuzzer need not find them.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "unpack/layer.h"
#include "unpack/tar_fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_IN ((size_t)64 << 10)

struct pieces {
	uint8_t *p;
	size_t n, piece;
};

static ssize_t next_piece(void *arg, const uint8_t **ret, struct err *err)
{
	struct pieces *s = arg;
	size_t n = s->n < s->piece ? s->n : s->piece;

	(void)err;
	*ret = s->p;
	s->p += n;
	s->n -= n;
	return (ssize_t)n;
}

/* Every block that looks a little like a header becomes one. */
static void repair(uint8_t *p, size_t n)
{
	for (; n >= 512; p += 512, n -= 512) {
		unsigned int sum = 8 * ' ';

		if (memcmp(p + TAR_AT_MAGIC, "ustar", 5) != 0)
			continue;
		for (int i = 0; i < 512; i++)
			sum += i < TAR_AT_CHECKSUM || i >= TAR_AT_CHECKSUM + 8 ? p[i] : 0;
		(void)snprintf((char *)p + TAR_AT_CHECKSUM, 8, "%06o", sum);
	}
}

static char world[] = "/dev/shm/contentfs-fuzz.XXXXXX";

static void leave(void)
{
	(void)fd_remove_tree(AT_FDCWD, world);
}

/* world/root to unpack into, world/canary to stay away from. */
static int enter(void)
{
	static int world_fd = -1;

	if (world_fd < 0) {
		if (mkdtemp(world) == NULL)
			abort();
		(void)atexit(leave);
		world_fd = open(world, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (world_fd < 0 || fd_write_file(world_fd, "canary", "alive", 5, 0600) < 0)
			abort();
	}
	return world_fd;
}

static void check_canary(int world_fd, const struct stat *before)
{
	struct stat st;
	char text[6] = "";
	int fd = openat(world_fd, "canary", O_RDONLY | O_CLOEXEC);

	assert(fd >= 0 && fd_read_full(fd, text, 5) == 5 && strcmp(text, "alive") == 0);
	assert(fstat(fd, &st) == 0 && st.st_mode == before->st_mode && st.st_nlink == 1 &&
	       st.st_ctim.tv_sec == before->st_ctim.tv_sec &&
	       st.st_ctim.tv_nsec == before->st_ctim.tv_nsec && st.st_uid == before->st_uid);
	(void)close(fd);
	assert(fstatat(world_fd, "root", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode));
	assert(fstatat(world_fd, ".", &st, 0) == 0 && st.st_nlink == 3);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct unpack_options options = {.rootless = true, .max_entries = 200};
	struct omissions omissions = {0};
	struct stat canary;
	struct pieces s;
	struct err err = {0};
	uint64_t n;
	uint8_t *copy;
	int world_fd = enter(), root_fd;

	if (size == 0 || size > MAX_IN)
		return 0;
	if (mkdirat(world_fd, "root", 0755) < 0 || fstatat(world_fd, "canary", &canary, 0) < 0)
		abort();
	root_fd = openat(world_fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	copy = malloc(size);
	if (root_fd < 0 || copy == NULL)
		abort();
	memcpy(copy, data, size);
	repair(copy + 1, size - 1);
	s = (struct pieces){copy + 1, size - 1, data[0] == 0 ? size : data[0]};
	(void)layer_apply(root_fd, next_piece, &s, &options, &omissions, &n, &err);
	check_canary(world_fd, &canary);
	(void)close(root_fd);
	free(copy);
	/* A tree that is deeper than this can remove must not have come about. */
	if (fd_remove_tree(world_fd, "root") < 0)
		abort();
	return 0;
}
