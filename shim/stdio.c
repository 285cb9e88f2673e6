#include "shim/stdio.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "shim/copier.h"

enum { REOPEN_MS = 100 };

struct terminal {
	struct stdio *stdio;
	int master_fd;
	struct copier in;  /* fifo -> master; from.fd is -1 where there is no stdin */
	struct copier out; /* master -> fifo, or /dev/null */
	bool closing_in;   /* end of file once what was written has gone through */
	bool ended;	   /* the process */
	bool drained;
	struct rpc_timer reopen; /* nobody has it open, but the process lives */
};

static bool is_named(const char *path)
{
	return path != NULL && path[0] != '\0';
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static void init(struct stdio *s, struct loop *loop)
{
	*s = (struct stdio){.loop = loop,
			    .child_fds = {-1, -1, -1},
			    .in_hold_fd = -1,
			    .out_hold_fd = -1,
			    .err_hold_fd = -1};
}

/* ---- fifos ---- */

/* O_NONBLOCK: opening one end of a fifo does not wait for the other (fifo(7)). */
static int open_fifo(const char *path, int flags, int *ret_fd, struct err *err)
{
	cleanup_fd int fd = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return err_errno(err, errno, "open %s", path);
	if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))
		return err_set(err, EINVAL, "%s is not a fifo", path);
	*ret_fd = steal_fd(fd);
	return 0;
}

/* An end that the process is to have: it expects reads and writes that wait. */
static int open_for_child(const char *path, int flags, int *ret_fd, struct err *err)
{
	int r = open_fifo(path, flags, ret_fd, err);

	if (r == 0 && fcntl(*ret_fd, F_SETFL, flags) < 0)
		r = err_errno(err, errno, "set up %s", path);
	return r;
}

static int open_in(struct stdio *s, const char *path, struct err *err)
{
	int r = 0;

	if (!is_named(path))
		return 0;
	r = open_for_child(path, O_RDONLY, &s->child_fds[0], err);
	return r < 0 ? r : open_fifo(path, O_WRONLY, &s->in_hold_fd, err);
}

static int open_out(const char *path, int *child_fd, int *hold_fd, struct err *err)
{
	int r;

	if (!is_named(path))
		return 0;
	r = open_for_child(path, O_RDWR, child_fd, err);
	return r < 0 ? r : open_fifo(path, O_RDONLY, hold_fd, err);
}

/* Of a terminal the fifos are opened when there is one; they are looked at before all else. */
static int check_fifo(const char *path, struct err *err)
{
	cleanup_fd int fd = -1;

	return is_named(path) ? open_fifo(path, O_RDWR, &fd, err) : 0;
}

int stdio_open(struct stdio *s, struct loop *loop, const struct stdio_paths *paths, struct err *err)
{
	int r;

	init(s, loop);
	if (paths->terminal) {
		r = check_fifo(paths->in, err);
		return r < 0 ? r : check_fifo(paths->out, err);
	}
	r = open_in(s, paths->in, err);
	if (r == 0)
		r = open_out(paths->out, &s->child_fds[1], &s->out_hold_fd, err);
	if (r == 0)
		r = open_out(paths->err, &s->child_fds[2], &s->err_hold_fd, err);
	if (r < 0)
		stdio_close(s);
	return r;
}

void stdio_launched(struct stdio *s)
{
	for (int i = 0; i < 3; i++)
		close_fd(&s->child_fds[i]);
}

/* ---- a terminal ---- */

static void terminal_drained(struct terminal *t)
{
	if (t->drained)
		return;
	t->drained = true;
	copier_done(&t->in);
	copier_done(&t->out); /* so that the reader sees the end */
	if (t->stdio->on_drained != NULL)
		t->stdio->on_drained(t->stdio);
}

/*
 * EIO: nobody has the terminal open (pty(7)). While the process lives it, or a child of it, may
 * open it again.
 */
static void on_out_end(struct copier *c, int r)
{
	struct terminal *t = list_entry(c, struct terminal, out);

	if (r == -EIO && !t->ended && loop_set_timer(t->stdio->loop, &t->reopen, REOPEN_MS) == 0)
		return;
	terminal_drained(t);
}

static void on_reopen(struct rpc_timer *timer)
{
	struct terminal *t = list_entry(timer, struct terminal, reopen);

	if (copier_start(&t->out) < 0)
		terminal_drained(t);
}

static void send_eof(struct terminal *t)
{
	struct termios tio;

	if (tcgetattr(t->master_fd, &tio) == 0 && (tio.c_lflag & ICANON) != 0)
		(void)!write(t->master_fd, &tio.c_cc[VEOF], 1);
}

static void on_in_idle(struct copier *c)
{
	struct terminal *t = list_entry(c, struct terminal, in);

	if (!t->closing_in)
		return;
	send_eof(t);
	copier_done(c);
}

static void terminal_free(struct terminal *t)
{
	if (t == NULL)
		return;
	loop_clear_timer(t->stdio->loop, &t->reopen);
	copier_done(&t->in);
	copier_done(&t->out);
	close_fd(&t->master_fd);
	free(t);
}

static int dup_fd(int fd, int *ret_fd)
{
	*ret_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return *ret_fd < 0 ? -errno : 0;
}

