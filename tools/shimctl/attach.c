#include "shimctl/attach.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "shimctl/interrupt.h"
#include "shimctl/shimctl.h"
#include "shimctl/terminal.h"

enum {
	/* After the end of the process: a child of it may keep its output open. */
	QUIET_MS = 300,
	DETACH_AFTER = 3,
};

static const struct rpc_client_ops no_answer = {0};

/* Fire and forget: what it is about is told to the process, not to us. */
static void tell(struct attach *a, const char *path, const ProtobufCMessage *m)
{
	(void)rpc_client_start(a->client, path, m, SHIM_DESCRIPTOR(empty), CALL_TIMEOUT_MS,
			       &no_answer, NULL, NULL);
}

static void send_signal(struct attach *a, int sig)
{
	SHIM(KillRequest) q = CONTAINERD__SHIM__V1__KILL_REQUEST__INIT;

	q.signal = (uint32_t)sig;
	q.pid = a->pid;
	tell(a, "/containerd.shim.v1.Shim/Kill", &q.base);
}

static void send_size(struct attach *a)
{
	SHIM(PtyRequest) q = CONTAINERD__SHIM__V1__PTY_REQUEST__INIT;

	q.pid = a->pid;
	if (a->fifos->terminal && terminal_size(STDIN_FILENO, &q.width, &q.height) == 0)
		tell(a, "/containerd.shim.v1.Shim/Pty", &q.base);
}

static void close_in(struct attach *a)
{
	SHIM(CloseIORequest) q = CONTAINERD__SHIM__V1__CLOSE_IOREQUEST__INIT;

	if (a->fifos->in_fd < 0)
		return;
	(void)close(a->fifos->in_fd);
	a->fifos->in_fd = -1;
	q.pid = a->pid;
	tell(a, "/containerd.shim.v1.Shim/CloseIO", &q.base);
}

/* ---- the end of the process ---- */

static void on_wait(struct rpc_client_call *call, const ProtobufCMessage *m, void *data)
{
	const SHIM(WaitResponse) *w = (const void *)m;
	struct attach *a = data;

	(void)call;
	a->waited = true;
	a->lost = w->lost;
	a->status = w->exit_status;
	a->quiet_since_ms = clock_mono_ms();
}

static void on_wait_done(struct rpc_client_call *call, enum rpc_status status, const char *text,
			 void *data)
{
	struct attach *a = data;

	(void)call;
	a->wait = NULL;
	if (status == RPC_OK && a->waited)
		return;
	a->waited = true;
	a->wait_error = status == RPC_OK ? -EPROTO : rpc_status_to_errno(status);
	(void)err_set(&a->err, -a->wait_error, "%s", text);
	a->err.detail = (int)status;
}

static int start_wait(struct attach *a, struct err *err)
{
	static const struct rpc_client_ops ops = {.message = on_wait, .done = on_wait_done};
	SHIM(WaitRequest) q = CONTAINERD__SHIM__V1__WAIT_REQUEST__INIT;
	int r;

	q.pid = a->pid;
	r = rpc_client_start(a->client, "/containerd.shim.v1.Shim/Wait", &q.base,
			     SHIM_DESCRIPTOR(wait_response), NO_TIMEOUT_MS, &ops, a, &a->wait);
	return r < 0 ? err_errno(err, -r, "wait for the process") : 0;
}

int attach_begin(struct attach *a, struct rpc_client *client, struct fifos *fifos, uint32_t pid,
		 struct err *err)
{
	static const int signals[] = {SIGCONT, SIGWINCH, SIGPIPE};
	sigset_t mask;

	*a = (struct attach){.client = client, .fifos = fifos, .pid = pid, .signal_fd = -1};
	interrupt_signals(&mask);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)sigaddset(&mask, signals[i]);
	a->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	if (a->signal_fd < 0)
		return err_errno(err, errno, "make a signalfd");
	(void)pthread_sigmask(SIG_BLOCK, &mask, &a->old_mask);
	a->raw = fifos->terminal && isatty(STDIN_FILENO) != 0;
	if (a->raw) {
		int r = terminal_raw(STDIN_FILENO, err);

		if (r < 0)
			return r;
	}
	send_size(a);
	return start_wait(a, err);
}

void attach_end(struct attach *a)
{
	if (a->raw)
		terminal_restore();
	if (a->wait != NULL) /* its answer would come to where we have been */
		rpc_client_cancel(a->wait);
	a->wait = NULL;
	if (a->signal_fd < 0)
		return;
	(void)close(a->signal_fd);
	a->signal_fd = -1;
	(void)pthread_sigmask(SIG_SETMASK, &a->old_mask, NULL);
}

/* ---- copying ---- */

