/*
 * What changes the container as a whole: start, pause, resume, update, delete. One at a time, in
 * the order of their coming, so that each sees what the one before it has made.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "shim/process_spec.h"
#include "shim/shim.h"

enum {
	KILL_MS = 10000, /* from the kill of what runs to its end */
	DRAIN_MS = 1000, /* for what was written to a terminal to reach its reader */
	MAX_RESOURCES = 64 << 10,
};

enum change_kind { CHANGE_START, CHANGE_PAUSE, CHANGE_RESUME, CHANGE_UPDATE, CHANGE_DELETE };

enum delete_step { DELETE_THAW, DELETE_KILL, DELETE_WAIT, DELETE_DRAIN, DELETE_REMOVE };

struct change {
	struct list node; /* in shim->changes */
	struct shim *shim;
	struct rpc_call *call;
	enum change_kind kind;
	bool begun;
	enum delete_step step;
	bool waiting;		/* a deletion for the end of processes, or of their output */
	struct rpc_timer timer; /* the longest that it waits */
	struct buf resources;
};

/* The deletion of an exec that waits for its output. */
struct exec_delete {
	struct list node; /* in shim->exec_deletes */
	struct shim *shim;
	struct rpc_call *call;
	uint32_t serial;
	struct rpc_timer timer;
};

static const char resources_file[] = "resources";

static void begin_next(struct shim *s);

static void change_free(struct change *c)
{
	loop_clear_timer(&c->shim->loop, &c->timer);
	list_del(&c->node);
	buf_done(&c->resources);
	free(c);
}

/* Answered: it is the next one's turn. */
static void leave(struct change *c)
{
	struct shim *s = c->shim;

	change_free(c);
	shim_settle(s);
	begin_next(s);
}

static void reply_empty(struct rpc_call *call)
{
	SHIM(Empty) m = CONTAINERD__SHIM__V1__EMPTY__INIT;

	rpc_reply(call, &m.base);
}

static void fail(struct change *c, int r, const struct err *err)
{
	rpc_fail_err(c->call, r, err);
	leave(c);
}

static int run(struct shim *s, const char *const *args,
	       void (*done)(int r, const struct err *err, const char *output, void *data),
	       void *data, struct err *err)
{
	const struct runtime_request q = {
		.program = s->task.runtime, .args = args, .done = done, .data = data};

	return runtime_start(&s->runtime, &q, err);
}

/* ---- start, pause, resume, update ---- */

static void on_changed(int r, const struct err *why, const char *output, void *data)
{
	struct change *c = data;
	struct shim *s = c->shim;
	static const enum record_kind records[] = {[CHANGE_START] = RECORD_STARTED,
						   [CHANGE_PAUSE] = RECORD_PAUSED,
						   [CHANGE_RESUME] = RECORD_RESUMED};
	struct record record = {0};
	struct err err = *why;

	(void)output;
	if (c->kind == CHANGE_UPDATE)
		(void)unlinkat(s->dir_fd, resources_file, 0);
	if (r == 0 && c->kind != CHANGE_UPDATE) {
		record.kind = records[c->kind];
		r = shim_record(s, &record);
		if (r == -EBADMSG) /* it has ended meanwhile */
			r = err_set(&err, EBUSY, "the container is stopped");
	}
	s->task.starting = false; /* behind the record, and if it failed as well */
	if (r < 0) {
		fail(c, r, &err);
		return;
	}
	reply_empty(c->call);
	leave(c);
}

