#include "shimctl/interrupt.h"

#include <errno.h>
#include <sys/signalfd.h>
#include <unistd.h>

void interrupt_signals(sigset_t *set)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP};
	struct sigaction action;

	(void)sigemptyset(set);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigaction(signals[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
			(void)sigaddset(set, signals[i]);
}

int interrupt_hold(struct interrupt *i, struct err *err)
{
	sigset_t set;

	*i = (struct interrupt){.fd = -1};
	interrupt_signals(&set);
	i->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (i->fd < 0)
		return err_errno(err, errno, "make a signalfd");
	(void)pthread_sigmask(SIG_BLOCK, &set, &i->old_mask);
	return 0;
}

int interrupt_taken(struct interrupt *i)
{
	struct signalfd_siginfo si;

	while (i->fd >= 0 && read(i->fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		if (i->sig == 0)
			i->sig = (int)si.ssi_signo;
	return i->sig;
}

void interrupt_release(struct interrupt *i)
{
	if (i->fd < 0)
		return;
	(void)interrupt_taken(i);
	(void)close(i->fd);
	i->fd = -1;
	(void)pthread_sigmask(SIG_SETMASK, &i->old_mask, NULL);
}
