#include "shim/keeper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "shim/keep_wire.h"

enum {
	N_OWN = 2, /* in front of polls: the listening socket, the shim */
	LOOK_MS = 10000,
};

struct kept {
	uint32_t serial;
	bool unread; /* hung up, with output that nobody has read */
	int fds[KEEP_SLOTS];
};

struct keeper {
	int shim_fd; /* -1: there is none, now */
	struct kept *kept;
	struct pollfd *polls; /* N_OWN and one for each kept */
	size_t n, cap;
};

static struct kept *find(const struct keeper *k, uint32_t serial)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->kept[i].serial == serial)
			return &k->kept[i];
	return NULL;
}

static int grow(struct keeper *k)
{
	size_t cap = k->cap > 0 ? k->cap * 2 : 4;
	void *kept = reallocarray(k->kept, cap, sizeof(*k->kept)), *polls;

	if (kept == NULL)
		return -ENOMEM;
	k->kept = kept;
	polls = reallocarray(k->polls, cap + N_OWN, sizeof(*k->polls));
	if (polls == NULL)
		return -ENOMEM;
	k->polls = polls;
	k->cap = cap;
	return 0;
}

/* Takes fds over. */
static void put(struct keeper *k, uint32_t serial, int fds[KEEP_SLOTS])
{
	struct kept *one = find(k, serial);

	if (one == NULL && k->n == k->cap && grow(k) < 0) {
		keep_close_fds(fds);
		return;
	}
	if (one == NULL) {
		one = &k->kept[k->n++];
		*one = (struct kept){.serial = serial, .fds = {-1, -1, -1}};
	}
	for (int i = 0; i < KEEP_SLOTS; i++) {
		if (fds[i] < 0)
			continue;
		if (one->fds[i] >= 0)
			(void)close(one->fds[i]);
		one->fds[i] = fds[i];
	}
}

static void drop(struct keeper *k, struct kept *one, uint32_t slots)
{
	bool any = false;

	for (int i = 0; i < KEEP_SLOTS; i++) {
		if ((slots & (1U << i)) != 0 && one->fds[i] >= 0) {
			(void)close(one->fds[i]);
			one->fds[i] = -1;
		}
		any = any || one->fds[i] >= 0;
	}
	if (!any)
		*one = k->kept[--k->n];
}

static void hear_shim(struct keeper *k)
{
	struct keep_message m;
	int fds[KEEP_SLOTS];
	struct kept *one;
	int r = keep_receive(k->shim_fd, &m, fds);

	if (r < 0) {
		(void)close(k->shim_fd);
		k->shim_fd = -1;
		return;
	}
	one = find(k, m.serial);
	if (m.kind == KEEP_PUT)
		put(k, m.serial, fds);
	else
		keep_close_fds(fds);
	if (m.kind == KEEP_DROP && one != NULL)
		drop(k, one, m.slots);
}

/* Another shim: it hears of all that there is. */
static void meet_shim(struct keeper *k)
{
	struct keep_message m = {.kind = KEEP_DONE, .serial = (uint32_t)getpid()};
	/* cppcheck-suppress nullPointer ; the peer's address is optional */
	int fd = accept4(KEEPER_LISTEN_FD, NULL, NULL, SOCK_CLOEXEC), r = 0;

	if (fd < 0)
		return;
	if (k->shim_fd >= 0)
		(void)close(k->shim_fd);
	k->shim_fd = fd;
	for (size_t i = 0; i < k->n && r == 0; i++) {
		const struct keep_message one = {.kind = KEEP_PUT, .serial = k->kept[i].serial};

		k->kept[i].unread = false;
		r = keep_send(fd, &one, k->kept[i].fds, 0);
	}
	if (r == 0)
		r = keep_send(fd, &m, NULL, 0);
	if (r < 0) {
		(void)close(fd);
		k->shim_fd = -1;
	}
}

/* While there is no shim: is it of use any more? */
static void look_at(struct keeper *k, size_t i, short events)
{
	struct kept *one = &k->kept[i];
	int waiting = 0;

	if ((events & (POLLHUP | POLLERR)) == 0)
		return;
	if (one->fds[KEEP_MASTER] >= 0 && ioctl(one->fds[KEEP_MASTER], FIONREAD, &waiting) == 0 &&
	    waiting > 0)
		one->unread = true;
	else
		drop(k, one, ~0U);
}

static int wait_for_something(struct keeper *k)
{
	k->polls[0] = (struct pollfd){.fd = KEEPER_LISTEN_FD, .events = POLLIN};
	k->polls[1] = (struct pollfd){.fd = k->shim_fd, .events = POLLIN};
	for (size_t i = 0; i < k->n; i++) {
		const struct kept *one = &k->kept[i];
		int fd = one->fds[KEEP_MASTER] >= 0 ? one->fds[KEEP_MASTER] : one->fds[KEEP_IN];

		/* A hangup is told without being asked for, and for as long as it lasts. */
		k->polls[N_OWN + i] =
			(struct pollfd){.fd = k->shim_fd >= 0 || one->unread ? -1 : fd};
	}
	return poll(k->polls, N_OWN + k->n, k->shim_fd >= 0 ? -1 : LOOK_MS);
}

/* What is left unread is for a shim to come; none comes to a directory that was removed. */
static void end_if_nobody_comes(struct keeper *k)
{
	for (size_t i = 0; i < k->n; i++)
		if (!k->kept[i].unread)
			return;
	if (k->shim_fd >= 0 || access(KEEPER_SOCKET, F_OK) == 0)
		return;
	while (k->n > 0)
		drop(k, &k->kept[0], ~0U);
}

static void turn(struct keeper *k)
{
	size_t n = k->n;
	int r = wait_for_something(k);

	if (r == 0)
		end_if_nobody_comes(k);
	if (r <= 0)
		return;
	if (k->polls[0].revents != 0) {
		meet_shim(k);
	} else if (k->polls[1].revents != 0) {
		hear_shim(k);
	} else {
		while (n-- > 0) /* the last one takes the place of one that is dropped */
			look_at(k, n, k->polls[N_OWN + n].revents);
	}
}

int keeper_run(void)
{
	struct keeper k = {.shim_fd = KEEPER_SHIM_FD};
	int listens = 0;
	socklen_t len = sizeof(listens);

	if (getsockopt(KEEPER_LISTEN_FD, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) < 0 ||
	    listens == 0) {
		(void)fprintf(stderr, "contentfs-shim: only a shim starts its keeper\n");
		return EXIT_FAILURE;
	}
	/* What ends others is nothing to it: it ends when it is of no use. */
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGINT, SIG_IGN);
	(void)signal(SIGTERM, SIG_IGN);
	(void)prctl(PR_SET_NAME, "shim-keeper");
	(void)close_range(KEEPER_SHIM_FD + 1, ~0U, 0);
	if (grow(&k) < 0)
		return EXIT_FAILURE;
	while (k.shim_fd >= 0 || k.n > 0)
		turn(&k);
	free(k.kept);
	free(k.polls);
	return EXIT_SUCCESS;
}
