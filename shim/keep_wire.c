#include "shim/keep_wire.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int) * KEEP_SLOTS)];
};

void keep_close_fds(int fds[KEEP_SLOTS])
{
	for (int i = 0; i < KEEP_SLOTS; i++) {
		if (fds[i] >= 0)
			(void)close(fds[i]);
		fds[i] = -1;
	}
}

static void attach(struct msghdr *h, union control *control, const int *fds, size_t n)
{
	struct cmsghdr *c;

	h->msg_control = control;
	h->msg_controllen = CMSG_SPACE(sizeof(int) * n);
	c = CMSG_FIRSTHDR(h);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * n);
	memcpy(CMSG_DATA(c), fds, sizeof(int) * n);
}

int keep_send(int fd, const struct keep_message *m, const int fds[KEEP_SLOTS], int flags)
{
	struct keep_message copy = *m;
	struct iovec iov = {&copy, sizeof(copy)};
	struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
	union control control = {0};
	int some[KEEP_SLOTS];
	size_t n = 0;

	for (int i = 0; i < KEEP_SLOTS && fds != NULL; i++) {
		if (fds[i] < 0)
			continue;
		some[n++] = fds[i];
		copy.slots |= 1U << i;
	}
	if (n > 0)
		attach(&h, &control, some, n);
	return sendmsg(fd, &h, flags | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Into the slots that the message names, in their order. */
static void sort(uint32_t slots, const int *some, size_t n, int fds[KEEP_SLOTS])
{
	size_t next = 0;

	for (int i = 0; i < KEEP_SLOTS; i++)
		if ((slots & (1U << i)) != 0 && next < n)
			fds[i] = some[next++];
	while (next < n)
		(void)close(some[next++]);
}

int keep_receive(int fd, struct keep_message *ret, int fds[KEEP_SLOTS])
{
	struct keep_message m = {0};
	struct iovec iov = {&m, sizeof(m)};
	union control control = {0};
	struct msghdr h = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	const struct cmsghdr *c;
	int some[sizeof(control) / sizeof(int)]; /* alignment makes room for more than we send */
	size_t n_some = 0;
	ssize_t n;

	do
		n = recvmsg(fd, &h, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n < 0 ? -errno : -EPIPE;
	c = CMSG_FIRSTHDR(&h);
	if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		n_some = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(some, CMSG_DATA(c), n_some * sizeof(int));
	}
	for (int i = 0; i < KEEP_SLOTS; i++)
		fds[i] = -1;
	sort(m.slots, some, n_some, fds);
	if (n != (ssize_t)sizeof(m) || m.kind > KEEP_DONE) {
		keep_close_fds(fds);
		return -EBADMSG;
	}
	*ret = m;
	return 0;
}
