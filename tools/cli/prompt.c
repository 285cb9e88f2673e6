#include "cli/prompt.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <termios.h>

#include "base/cleanup.h"
#include "base/fd.h"

/*
 * The terminal gives whole lines; a line longer than ours comes in pieces, the rest of which is
 * read away. Returns 0, -EINTR (a signal, in *ret_signal) or as prompt_line().
 */
static int read_line(int tty, int signal_fd, char *out, size_t n, int *ret_signal)
{
	struct pollfd p[] = {{.fd = signal_fd, .events = POLLIN}, {.fd = tty, .events = POLLIN}};
	struct signalfd_siginfo info;
	size_t len = 0;
	bool too_long = false;
	char c;

	for (;;) {
		ssize_t r;

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return -errno;
		if (p[0].revents != 0 && read(signal_fd, &info, sizeof(info)) == sizeof(info)) {
			*ret_signal = (int)info.ssi_signo;
			return -EINTR;
		}
		if (p[1].revents == 0)
			continue;
		r = read(tty, &c, 1);
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r == 0)
			return -ENODATA;
		if (r == 1 && c == '\n')
			break;
		if (r == 1 && len + 1 < n)
			out[len++] = c;
		else if (r == 1)
			too_long = true;
	}
	out[len] = '\0';
	return too_long ? -E2BIG : 0;
}

/* The question comes last: what is typed once it stands there is neither shown nor flushed. */
static int ask(int tty, const char *question, bool secret, char *out, size_t n, int *ret_signal)
{
	cleanup_fd int signal_fd = -1;
	struct termios before, quiet;
	sigset_t ours, old;
	int r;

	if (tcgetattr(tty, &before) < 0)
		return -errno;
	(void)sigemptyset(&ours);
	(void)sigaddset(&ours, SIGINT);
	(void)sigaddset(&ours, SIGQUIT);
	(void)sigaddset(&ours, SIGTERM);
	(void)sigaddset(&ours, SIGHUP);
	(void)sigaddset(&ours, SIGTSTP); /* it would leave the shell with a silent terminal */
	signal_fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signal_fd < 0)
		return -errno;
	(void)pthread_sigmask(SIG_BLOCK, &ours, &old);
	quiet = before;
	if (secret) {
		quiet.c_lflag &= ~(tcflag_t)ECHO;
		quiet.c_lflag |= ECHONL;
	}
	r = tcsetattr(tty, TCSAFLUSH, &quiet) < 0 ? -errno : 0;
	if (r == 0)
		r = fd_write_full(tty, question, strlen(question));
	if (r == 0)
		r = read_line(tty, signal_fd, out, n, ret_signal);
	(void)tcsetattr(tty, TCSAFLUSH, &before);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r;
}

int prompt_line(const char *question, bool secret, char *out, size_t n, struct err *err)
{
	cleanup_fd int tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
	int r, ended_by = 0;

	if (tty < 0)
		return err_set(err, ENOTTY, "there is no terminal to ask \"%s\"", question);
	for (;;) {
		r = ask(tty, question, secret, out, n, &ended_by);
		if (r != -EINTR)
			break;
		(void)fd_write_full(tty, "\n", 1);
		(void)raise(ended_by); /* and when it was ignored, or fg came: ask again */
	}
	if (r == -ENODATA)
		return err_set(err, ENODATA, "no answer to \"%s\"", question);
	if (r == -E2BIG)
		return err_set(err, E2BIG, "the answer is longer than %zu bytes", n - 1);
	return r < 0 ? err_errno(err, -r, "terminal") : 0;
}
