/*
 * The one place that waits for processes. Of a child the end is looked at first (WNOWAIT), written
 * down, and only then the child is reaped: a shim that is killed in between has told its heir.
 *
 * A process that an earlier shim has started is no child of ours. Its pidfd tells when it ends; how
 * it ended is known as long as it is a zombie (proc(5), field exit_code), and from the pidfd since
 * Linux 6.15 (linux/pidfd.h, PIDFD_INFO_EXIT). Else it is lost.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "shim/procfs.h"
#include "shim/shim.h"

enum {
	MAX_PARKED = 4096,
	RETRY_MS = 10,
	MAX_RETRIES = 50,
};

/* Of Linux 6.15; Debian 12's headers are older. */
struct pidfd_info_v0 {
	uint64_t mask;
	uint64_t cgroupid;
	uint32_t ids[11];
	int32_t exit_code;
};
#define PIDFD_GET_INFO_V0 _IOWR(0xff, 11, struct pidfd_info_v0)
#define PIDFD_INFO_EXIT_BIT (1ULL << 3)

/* ---- children ---- */

static void park(struct shim *s, pid_t pid, uint32_t status, int64_t at_ns)
{
	struct record r = {.kind = RECORD_ENDED, .at_ns = at_ns, .pid = pid, .status = status};

	if (task_n_launching(&s->task) == 0)
		return; /* an orphan of the container that came to us */
	(void)journal_append(&s->journal, &r);
	reaper_park(s, pid, status, at_ns);
}

void reaper_park(struct shim *s, pid_t pid, uint32_t status, int64_t at_ns)
{
	struct reaper *rp = &s->reaper;

	if (rp->n_parked == MAX_PARKED) { /* the oldest is least likely to be asked for */
		memmove(rp->parked, rp->parked + 1, --rp->n_parked * sizeof(*rp->parked));
	} else if (rp->n_parked == rp->cap_parked) {
		size_t cap = rp->cap_parked > 0 ? rp->cap_parked * 2 : 16;
		void *p = reallocarray(rp->parked, cap, sizeof(*rp->parked));

		if (p == NULL)
			return;
		rp->parked = p;
		rp->cap_parked = cap;
	}
	rp->parked[rp->n_parked++] = (struct parked){pid, status, at_ns};
}

void reaper_forget_parked(struct shim *s)
{
	free(s->reaper.parked);
	s->reaper.parked = NULL;
	s->reaper.n_parked = s->reaper.cap_parked = 0;
}

static const struct parked *find_parked(const struct shim *s, pid_t pid)
{
	for (size_t i = s->reaper.n_parked; i > 0; i--)
		if (s->reaper.parked[i - 1].pid == pid)
			return &s->reaper.parked[i - 1];
	return NULL;
}

static void child_ended(struct shim *s, pid_t pid, int wait_status)
{
	struct proc *p;

	if (runtime_reaped(&s->runtime, pid, wait_status))
		return;
	p = task_find_pid(&s->task, pid);
	if (p != NULL && !p->exited)
		shim_exited(s, p, task_exit_status(wait_status), /* lost= */ false,
			    clock_wall_ns());
	else
		park(s, pid, task_exit_status(wait_status), clock_wall_ns());
	shim_settle(s);
}

/* waitid(2) has taken wait(2)'s status apart. */
static int status_of(const siginfo_t *si)
{
	if (si->si_code == CLD_EXITED)
		return (si->si_status & 0xff) << 8;
	return si->si_status & 0x7f;
}

static void reap(struct shim *s)
{
	siginfo_t si;

	for (;;) {
		si.si_pid = 0;
		if (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) < 0 || si.si_pid == 0)
			return;
		/*
		 * A run of the runtime is reaped first: its end may lead to anything, also to a
		 * child with the same number. Nothing of it is lost with us.
		 */
		if (runtime_owns(&s->runtime, si.si_pid)) {
			(void)waitpid(si.si_pid, NULL, WNOHANG);
			child_ended(s, si.si_pid, status_of(&si));
		} else {
			child_ended(s, si.si_pid, status_of(&si));
			(void)waitpid(si.si_pid, NULL, WNOHANG);
		}
	}
}

/* ---- others ---- */

/* Returns 0 and the status, -EAGAIN while it is not told, or -ENODATA when it will not be. */
static int find_status(const struct hold *h, int *ret_wait_status)
{
	struct pidfd_info_v0 info = {.mask = PIDFD_INFO_EXIT_BIT};
	struct procfs_stat st;
	bool told = ioctl(h->pid_io.fd, PIDFD_GET_INFO_V0, &info) == 0;

	if (told && (info.mask & PIDFD_INFO_EXIT_BIT) != 0) {
		*ret_wait_status = info.exit_code;
		return 0;
	}
	if (procfs_stat(h->proc->pid, &st) < 0 || st.state != 'Z' ||
	    (h->proc->starttime != 0 && st.starttime != h->proc->starttime))
		return told ? -EAGAIN : -ENODATA; /* reaped in between: ask again */
	/* 0 is also what we are told when we may not know. */
	if (st.exit_code == 0 && geteuid() != 0)
		return -EAGAIN;
	*ret_wait_status = st.exit_code;
	return 0;
}