static int terminal_start(struct terminal *t, const struct stdio_paths *paths, struct err *err)
{
	int r = 0;

	if (is_named(paths->in)) {
		/* Our own writing end of it, so that it does not end with a client. */
		r = open_fifo(paths->in, O_RDWR, &t->in.from.fd, err);
		if (r == 0)
			r = dup_fd(t->master_fd, &t->in.to.fd);
		if (r == 0)
			r = copier_start(&t->in);
	}
	if (r == 0 && is_named(paths->out)) {
		r = open_fifo(paths->out, O_RDWR, &t->out.to.fd, err);
		if (r == 0)
			r = open_fifo(paths->out, O_RDONLY, &t->stdio->out_hold_fd, err);
	} else if (r == 0) {
		t->out.to.fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
		r = t->out.to.fd < 0 ? -errno : 0;
	}
	if (r == 0)
		r = dup_fd(t->master_fd, &t->out.from.fd);
	if (r == 0)
		r = copier_start(&t->out);
	return r;
}

int stdio_use_terminal(struct stdio *s, int master_fd, const struct stdio_paths *paths,
		       struct err *err)
{
	struct terminal *t = calloc(1, sizeof(*t));
	int r;

	if (t == NULL) {
		(void)close(master_fd);
		return err_set(err, ENOMEM, "out of memory");
	}
	t->stdio = s;
	t->master_fd = master_fd;
	t->reopen.fired = on_reopen;
	copier_init(&t->in, s->loop, -1, -1);
	copier_init(&t->out, s->loop, -1, -1);
	t->in.on_idle = on_in_idle;
	t->out.on_end = on_out_end;
	r = terminal_start(t, paths, err);
	if (r < 0) {
		terminal_free(t);
		return err != NULL && err->code == -r ? r : err_errno(err, -r, "use the terminal");
	}
	s->terminal = t;
	return 0;
}

/* A client may have removed its fifos: better to go on without than to hang up. */
static void reopen_terminal(struct stdio *s, const struct stdio_paths *paths, int *master_fd)
{
	const struct stdio_paths without = {.terminal = true};
	int fd;

	if (*master_fd < 0)
		return;
	if (dup_fd(*master_fd, &fd) < 0 || stdio_use_terminal(s, fd, paths, NULL) < 0) {
		(void)stdio_use_terminal(s, *master_fd, &without, NULL);
		*master_fd = -1;
	}
}

void stdio_reopen(struct stdio *s, struct loop *loop, const struct stdio_paths *paths,
		  int fds[KEEP_SLOTS])
{
	init(s, loop);
	if (paths->terminal) {
		reopen_terminal(s, paths, &fds[KEEP_MASTER]);
	} else {
		s->in_hold_fd = fds[KEEP_IN];
		fds[KEEP_IN] = -1;
		if (is_named(paths->out))
			(void)open_fifo(paths->out, O_RDONLY, &s->out_hold_fd, NULL);
		if (is_named(paths->err))
			(void)open_fifo(paths->err, O_RDONLY, &s->err_hold_fd, NULL);
	}
	keep_close_fds(fds);
}

void stdio_kept_fds(const struct stdio *s, int fds[KEEP_SLOTS])
{
	const struct terminal *t = s->terminal;

	fds[KEEP_MASTER] = t != NULL ? t->master_fd : -1;
	fds[KEEP_IN] = t != NULL ? t->in.from.fd : s->in_hold_fd;
	fds[KEEP_OUT] = t != NULL ? t->out.to.fd : -1;
}

int stdio_set_size(struct stdio *s, bool terminal, uint16_t width, uint16_t height)
{
	struct winsize ws = {.ws_col = width, .ws_row = height};

	if (!terminal)
		return 0;
	if (s->terminal == NULL || ioctl(s->terminal->master_fd, TIOCSWINSZ, &ws) < 0)
		return -ENOTTY;
	return 0;
}

/* ---- the end ---- */

void stdio_close_in(struct stdio *s)
{
	struct terminal *t = s->terminal;

	close_fd(&s->in_hold_fd);
	if (t == NULL || t->closing_in || t->in.from.fd < 0)
		return;
	t->closing_in = true;
	if (t->in.watches_from) {
		int waiting = 0;

		if (ioctl(t->in.from.fd, FIONREAD, &waiting) == 0 && waiting == 0)
			on_in_idle(&t->in);
	}
}

void stdio_ended(struct stdio *s)
{
	struct terminal *t = s->terminal;

	close_fd(&s->in_hold_fd);
	if (t == NULL)
		return;
	t->ended = true;
	copier_done(&t->in);
	if (t->out.ended) {
		loop_clear_timer(s->loop, &t->reopen);
		terminal_drained(t);
	}
}

bool stdio_is_drained(const struct stdio *s)
{
	return s->terminal == NULL || s->terminal->drained;
}

static void release_read(int *fd)
{
	int waiting = 0;

	if (*fd >= 0 && (ioctl(*fd, FIONREAD, &waiting) < 0 || waiting == 0))
		close_fd(fd);
}

bool stdio_release_read(struct stdio *s)
{
	release_read(&s->out_hold_fd);
	release_read(&s->err_hold_fd);
	return s->out_hold_fd >= 0 || s->err_hold_fd >= 0;
}

void stdio_close(struct stdio *s)
{
	s->on_drained = NULL;
	terminal_free(s->terminal);
	s->terminal = NULL;
	stdio_launched(s);
	close_fd(&s->in_hold_fd);
	close_fd(&s->out_hold_fd);
	close_fd(&s->err_hold_fd);
}
