/* create and exec: a process comes to be by a run of the runtime. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "shim/console.h"
#include "shim/process_spec.h"
#include "shim/procfs.h"
#include "shim/shim.h"

enum {
	EXECS_PER_CPU = 2, /* runs at once; the others wait for their turn */
	SLOW_MS = 1000,	   /* one that takes longer is waiting itself, and takes no turn */
	MAX_SPEC = 1 << 20,
	MAX_ARGS = 12,
};

struct launch {
	struct list node; /* in shim->exec_queue while it waits */
	struct shim *shim;
	struct rpc_call *call;
	uint32_t serial;
	struct console console; /* listen_fd -1: none */
	char spec[24];		/* the file of the process; "": none */
	struct err err;		/* while what failed is cleaned up behind */
	int r;
	bool counts;	       /* it takes one of the turns */
	struct rpc_timer slow; /* until it does not any more */
};

static struct stdio_paths paths_of(const struct proc *p)
{
	return (struct stdio_paths){p->in, p->out, p->err, p->terminal};
}

/* ---- files ---- */

static void unlink_name(const struct shim *s, uint32_t serial, const char *suffix)
{
	char name[24];

	shim_name(serial, suffix, name, sizeof(name));
	(void)unlinkat(s->dir_fd, name, 0);
}

