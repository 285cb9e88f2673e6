#include "daemon/background.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/size.h"

static int ready_fd = -1;
static bool detach;

/* Wait for the byte that says "ready", or for the child's end; never returns. */
static _Noreturn void wait_for_child(pid_t child, int fd)
{
	int status = 0;
	char byte;
	ssize_t n;

	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(EXIT_SUCCESS);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	_exit(WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : EXIT_FAILURE);
}

int background_start(bool foreground)
{
	const char *s = getenv("READY_FD"); /* NOLINT(concurrency-mt-unsafe): before threads */
	uint64_t number;
	pid_t child;
	int fds[2];

	if (foreground) {
		if (s != NULL && size_parse_plain(s, &number) == 0 && number < 65536) {
			ready_fd = (int)number;
			(void)fcntl(ready_fd, F_SETFD, FD_CLOEXEC);
		}
		return 0;
	}
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (child < 0)
		return -errno;
	if (child > 0) {
		(void)close(fds[1]);
		wait_for_child(child, fds[0]);
	}
	(void)close(fds[0]);
	(void)setsid();
	ready_fd = fds[1];
	detach = true;
	return 0;
}

void background_ready(void)
{
	if (detach) {
		int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

		log_to_syslog();
		/* The caller may wait for the end of its pipe, or unmount the working directory. */
		(void)!chdir("/");
		if (fd >= 0) {
			(void)dup2(fd, STDIN_FILENO);
			(void)dup2(fd, STDOUT_FILENO);
			(void)dup2(fd, STDERR_FILENO);
			if (fd > STDERR_FILENO)
				(void)close(fd);
		}
	}
	if (ready_fd >= 0) {
		(void)!write(ready_fd, "1", 1);
		(void)close(ready_fd);
		ready_fd = -1;
	}
}
