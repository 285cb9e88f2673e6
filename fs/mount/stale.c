/* A mount whose daemon was killed is in the way of the next one: ENOTCONN to whoever looks. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "mount/mount.h"

extern char **environ;

/* What an ordinary user may not do himself. */
static int detach_by_fusermount(const char *mountpoint)
{
	const char *argv[] = {"fusermount3", "-q", "-u", "-z", "--", mountpoint, NULL};
	int status;
	pid_t pid;
	int r = posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv, environ);

	if (r != 0)
		return -r;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

bool mount_detach_dead(const char *mountpoint)
{
	/* Not by stat(2), which the kernel may answer from what it remembers. */
	cleanup_fd int fd = open(mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0 || errno != ENOTCONN)
		return false;
	return umount2(mountpoint, MNT_DETACH) == 0 || detach_by_fusermount(mountpoint) == 0;
}
