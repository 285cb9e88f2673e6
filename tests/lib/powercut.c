/*
 * Cut the power of an ext4 at the n-th call that publishes or syncs something:
 *
 *   LD_PRELOAD=libpowercut.so POWERCUT_DIR=/on/that/ext4 POWERCUT_AT=n POWERCUT_FLAG=2
 *   POWERCUT_MARK=/elsewhere/mark program...
 *
 * Before the n-th fsync, fdatasync, rename or link of the process the file system is shut down:
 * with flag 2 what the journal has not written is lost, with flag 1 the journal is written and
 * the data is not. The program goes on and sees EIO everywhere; it must not report success. The
 * mark tells that the cut takes place.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define EXT4_IOC_SHUTDOWN _IOR('X', 125, uint32_t)

static atomic_long calls;

/* NOLINTBEGIN(concurrency-mt-unsafe): nobody changes the environment */
static void count(void)
{
	const char *at = getenv("POWERCUT_AT"), *dir = getenv("POWERCUT_DIR");
	const char *flag = getenv("POWERCUT_FLAG"), *mark = getenv("POWERCUT_MARK");
	uint32_t flags;
	int fd;

	if (at == NULL || dir == NULL || flag == NULL || mark == NULL ||
	    atomic_fetch_add(&calls, 1) + 1 != strtol(at, NULL, 10))
		return;
	flags = (uint32_t)strtoul(flag, NULL, 10);
	/* First the mark: other threads see the file system gone before this one goes on. */
	fd = open(mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || close(fd) < 0) {
		perror("powercut");
		abort();
	}
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || ioctl(fd, EXT4_IOC_SHUTDOWN, &flags) < 0) {
		perror("powercut");
		(void)unlink(mark);
		abort();
	}
	(void)close(fd);
}
/* NOLINTEND(concurrency-mt-unsafe) */

#define NEXT(name) ((__typeof__(&(name)))(uintptr_t)dlsym(RTLD_NEXT, #name))

int fsync(int fd)
{
	count();
	return NEXT(fsync)(fd);
}

int fdatasync(int fd)
{
	count();
	return NEXT(fdatasync)(fd);
}

int rename(const char *from, const char *to)
{
	count();
	return NEXT(rename)(from, to);
}

int renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	count();
	return NEXT(renameat)(from_fd, from, to_fd, to);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned int flags)
{
	count();
	return NEXT(renameat2)(from_fd, from, to_fd, to, flags);
}

int linkat(int from_fd, const char *from, int to_fd, const char *to, int flags)
{
	count();
	return NEXT(linkat)(from_fd, from, to_fd, to, flags);
}
