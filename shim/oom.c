#include "shim/oom.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "shim/cgroup.h"

enum { LOOK_MS = 10, MAX_LOOKS = 100 };

static uint64_t count_kills(const struct oom *o)
{
	return cgroup_keyed(o->dir_fd, "memory.events", "oom_kill") +
	       cgroup_keyed(o->dir_fd, "memory.oom_control", "oom_kill");
}

/*
 * The file changes for other reasons too: v2's at each limit that is met, v1's when it is removed.
 * But v1's eventfd is told before anything is killed, and not again: then it takes a few looks.
 */
static void look(struct oom *o)
{
	uint64_t kills = count_kills(o);

	if (kills > o->kills) {
		o->kills = kills;
		o->happened(o);
	} else if (o->n_looks > 0) {
		o->n_looks--;
		(void)loop_set_timer(o->loop, &o->again, LOOK_MS);
	}
}

static void on_again(struct rpc_timer *t)
{
	look(list_entry(t, struct oom, again));
}

static void on_ready(struct rpc_io *io, uint32_t events)
{
	struct oom *o = list_entry(io, struct oom, io);
	char drop[4096];

	(void)events;
	while (read(io->fd, drop, sizeof(drop)) > 0)
		continue;
	o->n_looks = faccessat(o->dir_fd, "memory.oom_control", F_OK, 0) == 0 ? MAX_LOOKS : 0;
	look(o);
}

void oom_init(struct oom *o)
{
	*o = (struct oom){.io = {.fd = -1}, .dir_fd = -1, .again = {.fired = on_again}};
}

static int watch_v2(int dir_fd)
{
	char path[64];
	cleanup_fd int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d/memory.events", dir_fd);
	if (fd < 0 || inotify_add_watch(fd, path, IN_MODIFY) < 0)
		return -errno;
	return steal_fd(fd);
}

static int watch_v1(int dir_fd)
{
	cleanup_fd int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	cleanup_fd int control_fd = openat(dir_fd, "memory.oom_control", O_RDONLY | O_CLOEXEC);
	cleanup_fd int register_fd = openat(dir_fd, "cgroup.event_control", O_WRONLY | O_CLOEXEC);
	char line[40];
	int r;

	if (fd < 0 || control_fd < 0 || register_fd < 0)
		return -errno;
	(void)snprintf(line, sizeof(line), "%d %d", fd, control_fd);
	r = fd_write_full(register_fd, line, strlen(line));
	return r < 0 ? r : steal_fd(fd);
}

void oom_watch(struct oom *o, struct loop *loop, pid_t pid)
{
	cleanup_fd int dir_fd = -1;
	bool v2;
	int fd;

	oom_done(o, loop);
	dir_fd = cgroup_open(pid, "memory", &v2);
	fd = dir_fd < 0 ? dir_fd : v2 ? watch_v2(dir_fd) : watch_v1(dir_fd);
	if (fd < 0) {
		log_debug("oom", "not watched: %s", err_describe(-fd));
		return;
	}
	o->io = (struct rpc_io){.fd = fd, .ready = on_ready};
	o->dir_fd = steal_fd(dir_fd);
	o->loop = loop;
	o->kills = count_kills(o);
	if (loop_add(loop, &o->io, EPOLLIN) < 0)
		oom_done(o, loop);
}

void oom_done(struct oom *o, struct loop *loop)
{
	loop_clear_timer(loop, &o->again);
	if (o->io.fd >= 0) {
		loop_del(loop, &o->io);
		(void)close(o->io.fd);
	}
	if (o->dir_fd >= 0)
		(void)close(o->dir_fd);
	o->io.fd = o->dir_fd = -1;
}
