/* Changes in blobs/sha256 made by others (dist, rm, rsync), told to the kernel's caches. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "mount/private.h"

struct watch {
	struct mount *m;
	pthread_t thread;
	int inotify_fd;
	int stop_fd; /* eventfd */
};

static void handle(struct mount *m, const struct inotify_event *e)
{
	struct digest d;

	/* A queue that overflowed has lost deletions: entries stay until their TTL ends. */
	if (e->len == 0 || digest_parse_hex(e->name, &d) < 0)
		return;
	if ((e->mask & (IN_DELETE | IN_MOVED_FROM)) != 0)
		blobs_gone(m, &d);
	if ((e->mask & (IN_CREATE | IN_MOVED_TO)) != 0) {
		blobs_appeared(m, &d);
		blobs_committed(m, &d);
	}
}

static void *watch_main(void *arg)
{
	struct watch *w = arg;
	struct pollfd fds[] = {{.fd = w->inotify_fd, .events = POLLIN},
			       {.fd = w->stop_fd, .events = POLLIN}};
	char buf[16384] __attribute__((aligned(__alignof__(struct inotify_event))));

	for (;;) {
		ssize_t n;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (fds[1].revents != 0)
			return NULL;
		n = read(w->inotify_fd, buf, sizeof(buf));
		for (char *p = buf; n > 0 && p < buf + n;) {
			const struct inotify_event *e = (const void *)p;

			handle(w->m, e);
			p += sizeof(*e) + e->len;
		}
	}
}

struct watch *watch_new(struct mount *m)
{
	cleanup_free struct watch *w = calloc(1, sizeof(*w));
	cleanup_fd int in_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	cleanup_fd int stop_fd = eventfd(0, EFD_CLOEXEC);
	sigset_t all, old;
	int r;

	if (w == NULL || in_fd < 0 || stop_fd < 0 || store_blobs_fd(m->store) < 0)
		return NULL;
	if (inotify_add_watch(in_fd, fd_path(store_blobs_fd(m->store)).s,
			      IN_DELETE | IN_MOVED_FROM | IN_CREATE | IN_MOVED_TO | IN_ONLYDIR) < 0)
		return NULL;
	w->m = m;
	w->inotify_fd = in_fd;
	w->stop_fd = stop_fd;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&w->thread, NULL, watch_main, w);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r != 0)
		return NULL;
	(void)steal_fd(in_fd);
	(void)steal_fd(stop_fd);
	return steal_ptr(w);
}

struct watch *watch_free(struct watch *w)
{
	uint64_t one = 1;

	if (w == NULL)
		return NULL;
	/* An eventfd at 1 takes another 1. */
	(void)!write(w->stop_fd, &one, sizeof(one));
	(void)pthread_join(w->thread, NULL);
	(void)close(w->inotify_fd);
	(void)close(w->stop_fd);
	free(w);
	return NULL;
}
