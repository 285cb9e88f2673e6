#include "shim/keep.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "shim/keeper.h"

enum {
	ANSWER_MS = 2000,
	SEND_MS = 200,
	FIRST_FREE_FD = 10, /* above those that the keeper has */
};

/* Relative, as the shim's own is: it is in the directory that we have taken. */
static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = KEEPER_SOCKET};

struct keep_entry {
	uint32_t serial;
	uint32_t slots;
	int fds[KEEP_SLOTS]; /* from an earlier shim, until they are taken */
};

extern char **environ;

void keep_init(struct keep *k)
{
	*k = (struct keep){.fd = -1};
}

static struct keep_entry *find(const struct keep *k, uint32_t serial)
{
	for (size_t i = 0; i < k->n; i++)
		if (k->entries[i].serial == serial)
			return &k->entries[i];
	return NULL;
}

static struct keep_entry *add(struct keep *k, uint32_t serial)
{
	struct keep_entry *e = find(k, serial);

	if (e != NULL)
		return e;
	if (k->n == k->cap) {
		size_t cap = k->cap > 0 ? k->cap * 2 : 4;
		void *p = reallocarray(k->entries, cap, sizeof(*k->entries));

		if (p == NULL)
			return NULL;
		k->entries = p;
		k->cap = cap;
	}
	e = &k->entries[k->n++];
	*e = (struct keep_entry){.serial = serial, .fds = {-1, -1, -1}};
	return e;
}

/* Nothing is kept any more: of what is not, the keeper ends with our end of its socket. */
static void leave(struct keep *k)
{
	for (size_t i = 0; i < k->n; i++)
		keep_close_fds(k->entries[i].fds);
	free(k->entries);
	if (k->fd >= 0)
		(void)close(k->fd);
	(void)unlink(address.sun_path);
	keep_init(k);
}

/* ---- a new keeper ---- */

static int listen_at_name(int fd)
{
	mode_t mask;
	int r;

	(void)unlink(address.sun_path);
	mask = umask(0177);
	r = bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
	(void)umask(mask);
	if (r == 0 && listen(fd, 1) < 0)
		r = -errno;
	return r;
}

static int spawn(int listen_fd, int shim_fd, pid_t *ret)
{
	char *argv[] = {(char *)"contentfs-shim", (char *)KEEPER_ARGUMENT, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r = 0;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setflags(&attr, (short)(POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
						      POSIX_SPAWN_SETSIGDEF));
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setsigdefault(&attr, &all);
	(void)posix_spawn_file_actions_init(&actions);
	for (int i = 0; i < 3 && r == 0; i++)
		r = posix_spawn_file_actions_addopen(&actions, i, "/dev/null", O_RDWR, 0);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, listen_fd, KEEPER_LISTEN_FD);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, shim_fd, KEEPER_SHIM_FD);
	if (r == 0) /* this very program, whatever its file has become */
		r = posix_spawn(ret, "/proc/self/exe", &actions, &attr, argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)posix_spawnattr_destroy(&attr);
	return -r;
}

static int move_up(int *fd)
{
	int up = fcntl(*fd, F_DUPFD_CLOEXEC, FIRST_FREE_FD);

	if (up < 0)
		return -errno;
	(void)close(*fd);
	*fd = up;
	return 0;
}