static int write_resources(struct change *c, struct err *err)
{
	cleanup_fd int fd = openat(c->shim->dir_fd, resources_file,
				   O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : fd_write_full(fd, c->resources.data, c->resources.len);

	return r < 0 ? err_errno(err, -r, "write %s", resources_file) : 0;
}

static int begin_update(struct change *c, struct err *err)
{
	struct shim *s = c->shim;
	char path[PATH_MAX];
	const char *args[] = {"update", "--resources", path, s->task.id, NULL};
	int r = task_must_live(&s->task, err);

	if (r == 0)
		r = write_resources(c, err);
	if (r == 0 && shim_path(s, resources_file, path, sizeof(path)) < 0)
		r = err_set(err, ENAMETOOLONG, "name the file of the resources");
	return r < 0 ? r : run(s, args, on_changed, c, err);
}

static int begin_simple(struct change *c, struct err *err)
{
	struct task *t = &c->shim->task;
	const char *args[] = {NULL, t->id, NULL};
	int r;

	switch (c->kind) {
	case CHANGE_START:
		args[0] = "start";
		r = task_may_start(t, err);
		if (r == 0 && task_init_proc(t)->exited)
			r = err_set(err, EBUSY, "the container is stopped");
		break;
	case CHANGE_PAUSE:
		args[0] = "pause";
		r = task_may_pause(t, err);
		break;
	default:
		args[0] = "resume";
		r = task_may_resume(t, err);
	}
	if (r == 0)
		r = run(c->shim, args, on_changed, c, err);
	if (r == 0 && c->kind == CHANGE_START)
		t->starting = true;
	return r;
}

/* ---- signals by ourselves ---- */

/* Until a child of ours is reaped, which we would know, the pid is its own. */
static int send_signal(const struct proc *p, int sig)
{
	const struct hold *h = p->owner;
	int r;

	if (h != NULL && h->pid_io.fd >= 0)
		r = (int)syscall(SYS_pidfd_send_signal, h->pid_io.fd, sig, NULL, 0);
	else
		r = kill(p->pid, sig);
	return r < 0 ? -errno : 0;
}

/* ---- delete ---- */

static void delete_go_on(struct change *c);

static void on_timer(struct rpc_timer *timer)
{
	struct change *c = list_entry(timer, struct change, timer);

	if (!c->waiting)
		return;
	log_warn("shim", "delete: %s",
		 c->step == DELETE_WAIT ? "processes do not end" : "output stays unread");
	c->waiting = false;
	c->step++;
	delete_go_on(c);
}

static bool is_over(const struct task *t)
{
	return t->phase == TASK_STOPPED && task_n_running_execs(t) == 0 && task_n_launching(t) == 0;
}

static bool is_drained(const struct task *t)
{
	list_for_each (n, &t->procs) {
		const struct hold *h = list_entry(n, struct proc, node)->owner;

		if (h != NULL && !stdio_is_drained(&h->stdio))
			return false;
	}
	return true;
}

/* Whether the step is done; else it is waited for, for so long. */
static bool has_come(struct change *c, bool true_now, uint64_t in_ms)
{
	if (true_now || loop_set_timer(&c->shim->loop, &c->timer, in_ms) < 0) {
		loop_clear_timer(&c->shim->loop, &c->timer);
		c->waiting = false;
		return true;
	}
	c->waiting = true;
	return false;
}

static void on_removed(int r, const struct err *err, const char *output, void *data)
{
	SHIM(DeleteResponse) m = CONTAINERD__SHIM__V1__DELETE_RESPONSE__INIT;
	struct change *c = data;
	struct shim *s = c->shim;
	const struct proc *init = task_init_proc(&s->task);
	struct record record = {.kind = RECORD_DELETED};

	(void)output;
	if (r < 0) {
		fail(c, r, err);
		return;
	}
	m.exit_status = init->status;
	oom_done(&s->oom, &s->loop);
	(void)unlinkat(s->dir_fd, "init.pid", 0);
	(void)shim_record(s, &record);
	follow_check_waits(s);
	rpc_reply(c->call, &m.base);
	leave(c);
}

/* Thawing and killing are tried; what counts is that the processes end. */
static void on_tried(int r, const struct err *err, const char *output, void *data)
{
	struct change *c = data;
	struct proc *init = task_init_proc(&c->shim->task);

	(void)output;
	if (r < 0)
		log_debug("shim", "delete: %s", err->msg);
	if (r < 0 && c->step == DELETE_KILL && init != NULL && !init->exited)
		(void)send_signal(init, SIGKILL);
	c->step++;
	delete_go_on(c);
}

static int delete_step(struct change *c, struct err *err)
{
	struct task *t = &c->shim->task;
	const char *thaw[] = {"resume", t->id, NULL};
	const char *kill_all[] = {"kill", "--all", t->id, "KILL", NULL};
	const char *remove[] = {"delete", "--force", t->id, NULL};
	const struct proc *init = task_init_proc(t);

	switch (c->step) {
	case DELETE_THAW:
		if (t->phase == TASK_PAUSED)
			return run(c->shim, thaw, on_tried, c, err);
		c->step++;
		return 1;
	case DELETE_KILL:
		if (!init->exited || task_n_running_execs(t) > 0)
			return run(c->shim, kill_all, on_tried, c, err);
		c->step++;
		return 1;
	case DELETE_WAIT:
		if (!has_come(c, is_over(t), KILL_MS))
			return 0;
		c->step++;
		return 1;
	case DELETE_DRAIN:
		if (!has_come(c, is_drained(t), DRAIN_MS))
			return 0;
		c->step++;
		return 1;
	default:
		if (t->phase != TASK_STOPPED)
			return err_set(err, ETIMEDOUT, "the container does not end");
		return run(c->shim, remove, on_removed, c, err);
	}
}

static void delete_go_on(struct change *c)
{
	struct err err = {0};
	int r;

	do
		r = delete_step(c, &err);
	while (r > 0);
	if (r < 0)
		fail(c, r, &err);
}

static int begin_delete(struct change *c, struct err *err)
{
	int r = task_must_exist(&c->shim->task, err);

	if (r < 0)
		return r;
	delete_go_on(c);
	return 0;
}

/* ---- one at a time ---- */

static void begin_next(struct shim *s)
{
	struct change *c;
	struct err err = {0};
	int r;

	if (list_empty(&s->changes))
		return;
	c = list_entry(s->changes.next, struct change, node);
	if (c->begun)
		return;
	c->begun = true;
	if (c->kind == CHANGE_DELETE)
		r = begin_delete(c, &err);
	else if (c->kind == CHANGE_UPDATE)
		r = begin_update(c, &err);
	else
		r = begin_simple(c, &err);
	if (r < 0)
		fail(c, r, &err);
}

static struct change *change_new(struct shim *s, struct rpc_call *call, enum change_kind kind)
{
	struct change *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		rpc_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
		return NULL;
	}
	c->shim = s;
	c->call = call;
	c->kind = kind;
	c->timer.fired = on_timer;
	buf_init(&c->resources, MAX_RESOURCES);
	list_add_tail(&s->changes, &c->node);
	return c;
}

