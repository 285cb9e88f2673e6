#include "shim/runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "shim/json.h"
#include "shim/limits.h"
#include "shim/procfs.h"

enum {
	MAX_ARGS = 24,
	MAX_OUTPUT = 256 << 10,
	MAX_WORDS = 4 << 10, /* of stderr, the last of it */
	MAX_LOG = 64 << 10,  /* of the log, the last of it */
	MAX_FAMILY = 256,    /* of a run that is killed */
};

extern char **environ;

/* A pipe that is read while a run lasts. */
struct drain {
	struct rpc_io io; /* fd -1: none */
	struct runtime_run *run;
	struct buf text;
	bool keep_first; /* or, when there is too much, the last */
};

struct runtime_run {
	struct list node;
	struct runtime *rt;
	pid_t pid;
	uint32_t number;
	uint64_t began_ms;
	char what[16];
	char program[64];
	bool timed_out;
	struct drain words, output;
	struct rpc_timer timer;
	void (*done)(int r, const struct err *err, const char *output, void *data);
	void *data;
};

/* ---- pipes ---- */

static void drain_close(struct drain *d)
{
	if (d->io.fd < 0)
		return;
	loop_del(d->run->rt->loop, &d->io);
	(void)close(d->io.fd);
	d->io.fd = -1;
}

static void drain_keep(struct drain *d, const char *p, size_t n)
{
	if (d->keep_first) {
		(void)buf_add(&d->text, p, n); /* too much: not of use to anybody */
		return;
	}
	if (n > d->text.max) {
		p += n - d->text.max;
		n = d->text.max;
	}
	if (d->text.len + n > d->text.max)
		buf_consume(&d->text, d->text.len + n - d->text.max);
	(void)buf_add(&d->text, p, n);
}

/* What is there now. */
static void drain_read(struct drain *d)
{
	char bytes[4096];
	ssize_t n;

	while (d->io.fd >= 0) {
		n = read(d->io.fd, bytes, sizeof(bytes));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			drain_close(d);
			return;
		}
		drain_keep(d, bytes, (size_t)n);
	}
}

static void on_drain(struct rpc_io *io, uint32_t events)
{
	(void)events;
	drain_read(list_entry(io, struct drain, io));
}

