#include "registry/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define TIMEOUT_MS 60000

extern char **environ;

static bool is_name(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= 128 && *s != '-' && *s != '.' &&
	       strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

/* The child has fd as stdin and stdout, no other descriptor of ours, and no signal blocked. */
static int spawn(const char *program, const char *verb, int fd, pid_t *ret)
{
	char *argv[] = {(char *)program, (char *)verb, NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, ignored;
	int r;

	(void)sigemptyset(&none);
	(void)sigemptyset(&ignored);
	(void)sigaddset(&ignored, SIGPIPE);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setsigdefault(&attr, &ignored);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	(void)posix_spawn_file_actions_init(&files);
	r = posix_spawn_file_actions_adddup2(&files, fd, STDIN_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&files, fd, STDOUT_FILENO);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY,
						     0);
	if (r == 0)
		r = posix_spawnp(ret, program, &files, &attr, argv, environ);
	(void)posix_spawn_file_actions_destroy(&files);
	(void)posix_spawnattr_destroy(&attr);
	return -r;
}

/* Until fd is readable: 0, -ETIMEDOUT, -ECANCELED or from poll(2). */
static int wait_for(int fd, int stop_fd, uint64_t end_ms)
{
	for (;;) {
		struct pollfd p[2] = {{.fd = fd, .events = POLLIN},
				      {.fd = stop_fd, .events = POLLIN}};
		uint64_t now_ms = clock_mono_ms();

		if (now_ms >= end_ms)
			return -ETIMEDOUT;
		if (poll(p, 2, (int)(end_ms - now_ms)) < 0 && errno != EINTR)
			return -errno;
		if (p[1].revents != 0)
			return -ECANCELED;
		if (p[0].revents != 0)
			return 0;
	}
}

/* Read until the program closes its end. */
static int read_all(int fd, int stop_fd, uint64_t end_ms, struct buf *out)
{
	for (;;) {
		int r = wait_for(fd, stop_fd, end_ms);
		ssize_t n;

		if (r == 0)
			r = buf_reserve(out, 4096);
		if (r < 0)
			return r;
		n = recv(fd, out->data + out->len, 4096, 0);
		if (n <= 0)
			return n == 0 || errno == ECONNRESET ? 0 : -errno;
		out->len += (size_t)n;
		out->data[out->len] = '\0';
	}
}

static void cut_line(char *s)
{
	s[strcspn(s, "\r\n")] = '\0';
}

/* Who has closed its stdout may go on for long still. */
static int wait_for_end(pid_t pid, int stop_fd, uint64_t end_ms)
{
	cleanup_fd int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : wait_for(fd, stop_fd, end_ms);
}

static int talk(int fd, const char *input, int stop_fd, uint64_t end_ms, struct buf *out)
{
	size_t n = strlen(input);

	if (send(fd, input, n, MSG_NOSIGNAL) != (ssize_t)n && errno != EPIPE)
		return -errno;
	(void)shutdown(fd, SHUT_WR);
	return read_all(fd, stop_fd, end_ms, out);
}

int helper_run(const char *name, const char *verb, const char *input, int stop_fd, struct buf *out,
	       struct err *err)
{
	cleanup_fd int ours = -1, theirs = -1;
	uint64_t end_ms = clock_mono_ms() + TIMEOUT_MS;
	char program[160];
	int fds[2], status = 0, r;
	pid_t pid = -1;

	if (!is_name(name))
		return err_set(err, EINVAL, "\"%.60s\" is no credential helper", name);
	(void)snprintf(program, sizeof(program), "docker-credential-%s", name);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		return err_errno(err, errno, "%s", program);
	ours = fds[0];
	theirs = fds[1];
	r = spawn(program, verb, theirs, &pid);
	if (r < 0)
		return err_errno(err, -r, "%s", program);
	(void)close(steal_fd(theirs));
	r = talk(ours, input, stop_fd, end_ms, out);
	if (r == 0)
		r = wait_for_end(pid, stop_fd, end_ms);
	if (r < 0)
		(void)kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (r == -ETIMEDOUT)
		return err_set(err, ETIMEDOUT, "%s: not done in %d s", program, TIMEOUT_MS / 1000);
	if (r < 0)
		return err_errno(err, -r, "%s", program);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (out->len > 0)
		cut_line(out->data);
	if (strstr(out->data, "credentials not found") != NULL)
		return err_set(err, ENOENT, "%s: no credentials for \"%.100s\"", program, input);
	return err_set(err, EIO, "%s: %s", program,
		       out->len > 0 && *out->data != '\0' ? out->data : "failed without a word");
}