static void submit(struct shim *s, struct rpc_call *call, enum change_kind kind)
{
	if (change_new(s, call, kind) != NULL)
		begin_next(s);
}

void change_start(struct shim *s, struct rpc_call *call)
{
	submit(s, call, CHANGE_START);
}

void change_pause(struct shim *s, struct rpc_call *call)
{
	submit(s, call, CHANGE_PAUSE);
}

void change_resume(struct shim *s, struct rpc_call *call)
{
	submit(s, call, CHANGE_RESUME);
}

void change_update(struct shim *s, struct rpc_call *call, const SHIM(UpdateRequest) * q)
{
	struct change *c = change_new(s, call, CHANGE_UPDATE);
	struct err err = {0};
	int r;

	if (c == NULL)
		return;
	r = task_must_exist(&s->task, &err);
	if (r == 0)
		r = resources_write(q, &c->resources, &err);
	if (r < 0) {
		rpc_fail_err(call, r, &err);
		change_free(c);
		return;
	}
	begin_next(s);
}

/* ---- the deletion of an exec ---- */

static void exec_delete_finish(struct exec_delete *d)
{
	SHIM(DeleteResponse) m = CONTAINERD__SHIM__V1__DELETE_RESPONSE__INIT;
	struct record record = {.kind = RECORD_DELETED, .serial = d->serial};
	const struct proc *p = task_find_serial(&d->shim->task, d->serial);

	if (p != NULL) {
		m.exit_status = p->status;
		(void)shim_record(d->shim, &record);
		rpc_reply(d->call, &m.base);
	} else { /* forgotten, or gone with the container */
		rpc_fail(d->call, RPC_NOT_FOUND, "the process was deleted meanwhile");
	}
	loop_clear_timer(&d->shim->loop, &d->timer);
	list_del(&d->node);
	free(d);
}

static bool exec_is_drained(const struct exec_delete *d)
{
	const struct proc *p = task_find_serial(&d->shim->task, d->serial);
	const struct hold *h = p != NULL ? p->owner : NULL;

	return h == NULL || stdio_is_drained(&h->stdio);
}

static void on_drain_timer(struct rpc_timer *t)
{
	exec_delete_finish(list_entry(t, struct exec_delete, timer));
}