/* The other end of the pipe, for the child, in *ret_fd. */
static int drain_open(struct drain *d, int *ret_fd)
{
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	d->io.fd = fds[0];
	d->io.ready = on_drain;
	*ret_fd = fds[1];
	r = fcntl(fds[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;
	if (r == 0)
		r = loop_add(d->run->rt->loop, &d->io, EPOLLIN);
	if (r < 0) {
		(void)close(fds[0]);
		d->io.fd = -1;
	}
	return r;
}

/* ---- the end ---- */

static void log_name(const struct runtime_run *run, char *out, size_t n)
{
	(void)snprintf(out, n, "run-%d-%" PRIu32 ".log", getpid(), run->number);
}

static void run_free(struct runtime_run *run)
{
	loop_clear_timer(run->rt->loop, &run->timer);
	drain_close(&run->words);
	drain_close(&run->output);
	buf_done(&run->words.text);
	buf_done(&run->output.text);
	list_del(&run->node);
	run->rt->n_runs--;
	free(run);
}

static bool reason_of_log(const struct runtime_run *run, char *out, size_t out_n)
{
	cleanup_fd int fd = -1;
	cleanup_free char *text = malloc(MAX_LOG);
	char name[40];
	off_t size;
	ssize_t n;

	log_name(run, name, sizeof(name));
	fd = openat(run->rt->dir_fd, name, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || text == NULL)
		return false;
	size = lseek(fd, 0, SEEK_END);
	n = fd_pread_full(fd, text, MAX_LOG, size > MAX_LOG ? (uint64_t)size - MAX_LOG : 0);
	return n > 0 && json_log_reason(text, (size_t)n, out, out_n) == 0;
}

static bool reason_of_words(const struct runtime_run *run, char *out, size_t out_n)
{
	char *p = run->words.text.data, *nl;
	size_t n = run->words.text.len;

	while (n > 0 && (p[n - 1] == '\n' || p[n - 1] == '\r' || p[n - 1] == ' '))
		n--;
	if (n == 0)
		return false;
	nl = memrchr(p, '\n', n);
	p = nl != NULL ? nl + 1 : p;
	(void)snprintf(out, out_n, "%.*s", (int)(run->words.text.data + n - p), p);
	return true;
}

static int why_it_failed(const struct runtime_run *run, int wait_status, struct err *err)
{
	char reason[sizeof(err->msg)];

	if (run->timed_out)
		return err_set(err, ETIMEDOUT, "%s %s did not end within %" PRIu64 " ms",
			       run->program, run->what, run->rt->timeout_ms);
	if (reason_of_log(run, reason, sizeof(reason)) ||
	    reason_of_words(run, reason, sizeof(reason)))
		return err_set(err, EREMOTEIO, "%s %s: %s", run->program, run->what, reason);
	if (WIFSIGNALED(wait_status))
		return err_set(err, EREMOTEIO, "%s %s: killed by signal %d", run->program,
			       run->what, WTERMSIG(wait_status));
	return err_set(err, EREMOTEIO, "%s %s: exit status %d", run->program, run->what,
		       WEXITSTATUS(wait_status));
}

static struct runtime_run *find_run(const struct runtime *rt, pid_t pid)
{
	list_for_each (n, &rt->runs)
		if (list_entry(n, struct runtime_run, node)->pid == pid)
			return list_entry(n, struct runtime_run, node);
	return NULL;
}

bool runtime_owns(const struct runtime *rt, pid_t pid)
{
	return find_run(rt, pid) != NULL;
}

static void run_ended(struct runtime_run *run, int wait_status)
{
	struct runtime *rt = run->rt;
	struct err err = {0};
	char name[40];
	int r = 0;

	/* Its children may hold the pipes open: what is there now is all. */
	drain_read(&run->words);
	drain_read(&run->output);
	if (wait_status != 0)
		r = why_it_failed(run, wait_status, &err);
	log_name(run, name, sizeof(name));
	(void)unlinkat(rt->dir_fd, name, 0);
	log_debug("runtime", "what=%s run=%" PRIu32 " ms=%" PRIu64 " status=0x%x", run->what,
		  run->number, clock_mono_ms() - run->began_ms, (unsigned int)wait_status);
	run->pid = 0; /* nobody is to be killed for it any more */
	loop_clear_timer(rt->loop, &run->timer);
	if (run->done != NULL)
		run->done(r, &err, run->output.text.data, run->data);
	run_free(run);
}

bool runtime_reaped(struct runtime *rt, pid_t pid, int wait_status)
{
	struct runtime_run *run = find_run(rt, pid);

	if (run == NULL)
		return false;
	run_ended(run, wait_status);
	return true;
}

/*
 * With what it has started, in whatever group or session: a process that was to be in the container
 * would be there and nobody would know of it. It is stopped first, so that it starts no more.
 */
static void kill_run(const struct runtime_run *run)
{
	pid_t family[MAX_FAMILY];
	int n;

	(void)kill(run->pid, SIGSTOP);
	n = procfs_find_descendants(run->pid, family, MAX_FAMILY);
	for (int i = 0; i < n; i++)
		(void)kill(family[i], SIGKILL);
	(void)kill(-run->pid, SIGKILL);
	(void)kill(run->pid, SIGKILL); /* should it have left its group */
}

static void on_timeout(struct rpc_timer *t)
{
	struct runtime_run *run = list_entry(t, struct runtime_run, timer);

	run->timed_out = true;
	kill_run(run);
}

/* ---- the beginning ---- */

struct child_fds {
	int fd[3];  /* -1: /dev/null */
	int own[2]; /* ours to close: the pipes' other ends */
};

static int open_pipes(struct runtime_run *run, const struct runtime_request *q, struct child_fds *c)
{
	int r = 0;

	*c = (struct child_fds){{-1, -1, -1}, {-1, -1}};
	if (q->stdio_fds != NULL) {
		memcpy(c->fd, q->stdio_fds, sizeof(c->fd));
		return 0;
	}
	r = drain_open(&run->words, &c->own[0]);
	if (r == 0 && q->keep_output)
		r = drain_open(&run->output, &c->own[1]);
	c->fd[2] = c->own[0];
	c->fd[1] = c->own[1];
	return r;
}

static void close_pipes(struct child_fds *c)
{
	for (size_t i = 0; i < 2; i++)
		if (c->own[i] >= 0)
			(void)close(c->own[i]);
}

static int set_fds(posix_spawn_file_actions_t *actions, const struct child_fds *c)
{
	int r = 0;

	for (int i = 0; i < 3 && r == 0; i++) {
		if (c->fd[i] < 0)
			r = posix_spawn_file_actions_addopen(actions, i, "/dev/null", O_RDWR, 0);
		else
			r = posix_spawn_file_actions_adddup2(actions, c->fd[i], i);
	}
	return r;
}

static int spawn(struct runtime_run *run, const char *program, char *const *argv,
		 const struct child_fds *c)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r;

	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setflags(
		&attr,
		(short)(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
	(void)posix_spawnattr_setpgroup(&attr, 0);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setsigdefault(&attr, &all);
	(void)posix_spawn_file_actions_init(&actions);
	r = set_fds(&actions, c);
	limits_lower(); /* the container is to have those that we were started with */
	if (r == 0)
		r = posix_spawnp(&run->pid, program, &actions, &attr, argv, environ);
	limits_raise();
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)posix_spawnattr_destroy(&attr);
	return -r;
}

static int run_new(struct runtime *rt, const struct runtime_request *q, struct runtime_run **ret)
{
	struct runtime_run *run = calloc(1, sizeof(*run));
	const char *slash = strrchr(q->program, '/');

	if (run == NULL)
		return -ENOMEM;
	run->rt = rt;
	run->number = ++rt->last_run;
	run->began_ms = clock_mono_ms();
	run->timer.fired = on_timeout;
	run->done = q->done;
	run->data = q->data;
	run->words.io.fd = run->output.io.fd = -1;
	run->words.run = run->output.run = run;
	run->output.keep_first = true;
	buf_init(&run->words.text, MAX_WORDS);
	buf_init(&run->output.text, MAX_OUTPUT);
	(void)snprintf(run->what, sizeof(run->what), "%s", q->args[0]);
	(void)snprintf(run->program, sizeof(run->program), "%s",
		       slash != NULL ? slash + 1 : q->program);
	list_add_tail(&rt->runs, &run->node);
	rt->n_runs++;
	*ret = run;
	return 0;
}

static int start_run(struct runtime_run *run, const struct runtime_request *q)
{
	const char *argv[MAX_ARGS] = {q->program, "--log", NULL, "--log-format", "json"};
	char log_path[PATH_MAX], name[40];
	struct child_fds fds;
	size_t n = 5;
	int r;

	for (const char *const *a = q->args; *a != NULL; a++) {
		if (n == MAX_ARGS - 1)
			return -E2BIG;
		argv[n++] = *a;
	}
	log_name(run, name, sizeof(name));
	if ((size_t)snprintf(log_path, sizeof(log_path), "%s/%s", run->rt->dir, name) >=
	    sizeof(log_path))
		return -ENAMETOOLONG;
	argv[2] = log_path;
	r = loop_set_timer(run->rt->loop, &run->timer, run->rt->timeout_ms);
	if (r == 0)
		r = open_pipes(run, q, &fds);
	else
		return r;
	if (r == 0)
		r = spawn(run, q->program, (char *const *)argv, &fds);
	close_pipes(&fds);
	return r;
}

void runtime_find(const char *name, char *out, size_t n)
{
	const char *path = getenv("PATH"), *end; /* NOLINT(concurrency-mt-unsafe): no threads */
	struct stat st;

	for (; strchr(name, '/') == NULL && path != NULL; path = *end != '\0' ? end + 1 : NULL) {
		end = path + strcspn(path, ":");
		if (*path == '/' &&
		    (size_t)snprintf(out, n, "%.*s/%s", (int)(end - path), path, name) < n &&
		    stat(out, &st) == 0 && S_ISREG(st.st_mode) && access(out, X_OK) == 0)
			return;
	}
	(void)snprintf(out, n, "%s", name);
}

int runtime_start(struct runtime *rt, const struct runtime_request *q, struct err *err)
{
	struct runtime_run *run = NULL;
	int r = run_new(rt, q, &run);

	if (r < 0)
		return err_set(err, ENOMEM, "out of memory");
	r = start_run(run, q);
	if (r < 0) {
		run_free(run);
		return err_errno(err, -r, "start the runtime %s", q->program);
	}
	return 0;
}

void runtime_init(struct runtime *rt, struct loop *loop, const char *dir, int dir_fd,
		  uint64_t timeout_ms)
{
	*rt = (struct runtime){
		.loop = loop, .dir = dir, .dir_fd = dir_fd, .timeout_ms = timeout_ms};
	list_init(&rt->runs);
}

void runtime_kill(struct runtime *rt)
{
	char name[40];

	while (!list_empty(&rt->runs)) {
		struct runtime_run *run = list_entry(rt->runs.next, struct runtime_run, node);

		kill_run(run);
		(void)waitpid(run->pid, NULL, 0);
		log_name(run, name, sizeof(name));
		(void)unlinkat(rt->dir_fd, name, 0);
		run_free(run);
	}
}

void runtime_done(struct runtime *rt)
{
	while (!list_empty(&rt->runs))
		run_free(list_entry(rt->runs.next, struct runtime_run, node));
}
