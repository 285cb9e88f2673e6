#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/dir.h"

ssize_t fd_read_full(int fd, void *p, size_t n)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = read(fd, (char *)p + done, n - done);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

ssize_t fd_pread_full(int fd, void *p, size_t n, uint64_t offset)
{
	size_t done = 0;

	while (done < n) {
		ssize_t r = pread(fd, (char *)p + done, n - done, (off_t)(offset + done));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		if (r == 0)
			break;
		done += (size_t)r;
	}
	return (ssize_t)done;
}

int fd_write_full(int fd, const void *p, size_t n)
{
	while (n > 0) {
		ssize_t r = write(fd, p, n);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		p = (const char *)p + r;
		n -= (size_t)r;
	}
	return 0;
}

int fd_pwrite_full(int fd, const void *p, size_t n, uint64_t offset)
{
	while (n > 0) {
		ssize_t r = pwrite(fd, p, n, (off_t)offset);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return -errno;
		p = (const char *)p + r;
		n -= (size_t)r;
		offset += (uint64_t)r;
	}
	return 0;
}

int fd_sync(int fd)
{
	return fsync(fd) < 0 ? -errno : 0;
}

int fd_sync_dir(int dir_fd, const char *path)
{
	cleanup_fd int fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return fd_sync(fd);
}

int fd_openat2(int dir_fd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = {
		.flags = (uint64_t)flags | O_CLOEXEC,
		.mode = (flags & (O_CREAT | __O_TMPFILE)) != 0 ? mode : 0,
		.resolve = resolve,
	};
	long r;

	/* EAGAIN: a rename raced with the walk under RESOLVE_IN_ROOT or RESOLVE_BENEATH. */
	do
		r = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
	while (r < 0 && (errno == EINTR || errno == EAGAIN));
	return r < 0 ? -errno : (int)r;
}

struct fd_path fd_path(int fd)
{
	struct fd_path p;

	(void)snprintf(p.s, sizeof(p.s), "/proc/self/fd/%d", fd);
	return p;
}

int fd_read_file(int dir_fd, const char *name, struct buf *b)
{
	cleanup_fd int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	for (;;) {
		char chunk[4096];
		ssize_t n = fd_read_full(fd, chunk, sizeof(chunk));
		int r;

		if (n <= 0)
			return (int)n;
		r = buf_add(b, chunk, (size_t)n);
		if (r < 0)
			return r;
	}
}

int fd_write_file(int dir_fd, const char *name, const void *p, size_t n, mode_t mode)
{
	static atomic_uint serial;
	cleanup_fd int fd = -1;
	const char *slash = strrchr(name, '/');
	int dir_len = slash != NULL ? (int)(slash + 1 - name) : 0;
	char tmp[PATH_MAX];
	int r;

	r = snprintf(tmp, sizeof(tmp), "%.*s.%.200s.%ld.%u.tmp", dir_len, name, name + dir_len,
		     (long)getpid(), atomic_fetch_add(&serial, 1));
	if (r < 0 || (size_t)r >= sizeof(tmp))
		return -ENAMETOOLONG;
	fd = openat(dir_fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
	if (fd < 0)
		return -errno;
	r = fd_write_full(fd, p, n);
	if (r == 0)
		r = fd_sync(fd);
	if (r == 0 && renameat(dir_fd, tmp, dir_fd, name) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dir_fd, tmp, 0);
	return r;
}

/* ".<number>" that ends at end: where it begins, or NULL. */
static const char *skip_number_back(const char *name, const char *end)
{
	const char *s = end;

	while (s > name && s[-1] >= '0' && s[-1] <= '9')
		s--;
	return s < end && s > name && s[-1] == '.' ? s - 1 : NULL;
}

bool fd_is_temporary(const char *name)
{
	const char *end = name + strlen(name);

	if (name[0] != '.' || end - name < 4 || strcmp(end - 4, ".tmp") != 0)
		return false;
	end = skip_number_back(name, end - 4);
	if (end != NULL)
		end = skip_number_back(name, end);
	return end != NULL && end - name > 1;
}

static int lock(int fd, short type)
{
	struct flock fl = {.l_type = type, .l_whence = SEEK_SET};

	if (fcntl(fd, F_OFD_SETLK, &fl) == 0)
		return 0;
	return errno == EACCES ? -EAGAIN : -errno;
}

int fd_lock(int fd)
{
	return lock(fd, F_WRLCK);
}

int fd_lock_shared(int fd)
{
	return lock(fd, F_RDLCK);
}

int fd_lock_within(int fd, unsigned int timeout_ms)
{
	static const struct timespec pause = {.tv_nsec = 2000000};
	uint64_t end_ms = clock_mono_ms() + timeout_ms;
	int r;

	while ((r = fd_lock(fd)) == -EAGAIN && clock_mono_ms() < end_ms)
		(void)nanosleep(&pause, NULL);
	return r;
}

int fd_is_locked(int fd)
{
	struct flock fl = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	if (fcntl(fd, F_OFD_GETLK, &fl) < 0)
		return -errno;
	return fl.l_type != F_UNLCK;
}

/* Depth is bounded so that a hostile tree cannot use up descriptors or stack. */
static int remove_tree(int dir_fd, const char *name, int depth)
{
	cleanup_dir DIR *dir = NULL;
	struct dirent *e;

	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno != ENOTEMPTY && errno != EEXIST)
		return -errno;
	if (depth == 0)
		return -ELOOP;
	dir = dir_open(dir_fd, name);
	if (dir == NULL)
		return errno == ENOENT ? 0 : -errno;
	while ((e = dir_next(dir)) != NULL) {
		int r = remove_tree(dirfd(dir), e->d_name, depth - 1);

		if (r < 0)
			return r;
	}
	if (errno != 0)
		return -errno;
	if (unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int fd_remove_tree(int dir_fd, const char *name)
{
	return remove_tree(dir_fd, name, 256);
}