static void exec_delete_begin(struct shim *s, struct rpc_call *call, const struct proc *p)
{
	struct exec_delete *d;

	if (p->phase != PROC_STOPPED) {
		rpc_fail(call, RPC_FAILED_PRECONDITION, "process %d is running", p->pid);
		return;
	}
	d = calloc(1, sizeof(*d));
	if (d == NULL) {
		rpc_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	d->shim = s;
	d->call = call;
	d->serial = p->serial;
	d->timer.fired = on_drain_timer;
	list_add_tail(&s->exec_deletes, &d->node);
	if (exec_is_drained(d) || loop_set_timer(&s->loop, &d->timer, DRAIN_MS) < 0)
		exec_delete_finish(d);
}

void change_delete(struct shim *s, struct rpc_call *call, struct proc *p)
{
	if (p->serial != 0)
		exec_delete_begin(s, call, p);
	else
		submit(s, call, CHANGE_DELETE);
}

void change_go_on(struct shim *s)
{
	struct change *c;

	list_for_each_safe (n, &s->exec_deletes) {
		struct exec_delete *d = list_entry(n, struct exec_delete, node);

		if (exec_is_drained(d))
			exec_delete_finish(d);
	}
	if (list_empty(&s->changes))
		return;
	c = list_entry(s->changes.next, struct change, node);
	if (c->waiting)
		delete_go_on(c);
}

void change_end(struct shim *s)
{
	list_for_each_safe (n, &s->changes) {
		struct change *c = list_entry(n, struct change, node);

		if (c->begun)
			continue;
		rpc_fail(c->call, RPC_UNAVAILABLE, "the shim ends");
		change_free(c);
	}
}

/* ---- signals ---- */

static void on_killed(int r, const struct err *err, const char *output, void *data)
{
	struct rpc_call *call = data;

	(void)output;
	if (r < 0)
		rpc_fail_err(call, r, err);
	else
		reply_empty(call);
}

static int kill_by_runtime(struct shim *s, struct rpc_call *call, const SHIM(KillRequest) * q,
			   struct err *err)
{
	char number[12];
	const char *args[] = {"kill", "--all", s->task.id, number, NULL};

	(void)snprintf(number, sizeof(number), "%" PRIu32, q->signal);
	if (!q->all) {
		args[1] = s->task.id;
		args[2] = number;
		args[3] = NULL;
	}
	return run(s, args, on_killed, call, err);
}

static int kill_exec(const struct proc *p, int sig, struct err *err)
{
	int r = p->exited ? -ESRCH : send_signal(p, sig);

	if (r == -ESRCH)
		return err_set(err, EBUSY, "process %d has ended", p->pid);
	return r < 0 ? err_errno(err, -r, "kill process %d", p->pid) : 0;
}

void change_kill(struct shim *s, struct rpc_call *call, const SHIM(KillRequest) * q)
{
	const struct proc *p =
		q->pid == 0 ? task_init_proc(&s->task) : task_find_pid(&s->task, (pid_t)q->pid);
	struct err err = {0};
	int r = task_must_live(&s->task, &err);

	if (r == 0 && (q->signal == 0 || q->signal > (uint32_t)SIGRTMAX))
		r = err_set(&err, EINVAL, "there is no signal %" PRIu32, q->signal);
	if (r == 0 && q->all && q->pid != 0)
		r = err_set(&err, EINVAL, "all processes, or the one with pid %" PRIu32, q->pid);
	if (r == 0 && p == NULL)
		r = err_set(&err, ENOENT, "process does not exist %" PRIu32, q->pid);
	if (r < 0 || p == NULL) {
		rpc_fail_err(call, r, &err);
		return;
	}
	if (p->serial == 0)
		r = kill_by_runtime(s, call, q, &err);
	else
		r = kill_exec(p, (int)q->signal, &err);
	if (r < 0)
		rpc_fail_err(call, r, &err);
	else if (p->serial != 0) /* the runtime's is answered when it is done */
		reply_empty(call);
}

void change_kill_all(struct shim *s)
{
	const char *args[] = {"kill", "--all", s->task.id, "KILL", NULL};
	struct err err = {0};

	if (run(s, args, NULL, NULL, &err) < 0)
		log_warn("shim", "%s", err.msg);
}
