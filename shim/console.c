#include "shim/console.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"

static int bind_and_listen(struct console *c)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	mode_t mask;
	int r;

	(void)snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", c->path);
	(void)unlinkat(c->dir_fd, c->name, 0); /* of a shim that was killed */
	mask = umask(0177);
	r = bind(c->listen_fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 ? -errno : 0;
	(void)umask(mask);
	if (r == 0 && listen(c->listen_fd, 1) < 0)
		r = -errno;
	return r;
}

int console_listen(struct console *c, int dir_fd, uint32_t serial, struct err *err)
{
	int r;

	*c = (struct console){.dir_fd = dir_fd, .listen_fd = -1};
	(void)snprintf(c->name, sizeof(c->name), "%" PRIu32 ".pty", serial);
	(void)snprintf(c->path, sizeof(c->path), "/proc/%d/fd/%d/%s", getpid(), dir_fd, c->name);
	c->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->listen_fd < 0)
		return err_errno(err, errno, "make a console socket");
	r = bind_and_listen(c);
	if (r < 0) {
		console_close(c);
		return err_errno(err, -r, "make a console socket");
	}
	return 0;
}

void console_close(struct console *c)
{
	if (c->listen_fd < 0)
		return;
	(void)close(c->listen_fd);
	(void)unlinkat(c->dir_fd, c->name, 0);
	c->listen_fd = -1;
}

/* The one descriptor of a message; others are closed. */
static int receive_fd(int fd)
{
	char text[4096]; /* the name of the terminal, of no use */
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int) * 8)];
	} control;
	struct iovec iov = {text, sizeof(text)};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	int ret = -1;

	if (recvmsg(fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) < 0)
		return -errno;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h != NULL; h = CMSG_NXTHDR(&m, h)) {
		size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int one;

			memcpy(&one, CMSG_DATA(h) + i * sizeof(int), sizeof(one));
			if (ret < 0)
				ret = one;
			else
				(void)close(one);
		}
	}
	return ret >= 0 ? ret : -ENOTTY;
}

int console_take(struct console *c, int *ret_fd, struct err *err)
{
	cleanup_fd int conn_fd = -1, fd = -1;
	struct termios tio;

	/* cppcheck-suppress nullPointer ; the peer's address is optional */
	conn_fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (conn_fd < 0)
		return err_set(err, ENOTTY, "the runtime has sent no terminal");
	fd = receive_fd(conn_fd);
	if (fd < 0 || tcgetattr(fd, &tio) < 0)
		return err_set(err, ENOTTY, "what the runtime has sent is no terminal");
	if (fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
		return err_errno(err, errno, "set up the terminal");
	*ret_fd = steal_fd(fd);
	return 0;
}