static int start(struct keep *k, struct err *err)
{
	cleanup_fd int listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	cleanup_fd int ours = -1, theirs = -1;
	int pair[2] = {-1, -1};
	int r = listen_fd < 0 ? -errno : listen_at_name(listen_fd);

	if (r == 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		r = -errno;
	if (r < 0)
		return err_errno(err, -r, "make the keeper's sockets");
	ours = pair[0];
	theirs = pair[1];
	r = move_up(&theirs);
	if (r == 0)
		r = move_up(&listen_fd);
	if (r == 0)
		r = spawn(listen_fd, theirs, &k->pid);
	if (r < 0)
		return err_errno(err, -r, "start the keeper");
	k->fd = steal_fd(ours);
	return 0;
}

/* ---- that of an earlier shim ---- */

static int hear_all(struct keep *k)
{
	struct keep_message m;
	struct keep_entry *e;
	int fds[KEEP_SLOTS];

	for (;;) {
		int r = keep_receive(k->fd, &m, fds);

		if (r < 0)
			return r;
		if (m.kind == KEEP_DONE) {
			keep_close_fds(fds);
			k->pid = (pid_t)m.serial;
			return 0;
		}
		e = add(k, m.serial);
		if (e == NULL) {
			keep_close_fds(fds);
			return -ENOMEM;
		}
		keep_close_fds(e->fds);
		e->slots = m.slots;
		for (int i = 0; i < KEEP_SLOTS; i++)
			e->fds[i] = fds[i];
	}
}

int keep_open(struct keep *k, struct err *err)
{
	const struct timeval patience = {.tv_sec = ANSWER_MS / 1000};
	int r;

	k->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (k->fd < 0)
		return err_errno(err, errno, "make a socket");
	/* For connect(2) too: one that accepts nobody has a full queue sooner or later. */
	(void)setsockopt(k->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	(void)setsockopt(k->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(k->fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		r = -errno;
		leave(k);
		if (r == -ENOENT || r == -ECONNREFUSED) /* it had nothing left */
			return 0;
		return err_errno(err, -r, "meet the keeper of an earlier shim");
	}
	r = hear_all(k);
	if (r < 0) {
		leave(k);
		return err_errno(err, -r, "ask the keeper of an earlier shim");
	}
	return 0;
}

void keep_take(struct keep *k, uint32_t serial, int fds[KEEP_SLOTS])
{
	struct keep_entry *e = find(k, serial);

	for (int i = 0; i < KEEP_SLOTS; i++) {
		fds[i] = e != NULL ? e->fds[i] : -1;
		if (e != NULL)
			e->fds[i] = -1;
	}
}

static bool is_untaken(const struct keep_entry *e)
{
	for (int i = 0; i < KEEP_SLOTS; i++)
		if (e->fds[i] >= 0)
			return true;
	return false;
}

void keep_taken(struct keep *k)
{
	for (size_t i = k->n; i-- > 0 && i < k->n;) {
		struct keep_entry *e = &k->entries[i];

		if (!is_untaken(e))
			continue;
		keep_close_fds(e->fds);
		keep_drop(k, e->serial, ~0U);
	}
	if (k->fd >= 0 && k->n == 0)
		leave(k);
}

/* ---- both ---- */

/* It never has much to do, so one that takes nothing is ill, and would hold on to all it has. */
static int tell(struct keep *k, const struct keep_message *m, const int fds[KEEP_SLOTS])
{
	struct pollfd p = {.fd = k->fd, .events = POLLOUT};
	int r = keep_send(k->fd, m, fds, MSG_DONTWAIT);

	if (r == -EAGAIN && poll(&p, 1, SEND_MS) == 1)
		r = keep_send(k->fd, m, fds, MSG_DONTWAIT);
	if (r == -EAGAIN)
		(void)kill(k->pid, SIGKILL);
	if (r == -EAGAIN || r == -EPIPE || r == -ECONNRESET) {
		log_warn("keep", "pid=%d, the keeper, is lost: %s", k->pid, err_describe(-r));
		leave(k);
	}
	return r;
}

static int put(struct keep *k, uint32_t serial, uint32_t slots, const int fds[KEEP_SLOTS],
	       struct err *err)
{
	const struct keep_message m = {.kind = KEEP_PUT, .serial = serial};
	struct keep_entry *e;
	int r = k->fd < 0 ? start(k, err) : 0;

	if (r < 0)
		return r;
	e = add(k, serial);
	if (e == NULL)
		return err_set(err, ENOMEM, "out of memory");
	e->slots |= slots;
	r = tell(k, &m, fds);
	return r < 0 ? err_errno(err, -r, "tell the keeper") : 0;
}

int keep_put(struct keep *k, uint32_t serial, const int fds[KEEP_SLOTS], struct err *err)
{
	uint32_t slots = 0;
	int r;

	for (int i = 0; i < KEEP_SLOTS; i++)
		if (fds[i] >= 0)
			slots |= 1U << i;
	if (slots == 0)
		return 0;
	r = put(k, serial, slots, fds, err);
	/* Another one, if somebody has killed it. */
	if (r < 0 && k->fd < 0)
		r = put(k, serial, slots, fds, err);
	if (r < 0 && k->fd < 0)
		leave(k);
	return r;
}

void keep_drop(struct keep *k, uint32_t serial, uint32_t slots)
{
	struct keep_message m = {.kind = KEEP_DROP, .serial = serial};
	struct keep_entry *e = find(k, serial);

	if (e == NULL || (e->slots & slots) == 0)
		return;
	m.slots = e->slots & slots;
	e->slots &= ~slots;
	if (e->slots == 0)
		*e = k->entries[--k->n];
	if (tell(k, &m, NULL) == 0 && k->n == 0)
		leave(k);
}

void keep_close(struct keep *k)
{
	if (k->fd < 0)
		return;
	for (size_t i = 0; i < k->n; i++)
		keep_close_fds(k->entries[i].fds);
	free(k->entries);
	(void)close(k->fd);
	keep_init(k);
}