static int write_spec(struct launch *l, const SHIM(ExecRequest) * q, struct err *err)
{
	cleanup_buf struct buf b;
	cleanup_fd int fd = -1;
	int r;

	buf_init(&b, MAX_SPEC);
	r = process_spec_write(q, &b, err);
	if (r < 0)
		return r;
	shim_name(l->serial, "process", l->spec, sizeof(l->spec));
	fd = openat(l->shim->dir_fd, l->spec, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	r = fd < 0 ? -errno : fd_write_full(fd, b.data, b.len);
	return r < 0 ? err_errno(err, -r, "write %s", l->spec) : 0;
}

int launch_read_pid(const struct shim *s, uint32_t serial, pid_t *ret)
{
	cleanup_buf struct buf b;
	char name[24], *end;
	long v;
	int r;

	shim_name(serial, "pid", name, sizeof(name));
	buf_init(&b, 32);
	r = fd_read_file(s->dir_fd, name, &b);
	if (r < 0)
		return r;
	v = strtol(b.data, &end, 10);
	if (v <= 1 || v > INT_MAX || (*end != '\0' && *end != '\n'))
		return -EBADMSG;
	*ret = (pid_t)v;
	return 0;
}

/* ---- the end of a launch ---- */

static void launch_free(struct launch *l)
{
	struct shim *s = l->shim;

	list_del(&l->node);
	console_close(&l->console);
	if (l->spec[0] != '\0')
		(void)unlinkat(s->dir_fd, l->spec, 0);
	if (l->serial != 0)
		unlink_name(s, l->serial, "pid");
	free(l);
}

/*
 * The next one begins at the end of this round of the loop, one in a round: until the new process
 * has come to its program we stand still (posix_spawn(3)), and others want to be answered.
 */
static void call_next(struct shim *s)
{
	if (!list_empty(&s->exec_queue) && s->n_execs < s->max_execs)
		(void)loop_set_timer(&s->loop, &s->next_exec, 0);
}

/* Its turn is over. */
static void release_turn(struct launch *l)
{
	if (l->counts)
		l->shim->n_execs--;
	l->counts = false;
	loop_clear_timer(&l->shim->loop, &l->slow);
	call_next(l->shim);
}

static void on_slow(struct rpc_timer *t)
{
	release_turn(list_entry(t, struct launch, slow));
}

static void leave(struct launch *l)
{
	struct shim *s = l->shim;

	release_turn(l);
	launch_free(l);
	if (task_n_launching(&s->task) == 0)
		reaper_forget_parked(s);
	shim_settle(s);
}

static void fail(struct launch *l, int r, const struct err *err)
{
	struct record record = {.kind = RECORD_FAILED, .serial = l->serial};

	if (l->serial == 0)
		unlink_name(l->shim, 0, "pid");
	(void)shim_record(l->shim, &record);
	rpc_fail_err(l->call, r, err);
	leave(l);
}

static void on_cleaned(int r, const struct err *err, const char *output, void *data)
{
	struct launch *l = data;

	(void)output;
	if (r < 0)
		log_warn("shim", "cleaning up behind a failed create: %s", err->msg);
	fail(l, l->r, &l->err);
}

/* The runtime may have made a container all the same. */
static void clean_up(struct launch *l, int r, const struct err *err)
{
	const struct task *t = &l->shim->task;
	const char *args[] = {"delete", "--force", t->id, NULL};
	const struct runtime_request q = {
		.program = t->runtime, .args = args, .done = on_cleaned, .data = l};

	l->r = r;
	l->err = *err;
	if (runtime_start(&l->shim->runtime, &q, NULL) < 0)
		fail(l, r, err);
}

static void reply(struct launch *l, pid_t pid)
{
	SHIM(CreateResponse) created = CONTAINERD__SHIM__V1__CREATE_RESPONSE__INIT;
	SHIM(ExecResponse) executed = CONTAINERD__SHIM__V1__EXEC_RESPONSE__INIT;

	created.pid = executed.pid = (uint32_t)pid;
	rpc_reply(l->call, l->serial == 0 ? &created.base : &executed.base);
}

/* The runtime has made it: who is it, and where is its terminal? */
static int meet(struct launch *l, struct proc *p, struct record *record, struct err *err)
{
	const struct stdio_paths paths = paths_of(p);
	struct hold *h = p->owner;
	struct procfs_stat st;
	int master_fd = -1, r;

	r = launch_read_pid(l->shim, l->serial, &record->pid);
	if (r < 0)
		return err_errno(err, -r, "read the pid that the runtime wrote");
	if (procfs_stat(record->pid, &st) == 0)
		record->starttime = st.starttime;
	if (l->serial == 0)
		record->shares_pids = !procfs_has_own_pids(record->pid);
	stdio_launched(&h->stdio);
	if (p->terminal)
		r = console_take(&l->console, &master_fd, err);
	if (r == 0 && p->terminal)
		r = stdio_use_terminal(&h->stdio, master_fd, &paths, err);
	if (r == 0)
		shim_keep(h);
	return r;
}

/* A child that nobody would know of; what is no child of ours is left alone. */
static void kill_unknown(pid_t pid)
{
	struct procfs_stat st;

	if (pid > 0 && procfs_stat(pid, &st) == 0 && st.ppid == getpid())
		(void)kill(pid, SIGKILL);
}

static void on_launched(int r, const struct err *why, const char *output, void *data)
{
	struct launch *l = data;
	struct shim *s = l->shim;
	struct record record = {.kind = RECORD_LAUNCHED, .serial = l->serial};
	struct proc *p = task_find_serial(&s->task, l->serial);
	struct err err = *why;

	(void)output;
	if (p == NULL) { /* it took so long that the container was deleted without it */
		rpc_fail(l->call, RPC_ABORTED, "the container was deleted meanwhile");
		leave(l);
		return;
	}
	if (r == 0) {
		r = meet(l, p, &record, &err);
		if (r == 0)
			r = shim_record(s, &record);
		if (r < 0)
			kill_unknown(record.pid);
		if (r < 0 && l->serial == 0) {
			clean_up(l, r, &err);
			return;
		}
	} else if (r == -ETIMEDOUT && l->serial == 0) {
		clean_up(l, r, &err);
		return;
	} else if (l->serial != 0 && launch_read_pid(s, l->serial, &record.pid) == 0) {
		kill_unknown(record.pid); /* somebody has killed the runtime */
	}
	if (r < 0) {
		fail(l, r, &err);
		return;
	}
	reaper_watch(s, p);
	if (l->serial == 0)
		shim_watch_oom(s, p->pid);
	reply(l, p->pid);
	leave(l);
}

/* ---- the beginning ---- */

/* Arguments for the runtime, and what of them has to be put together. */
struct command {
	const char *args[MAX_ARGS];
	size_t n;
	char pid_path[PATH_MAX], spec_path[PATH_MAX];
};

static int add_console(struct launch *l, struct command *c, struct err *err)
{
	int r = console_listen(&l->console, l->shim->dir_fd, l->serial, err);

	c->args[c->n++] = "--console-socket";
	c->args[c->n++] = l->console.path;
	return r;
}

/* With what create and exec have in common. */
static int run(struct launch *l, const struct proc *p, struct command *c, struct err *err)
{
	struct shim *s = l->shim;
	const struct hold *h = p->owner;
	const struct runtime_request q = {.program = s->task.runtime,
					  .args = c->args,
					  .stdio_fds = p->terminal ? NULL : h->stdio.child_fds,
					  .done = on_launched,
					  .data = l};
	char name[24];
	int r;

	shim_name(l->serial, "pid", name, sizeof(name));
	(void)unlinkat(s->dir_fd, name, 0);
	r = shim_path(s, name, c->pid_path, sizeof(c->pid_path));
	if (r < 0)
		return err_errno(err, -r, "name the pid file");
	c->args[c->n++] = "--pid-file";
	c->args[c->n++] = c->pid_path;
	r = p->terminal ? add_console(l, c, err) : 0;
	c->args[c->n++] = s->task.id;
	c->args[c->n] = NULL;
	return r < 0 ? r : runtime_start(&s->runtime, &q, err);
}

static int run_create(struct launch *l, const struct proc *p, struct err *err)
{
	const struct task *t = &l->shim->task;
	struct command c = {.args = {"create", "--bundle", t->bundle, "--no-pivot"},
			    .n = t->no_pivot ? 4 : 3};

	return run(l, p, &c, err);
}

static int run_exec(struct launch *l, const struct proc *p, struct err *err)
{
	struct command c = {.args = {"exec", "--detach", "--process", c.spec_path}, .n = 4};
	int r = shim_path(l->shim, l->spec, c.spec_path, sizeof(c.spec_path));

	return r < 0 ? err_errno(err, -r, "name the file of the process") : run(l, p, &c, err);
}

static struct launch *launch_new(struct shim *s, struct rpc_call *call)
{
	struct launch *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->shim = s;
	l->call = call;
	l->console.listen_fd = -1;
	l->slow.fired = on_slow;
	list_init(&l->node);
	return l;
}

/*
 * The record is written, then the process is there to hold what is open for it. NULL: err says
 * why, and nothing is open any more.
 */
static struct proc *enter(struct launch *l, struct record *record, struct stdio *stdio,
			  struct err *err)
{
	struct record failed = {.kind = RECORD_FAILED, .serial = l->serial};
	struct shim *s = l->shim;
	struct proc *p = NULL;
	struct hold *h = NULL;
	int r = shim_record(s, record);

	if (r == 0)
		p = task_find_serial(&s->task, l->serial);
	if (p != NULL)
		h = shim_hold(s, p);
	if (h == NULL) {
		stdio_close(stdio);
		if (p != NULL)
			(void)shim_record(s, &failed);
		(void)err_errno(err, r < 0 ? -r : ENOMEM, "record the launch");
		return NULL;
	}
	h->stdio = *stdio; /* nothing of it is watched yet */
	h->stdio.on_drained = shim_on_drained;
	h->stdio.data = h;
	return p;
}

/* ---- create ---- */

/* As runc checks it, and no option. */
static bool is_id(const char *id)
{
	static const char legal[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.";

	return id[0] != '\0' && id[0] != '-' && strcmp(id, ".") != 0 && strcmp(id, "..") != 0 &&
	       strlen(id) <= 1024 && id[strspn(id, legal)] == '\0';
}

static int check_create(const struct shim *s, const SHIM(CreateRequest) * q, struct err *err)
{
	char path[PATH_MAX];
	struct stat st;
	int r = task_may_create(&s->task, err);

	if (r < 0)
		return r;
	if (!is_id(q->id))
		return err_set(err, EINVAL, "\"%s\" is no id of a container", q->id);
	if (q->bundle[0] == '\0' || q->runtime[0] == '-')
		return err_set(err, EINVAL, "a container needs a bundle and a runtime");
	if (strlen(q->runtime) >= PATH_MAX)
		return err_set(err, EINVAL, "the path of the runtime is too long");
	if ((size_t)snprintf(path, sizeof(path), "%s/config.json", q->bundle) >= sizeof(path))
		return err_set(err, EINVAL, "the path of the bundle is too long");
	if (fstatat(s->dir_fd, path, &st, 0) < 0)
		return err_errno(err, errno, "bundle %s", path);
	return 0;
}

static int begin_create(struct launch *l, const SHIM(CreateRequest) * q, struct err *err)
{
	char runtime[PATH_MAX];
	struct record record = {.kind = RECORD_CREATE,
				.id = q->id,
				.bundle = q->bundle,
				.runtime = runtime,
				.no_pivot = q->no_pivot,
				.terminal = q->terminal,
				.in = q->stdin,
				.out = q->stdout,
				.err = q->stderr};
	const struct stdio_paths paths = {q->stdin, q->stdout, q->stderr, q->terminal};
	struct stdio stdio;
	struct proc *p;
	int r = stdio_open(&stdio, &l->shim->loop, &paths, err);

	if (r < 0)
		return r;
	runtime_find(q->runtime[0] != '\0' ? q->runtime : "runc", runtime, sizeof(runtime));
	p = enter(l, &record, &stdio, err);
	if (p == NULL)
		return -err->code;
	r = run_create(l, p, err);
	if (r < 0) {
		record = (struct record){.kind = RECORD_FAILED};
		(void)shim_record(l->shim, &record);
	}
	return r;
}

void launch_create(struct shim *s, struct rpc_call *call, const SHIM(CreateRequest) * q)
{
	struct err err = {0};
	struct launch *l = NULL;
	int r = check_create(s, q, &err);

	if (r == 0) {
		l = launch_new(s, call);
		r = l != NULL ? begin_create(l, q, &err) : -ENOMEM;
	}
	if (r == 0)
		return;
	rpc_fail_err(call, r, &err);
	if (l != NULL)
		launch_free(l);
}

/* ---- exec ---- */

static int begin_exec(struct launch *l, struct err *err)
{
	const SHIM(ExecRequest) *q = (const void *)rpc_call_request(l->call);
	const struct stdio_paths paths = {q->stdin, q->stdout, q->stderr, q->terminal};
	struct shim *s = l->shim;
	struct record record = {.kind = RECORD_EXEC,
				.terminal = q->terminal,
				.in = q->stdin,
				.out = q->stdout,
				.err = q->stderr};
	struct stdio stdio;
	struct proc *p;
	int r = task_may_exec(&s->task, err);

	if (r == 0) {
		l->serial = record.serial = s->task.last_serial + 1;
		r = write_spec(l, q, err);
	}
	if (r == 0)
		r = stdio_open(&stdio, &s->loop, &paths, err);
	if (r < 0)
		return r;
	p = enter(l, &record, &stdio, err);
	if (p == NULL)
		return -err->code;
	r = run_exec(l, p, err);
	if (r < 0) {
		record = (struct record){.kind = RECORD_FAILED, .serial = l->serial};
		(void)shim_record(s, &record);
	}
	return r;
}

static void start_one(struct launch *l)
{
	struct err err = {0};
	int r;

	list_del(&l->node);
	if (rpc_call_is_gone(l->call)) /* nobody would hear of it */
		r = err_set(&err, ECANCELED, "the client is gone");
	else
		r = begin_exec(l, &err);
	if (r < 0) {
		rpc_fail_err(l->call, r, &err);
		launch_free(l);
		return;
	}
	/* Without a timer it takes no turn: better too many than none. */
	if (loop_set_timer(&l->shim->loop, &l->slow, SLOW_MS) == 0) {
		l->counts = true;
		l->shim->n_execs++;
	}
}

static void on_next(struct rpc_timer *t)
{
	struct shim *s = list_entry(t, struct shim, next_exec);

	if (!list_empty(&s->exec_queue) && s->n_execs < s->max_execs)
		start_one(list_entry(s->exec_queue.next, struct launch, node));
	call_next(s);
}

void launch_init(struct shim *s)
{
	cpu_set_t cpus;
	int n = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;

	list_init(&s->exec_queue);
	s->max_execs = (size_t)n * EXECS_PER_CPU;
	s->next_exec.fired = on_next;
}

void launch_exec(struct shim *s, struct rpc_call *call, const SHIM(ExecRequest) * q)
{
	cleanup_buf struct buf b;
	struct err err = {0};
	struct launch *l = NULL;
	int r = task_may_exec(&s->task, &err);

	buf_init(&b, MAX_SPEC);
	if (r == 0) /* what makes no sense need not wait for its turn */
		r = process_spec_write(q, &b, &err);
	if (r == 0) {
		l = launch_new(s, call);
		r = l != NULL ? 0 : -ENOMEM;
	}
	if (r < 0 || l == NULL) {
		rpc_fail_err(call, r, &err);
		return;
	}
	list_add_tail(&s->exec_queue, &l->node);
	call_next(s);
}

void launch_end(struct shim *s)
{
	while (!list_empty(&s->exec_queue)) {
		struct launch *l = list_entry(s->exec_queue.next, struct launch, node);

		rpc_fail(l->call, RPC_UNAVAILABLE, "the shim ends");
		launch_free(l);
	}
	loop_clear_timer(&s->loop, &s->next_exec);
}