static void adopted_ended(struct hold *h)
{
	struct shim *s = h->shim;
	int wait_status = 0;
	int r = find_status(h, &wait_status);

	if (r == -EAGAIN && h->n_retries++ < MAX_RETRIES) {
		loop_del(&s->loop, &h->pid_io); /* it will not say anything new */
		if (loop_set_timer(&s->loop, &h->retry, RETRY_MS) == 0)
			return;
	}
	shim_exited(s, h->proc, r == 0 ? task_exit_status(wait_status) : REAPER_LOST_STATUS, r < 0,
		    clock_wall_ns());
	shim_settle(s);
}

static void on_pid(struct rpc_io *io, uint32_t events)
{
	(void)events;
	adopted_ended(list_entry(io, struct hold, pid_io));
}

static void on_retry(struct rpc_timer *t)
{
	adopted_ended(list_entry(t, struct hold, retry));
}

static int adopt(struct hold *h)
{
	struct shim *s = h->shim;
	struct procfs_stat st;
	int r;

	h->pid_io.fd = (int)syscall(SYS_pidfd_open, h->proc->pid, 0);
	h->pid_io.ready = on_pid;
	h->retry.fired = on_retry;
	if (h->pid_io.fd < 0)
		return -errno;
	/* Only now it cannot become another process any more. */
	r = procfs_stat(h->proc->pid, &st);
	if (r == 0 && h->proc->starttime != 0 && st.starttime != h->proc->starttime)
		r = -ESRCH;
	if (r == 0)
		r = loop_add(&s->loop, &h->pid_io, EPOLLIN);
	return r;
}

void reaper_unwatch(struct hold *h)
{
	loop_clear_timer(&h->shim->loop, &h->retry);
	if (h->pid_io.fd < 0)
		return;
	loop_del(&h->shim->loop, &h->pid_io);
	(void)close(h->pid_io.fd);
	h->pid_io.fd = -1;
}

void reaper_watch(struct shim *s, struct proc *p)
{
	const struct parked *parked = find_parked(s, p->pid);
	struct procfs_stat st;
	bool there = procfs_stat(p->pid, &st) == 0;
	int r;

	/* Who is parked has been reaped: one that is there still has the number of another. */
	if (parked != NULL && !(there && p->starttime != 0 && st.starttime == p->starttime)) {
		shim_exited(s, p, parked->status, /* lost= */ false, parked->at_ns);
		return;
	}
	if (there && st.ppid == getpid() && (p->starttime == 0 || st.starttime == p->starttime))
		return; /* SIGCHLD will tell, or has told */
	r = adopt(p->owner);
	if (r < 0) {
		log_warn("reaper", "pid=%d ended unseen: %s", p->pid, err_describe(-r));
		shim_exited(s, p, REAPER_LOST_STATUS, /* lost= */ true, clock_wall_ns());
	}
}

/* ---- signals ---- */

static void on_signal(struct rpc_io *io, uint32_t events)
{
	struct shim *s = list_entry(io, struct shim, reaper.signal_io);
	struct signalfd_siginfo si;

	(void)events;
	while (read(io->fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		if (si.ssi_signo == SIGCHLD)
			continue;
		log_info("shim", "ends signal=%" PRIu32, si.ssi_signo);
		shim_end(s);
	}
	reap(s);
}

int reaper_init(struct shim *s, struct err *err)
{
	sigset_t mask;
	int r;

	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGCHLD);
	(void)sigaddset(&mask, SIGTERM);
	(void)sigaddset(&mask, SIGINT);
	(void)pthread_sigmask(SIG_BLOCK, &mask, NULL);
	/* Whoever started us may go, and so may whoever reads what we log. */
	(void)signal(SIGHUP, SIG_IGN);
	(void)signal(SIGPIPE, SIG_IGN);
	s->reaper.signal_io = (struct rpc_io){.fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK),
					      .ready = on_signal};
	if (s->reaper.signal_io.fd < 0)
		return err_errno(err, errno, "make a signalfd");
	r = loop_add(&s->loop, &s->reaper.signal_io, EPOLLIN);
	return r < 0 ? err_errno(err, -r, "watch signals") : 0;
}

void reaper_done(struct shim *s)
{
	reaper_forget_parked(s);
	if (s->reaper.signal_io.fd >= 0)
		(void)close(s->reaper.signal_io.fd);
	s->reaper.signal_io.fd = -1;
}
