#include "dist/interrupt.h"

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/cleanup.h"

static void die(const struct interrupt *in, int sig)
{
	struct sigaction sa = {.sa_handler = SIG_DFL};

	(void)sigaction(sig, &sa, NULL);
	(void)raise(sig);
	(void)pthread_sigmask(SIG_UNBLOCK, &in->set, NULL);
}

static void take(struct interrupt *in, int sig)
{
	void (*stop)(void *arg) = NULL;
	void *arg;

	(void)pthread_mutex_lock(&in->lock);
	if (!in->held || in->signal != 0)
		die(in, sig);
	in->signal = sig;
	stop = in->stop;
	arg = in->arg;
	(void)pthread_mutex_unlock(&in->lock);
	if (stop != NULL)
		stop(arg);
}

static void *watch(void *arg)
{
	struct interrupt *in = arg;
	struct pollfd p[] = {{.fd = in->signal_fd, .events = POLLIN},
			     {.fd = in->end_fd, .events = POLLIN}};
	struct signalfd_siginfo info;

	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (p[0].revents != 0 && read(in->signal_fd, &info, sizeof(info)) == sizeof(info))
			take(in, (int)info.ssi_signo);
		if (p[1].revents != 0)
			return NULL;
	}
}

static void block_ours(struct interrupt *in)
{
	static const int ours[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction sa;

	(void)sigemptyset(&in->set);
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if (sigaction(ours[i], NULL, &sa) == 0 && sa.sa_handler != SIG_IGN)
			(void)sigaddset(&in->set, ours[i]);
	(void)pthread_sigmask(SIG_BLOCK, &in->set, NULL);
}

int interrupt_begin(struct interrupt *in, struct err *err)
{
	cleanup_fd int signal_fd = -1, end_fd = -1;
	int r;

	*in = (struct interrupt){.signal_fd = -1, .end_fd = -1};
	block_ours(in);
	signal_fd = signalfd(-1, &in->set, SFD_CLOEXEC | SFD_NONBLOCK);
	end_fd = eventfd(0, EFD_CLOEXEC);
	if (signal_fd < 0 || end_fd < 0)
		return err_errno(err, errno, "watch signals");
	(void)pthread_mutex_init(&in->lock, NULL);
	in->signal_fd = signal_fd;
	in->end_fd = end_fd;
	r = pthread_create(&in->thread, NULL, watch, in);
	if (r != 0) {
		in->signal_fd = -1;
		return err_errno(err, r, "start a thread");
	}
	(void)steal_fd(signal_fd);
	(void)steal_fd(end_fd);
	return 0;
}

void interrupt_hold(struct interrupt *in, void (*stop)(void *arg), void *arg)
{
	(void)pthread_mutex_lock(&in->lock);
	in->held = true;
	in->stop = stop;
	in->arg = arg;
	(void)pthread_mutex_unlock(&in->lock);
}

bool interrupted(const struct interrupt *in)
{
	return in->signal != 0;
}

void interrupt_end(struct interrupt *in)
{
	const uint64_t one = 1;

	if (in->signal_fd < 0)
		return;
	while (write(in->end_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
	(void)pthread_join(in->thread, NULL);
	(void)close(in->signal_fd);
	(void)close(in->end_fd);
	(void)pthread_mutex_destroy(&in->lock);
	in->signal_fd = -1;
	if (in->signal != 0)
		die(in, in->signal);
	(void)pthread_sigmask(SIG_UNBLOCK, &in->set, NULL);
}
