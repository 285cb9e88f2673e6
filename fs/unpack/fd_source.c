#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "unpack/unpack.h"

int unpack_fd_open(struct unpack_fd *f, int fd)
{
	f->fd = fd;
	f->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return f->wake_fd < 0 ? -errno : 0;
}

static ssize_t fd_source_read(void *arg, void *buf, size_t n, struct err *err)
{
	const struct unpack_fd *f = arg;

	for (;;) {
		struct pollfd p[] = {{.fd = f->fd, .events = POLLIN},
				     {.fd = f->wake_fd, .events = POLLIN}};
		ssize_t r;

		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return err_errno(err, errno, "poll");
		if (p[1].revents != 0)
			return err_set(err, ECANCELED, "given up");
		if (p[0].revents == 0)
			continue;
		r = read(f->fd, buf, n);
		if (r >= 0)
			return r;
		if (errno != EINTR && errno != EAGAIN)
			return err_errno(err, errno, "read the layer");
	}
}

static void fd_source_cancel(void *arg)
{
	const struct unpack_fd *f = arg;

	(void)eventfd_write(f->wake_fd, 1);
}

struct unpack_source unpack_fd_source(struct unpack_fd *f)
{
	return (struct unpack_source){fd_source_read, fd_source_cancel, f};
}

void unpack_fd_close(struct unpack_fd *f)
{
	if (f->wake_fd >= 0)
		(void)close(f->wake_fd);
	f->wake_fd = -1;
}