static void take_signals(struct attach *a)
{
	struct signalfd_siginfo si;

	while (read(a->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si)) {
		int sig = (int)si.ssi_signo;

		switch (sig) {
		case SIGCONT: /* a shell that had us in the background has set its own mode */
			if (a->raw)
				(void)terminal_raw(STDIN_FILENO, NULL);
			send_size(a);
			break;
		case SIGWINCH:
			send_size(a);
			break;
		case SIGHUP:
			a->detached = sig;
			break;
		case SIGINT:
		case SIGTERM:
		case SIGQUIT:
			if (++a->n_signals[sig] >= DETACH_AFTER)
				a->detached = sig;
			else
				send_signal(a, sig);
			break;
		default: /* SIGPIPE: write(2) tells */
			break;
		}
	}
}

static void read_in(struct attach *a)
{
	ssize_t n = read(STDIN_FILENO, a->in_bytes, sizeof(a->in_bytes));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		a->in_eof = true;
		close_in(a);
		return;
	}
	a->in_from = 0;
	a->in_to = (size_t)n;
}

static void write_in(struct attach *a)
{
	ssize_t n = write(a->fifos->in_fd, a->in_bytes + a->in_from, a->in_to - a->in_from);

	if (n >= 0)
		a->in_from += (size_t)n;
	else if (errno != EAGAIN && errno != EINTR)
		a->in_eof = true;
}

/* Whatever is there, up to a fair share. The end closes *fd. */
static void copy_out(struct attach *a, int *fd, int to_fd)
{
	uint8_t bytes[16384];
	ssize_t n = read(*fd, bytes, sizeof(bytes));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		(void)close(*fd);
		*fd = -1;
		return;
	}
	a->quiet_since_ms = clock_mono_ms();
	if (a->out_broken)
		return; /* taken all the same, or the process would wait for ever */
	if (fd_write_full(to_fd, bytes, (size_t)n) < 0) {
		a->out_broken = true;
		send_signal(a, SIGPIPE);
	}
}

enum { AT_CLIENT, AT_SIGNAL, AT_STDIN, AT_IN, AT_OUT, AT_ERR, N_POLL };

static int until_quiet_ms(const struct attach *a)
{
	int next = rpc_client_timeout_ms(a->client);
	uint64_t now_ms = clock_mono_ms();

	if (!a->waited)
		return next;
	if (now_ms >= a->quiet_since_ms + QUIET_MS)
		return 0;
	if (next < 0 || (uint64_t)next > a->quiet_since_ms + QUIET_MS - now_ms)
		next = (int)(a->quiet_since_ms + QUIET_MS - now_ms);
	return next;
}

static void copy_round(struct attach *a)
{
	struct fifos *f = a->fifos;
	bool pending = a->in_to > a->in_from;
	struct pollfd p[N_POLL] = {
		[AT_CLIENT] = {rpc_client_fd(a->client), rpc_client_events(a->client), 0},
		[AT_SIGNAL] = {a->signal_fd, POLLIN, 0},
		[AT_STDIN] = {f->in_fd >= 0 && !pending && !a->in_eof ? STDIN_FILENO : -1, POLLIN,
			      0},
		[AT_IN] = {pending && !a->in_eof ? f->in_fd : -1, POLLOUT, 0},
		[AT_OUT] = {f->out_fd, POLLIN, 0},
		[AT_ERR] = {f->err_fd, POLLIN, 0},
	};

	if (poll(p, N_POLL, until_quiet_ms(a)) < 0)
		return;
	rpc_client_process(a->client);
	if (p[AT_SIGNAL].revents != 0)
		take_signals(a);
	if (p[AT_STDIN].revents != 0)
		read_in(a);
	if (p[AT_IN].revents != 0 && f->in_fd >= 0)
		write_in(a);
	if (p[AT_OUT].revents != 0)
		copy_out(a, &f->out_fd, STDOUT_FILENO);
	if (p[AT_ERR].revents != 0)
		copy_out(a, &f->err_fd, STDERR_FILENO);
}

static bool is_over(const struct attach *a)
{
	bool ended = a->fifos->out_fd < 0 && a->fifos->err_fd < 0;

	if (a->detached != 0 || a->wait_error < 0)
		return true;
	return a->waited && (ended || clock_mono_ms() >= a->quiet_since_ms + QUIET_MS);
}

int attach_run(struct attach *a, int *ret_status, struct err *err)
{
	while (!is_over(a))
		copy_round(a);
	attach_end(a);
	if (a->wait_error < 0) {
		if (err != NULL)
			*err = a->err;
		return a->wait_error;
	}
	*ret_status = (int)a->status;
	if (a->detached != 0) {
		*ret_status = 128 + a->detached;
	} else if (a->lost) {
		(void)err_set(err, ENODATA, "the exit status is lost");
		*ret_status = 255;
	}
	return 0;
}
