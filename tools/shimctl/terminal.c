#include "shimctl/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios before;
static volatile sig_atomic_t raw_fd = -1; /* -1: as it was */

void terminal_restore(void)
{
	int fd = raw_fd;

	raw_fd = -1;
	if (fd >= 0)
		(void)tcsetattr(fd, TCSADRAIN, &before);
}

/* tcsetattr(3) may be called in a handler; SA_RESETHAND lets the signal end us afterwards. */
static void on_crash(int sig)
{
	int fd = raw_fd;

	if (fd >= 0)
		(void)tcsetattr(fd, TCSANOW, &before);
	(void)raise(sig);
}

static void catch_crashes(void)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
	const struct sigaction action = {.sa_handler = on_crash,
					 .sa_flags = (int)SA_RESETHAND | SA_NODEFER};

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)sigaction(signals[i], &action, NULL);
}

int terminal_raw(int fd, struct err *err)
{
	static bool registered;
	struct termios raw;

	if (raw_fd < 0 && tcgetattr(fd, &before) < 0)
		return err_errno(err, errno, "read the terminal's mode");
	if (!registered) {
		registered = true;
		(void)atexit(terminal_restore);
		catch_crashes();
	}
	raw = before;
	cfmakeraw(&raw);
	raw_fd = fd;
	if (tcsetattr(fd, TCSADRAIN, &raw) < 0)
		return err_errno(err, errno, "set the terminal's mode");
	return 0;
}

int terminal_size(int fd, uint32_t *ret_width, uint32_t *ret_height)
{
	struct winsize ws;

	if (ioctl(fd, TIOCGWINSZ, &ws) < 0)
		return -ENOTTY;
	*ret_width = ws.ws_col;
	*ret_height = ws.ws_row;
	return 0;
}
