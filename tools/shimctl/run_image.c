#include "shimctl/run_image.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "shimctl/interrupt.h"
#include "shimctl/run_shim.h"

enum { MAX_OPTIONS = 9 }; /* in front of ARGs, and the NULL behind */

extern char **environ;

bool run_is_bundle(const char *name)
{
	char path[4200];

	/* No image has such a name. */
	if (name[0] == '/' || name[0] == '.')
		return true;
	(void)snprintf(path, sizeof(path), "%s/config.json", name);
	return access(path, F_OK) == 0;
}

/* With the signals that we had: those that end us are to end it too. */
static int spawn(char *const *argv, const struct interrupt *in, pid_t *ret)
{
	posix_spawnattr_t attr;
	int r;

	(void)posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	(void)posix_spawnattr_setsigmask(&attr, &in->old_mask);
	r = posix_spawnp(ret, argv[0], NULL, &attr, argv, environ);
	(void)posix_spawnattr_destroy(&attr);
	return -r;
}

/* Until it ends, passing on what is to end us. */
static void look_after(pid_t pid, struct interrupt *in)
{
	cleanup_fd int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p[] = {{.fd = pid_fd, .events = POLLIN}, {.fd = in->fd, .events = POLLIN}};

	while (pid_fd >= 0 && p[0].revents == 0) {
		if (poll(p, 2, -1) < 0)
			continue;
		if (p[1].revents != 0)
			(void)kill(pid, interrupt_taken(in));
	}
	(void)interrupt_taken(in); /* from a terminal it comes to both, and dist may be faster */
}

/* dist says itself, on stderr, what it does not like. */
static int run_dist(char *const *argv, struct interrupt *in, struct err *err)
{
	int status, r;
	pid_t pid;

	r = spawn(argv, in, &pid);
	if (r < 0)
		return err_errno(err, -r, "start %s", argv[0]);
	look_after(pid, in);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_errno(err, errno, "wait for %s", argv[0]);
	if (WIFSIGNALED(status))
		return err_set(err, ECHILD, "dist bundle was killed by signal %d",
			       WTERMSIG(status));
	if (WEXITSTATUS(status) != 0)
		return err_set(err, ECHILD, "dist bundle failed");
	return 0;
}

int run_image_unpack(const char *dir, const struct run_image *im, struct interrupt *in,
		     struct err *err)
{
	cleanup_free const char **argv = calloc(im->n_args + MAX_OPTIONS, sizeof(*argv));
	char program[4200], bundle[4200];
	size_t n = 0;

	if (argv == NULL)
		return err_set(err, ENOMEM, "out of memory");
	run_find_program("dist", program, sizeof(program));
	(void)snprintf(bundle, sizeof(bundle), "%s/bundle", dir);
	argv[n++] = program;
	argv[n++] = "bundle";
	if (im->root != NULL) {
		argv[n++] = "--root";
		argv[n++] = im->root;
	}
	if (geteuid() != 0)
		argv[n++] = "--rootless";
	if (im->tty)
		argv[n++] = "--tty";
	argv[n++] = im->name;
	argv[n++] = bundle;
	for (size_t i = 0; i < im->n_args; i++)
		argv[n++] = im->args[i];
	return run_dist((char *const *)argv, in, err);
}
