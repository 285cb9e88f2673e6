#include "shim/task.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"

/* ---- processes ---- */

static void proc_free(struct proc *p)
{
	free(p->in);
	free(p->out);
	free(p->err);
	free(p);
}

static int copy_string(const char *s, char **ret)
{
	*ret = strdup(s != NULL ? s : "");
	return *ret != NULL ? 0 : -ENOMEM;
}

static int proc_new(const struct record *r, struct proc **ret)
{
	struct proc *p = calloc(1, sizeof(*p));
	int e;

	if (p == NULL)
		return -ENOMEM;
	p->serial = r->serial;
	p->terminal = r->terminal;
	e = copy_string(r->in, &p->in);
	if (e == 0)
		e = copy_string(r->out, &p->out);
	if (e == 0)
		e = copy_string(r->err, &p->err);
	if (e < 0) {
		proc_free(p);
		return e;
	}
	*ret = p;
	return 0;
}

static void forget(struct task *t, struct proc *p, const struct task_ops *ops)
{
	if (p->phase == PROC_STOPPED && p->serial != 0)
		t->n_ended--;
	list_del(&p->node);
	if (ops->forget != NULL)
		ops->forget(p, ops->ctx);
	proc_free(p);
}

struct proc *task_find_pid(const struct task *t, pid_t pid)
{
	list_for_each (n, &t->procs) {
		struct proc *p = list_entry(n, struct proc, node);

		if (p->pid == pid && pid != 0)
			return p;
	}
	return NULL;
}

struct proc *task_find_serial(const struct task *t, uint32_t serial)
{
	list_for_each (n, &t->procs) {
		struct proc *p = list_entry(n, struct proc, node);

		if (p->serial == serial)
			return p;
	}
	return NULL;
}

struct proc *task_init_proc(const struct task *t)
{
	return task_find_serial(t, 0);
}

static size_t count(const struct task *t, enum proc_phase phase)
{
	size_t found = 0;

	list_for_each (n, &t->procs)
		if (list_entry(n, struct proc, node)->phase == phase &&
		    list_entry(n, struct proc, node)->serial != 0)
			found++;
	return found;
}

size_t task_n_running_execs(const struct task *t)
{
	return count(t, PROC_RUNNING);
}

size_t task_n_launching(const struct task *t)
{
	return count(t, PROC_LAUNCHING) + (t->phase == TASK_CREATING ? 1 : 0);
}

/* ---- records ---- */

static void emit(const struct record *r, enum task_event_type type, const struct proc *p,
		 const struct task_ops *ops)
{
	const struct task_event e = {
		.at_ns = r->at_ns,
		.type = type,
		.pid = p != NULL ? p->pid : 0,
		.status = r->status,
		.lost = r->lost,
	};

	if (ops->event != NULL)
		ops->event(&e, ops->ctx);
}

static void drop_container(struct task *t, const struct task_ops *ops)
{
	while (!list_empty(&t->procs))
		forget(t, list_entry(t->procs.next, struct proc, node), ops);
	free(t->id);
	free(t->bundle);
	free(t->runtime);
	t->id = t->bundle = t->runtime = NULL;
	t->phase = TASK_NONE;
	t->starting = t->init_in_turn = t->shares_pids = false;
}

static int apply_create(struct task *t, const struct record *r)
{
	cleanup_free char *id = NULL, *bundle = NULL, *runtime = NULL;
	struct proc *p;
	int e;

	if (t->phase != TASK_NONE || r->serial != 0)
		return -EBADMSG;
	e = copy_string(r->id, &id);
	if (e == 0)
		e = copy_string(r->bundle, &bundle);
	if (e == 0)
		e = copy_string(r->runtime, &runtime);
	if (e == 0)
		e = proc_new(r, &p);
	if (e < 0)
		return e;
	t->id = steal_ptr(id);
	t->bundle = steal_ptr(bundle);
	t->runtime = steal_ptr(runtime);
	t->no_pivot = r->no_pivot;
	t->phase = TASK_CREATING;
	list_add_tail(&t->procs, &p->node);
	return 0;
}

static int apply_exec(struct task *t, const struct record *r)
{
	struct proc *p;
	int e;

	if (t->phase < TASK_CREATED || r->serial == 0 || task_find_serial(t, r->serial) != NULL)
		return -EBADMSG;
	e = proc_new(r, &p);
	if (e < 0)
		return e;
	if (r->serial > t->last_serial)
		t->last_serial = r->serial;
	list_add_tail(&t->procs, &p->node);
	return 0;
}

static int apply_launched(struct task *t, const struct record *r, const struct task_ops *ops)
{
	struct proc *p = task_find_serial(t, r->serial), *earlier;

	if (p == NULL || p->phase != PROC_LAUNCHING || r->pid <= 0)
		return -EBADMSG;
	earlier = task_find_pid(t, r->pid);
	if (earlier != NULL) {
		/* The number was given again, so its earlier owner is long gone. */
		if (earlier->phase != PROC_STOPPED || earlier->serial == 0)
			return -EBADMSG;
		forget(t, earlier, ops);
	}
	p->pid = r->pid;
	p->starttime = r->starttime;
	if (p->serial == 0) {
		p->phase = PROC_CREATED;
		t->phase = TASK_CREATED;
		t->shares_pids = r->shares_pids;
		emit(r, TASK_EVENT_CREATED, p, ops);
		return 0;
	}
	p->phase = PROC_RUNNING;
	emit(r, TASK_EXEC_ADDED, p, ops);
	emit(r, TASK_STARTED, p, ops);
	return 0;
}

static int apply_failed(struct task *t, const struct record *r, const struct task_ops *ops)
{
	struct proc *p = task_find_serial(t, r->serial);

	if (p == NULL || p->phase != PROC_LAUNCHING)
		return -EBADMSG;
	if (p->serial == 0)
		drop_container(t, ops);
	else
		forget(t, p, ops);
	return 0;
}

static int apply_started(struct task *t, const struct record *r, const struct task_ops *ops)
{
	struct proc *p = task_init_proc(t);

	if (t->phase != TASK_CREATED || p == NULL)
		return -EBADMSG;
	t->phase = TASK_RUNNING;
	p->phase = PROC_RUNNING;
	emit(r, TASK_STARTED, p, ops);
	return 0;
}

static int apply_freezer(struct task *t, const struct record *r, const struct task_ops *ops)
{
	bool pause = r->kind == RECORD_PAUSED;

	if (t->phase != (pause ? TASK_RUNNING : TASK_PAUSED))
		return -EBADMSG;
	t->phase = pause ? TASK_PAUSED : TASK_RUNNING;
	emit(r, pause ? TASK_EVENT_PAUSED : TASK_RESUMED, task_init_proc(t), ops);
	return 0;
}

static void forget_oldest(struct task *t, const struct task_ops *ops)
{
	list_for_each (n, &t->procs) {
		struct proc *p = list_entry(n, struct proc, node);

		if (p->serial != 0 && p->phase == PROC_STOPPED) {
			forget(t, p, ops);
			return;
		}
	}
}

static int apply_ended(struct task *t, const struct record *r)
{
	struct proc *p = task_find_pid(t, r->pid);

	if (p == NULL || p->phase == PROC_STOPPED)
		return -EBADMSG;
	task_exited(t, p, r->status, /* lost= */ false, r->at_ns);
	return 0;
}

static int apply_exit(struct task *t, const struct record *r, const struct task_ops *ops)
{
	struct proc *p = task_find_serial(t, r->serial);

	if (p == NULL || (p->phase != PROC_CREATED && p->phase != PROC_RUNNING))
		return -EBADMSG;
	p->exited = true;
	p->status = r->status;
	p->lost = r->lost;
	p->at_ns = r->at_ns;
	p->phase = PROC_STOPPED;
	if (p->serial == 0)
		t->phase = TASK_STOPPED;
	else
		t->n_ended++;
	emit(r, TASK_EXIT, p, ops);
	if (t->n_ended > TASK_MAX_ENDED)
		forget_oldest(t, ops);
	return 0;
}

static int apply_deleted(struct task *t, const struct record *r, const struct task_ops *ops)
{
	struct proc *p = task_find_serial(t, r->serial);

	if (p == NULL)
		return -EBADMSG;
	if (p->serial == 0)
		drop_container(t, ops);
	else if (p->phase == PROC_STOPPED)
		forget(t, p, ops);
	else
		return -EBADMSG;
	return 0;
}

int task_apply(struct task *t, const struct record *r, const struct task_ops *ops)
{
	switch (r->kind) {
	case RECORD_CREATE:
		return apply_create(t, r);
	case RECORD_EXEC:
		return apply_exec(t, r);
	case RECORD_LAUNCHED:
		return apply_launched(t, r, ops);
	case RECORD_FAILED:
		return apply_failed(t, r, ops);
	case RECORD_STARTED:
		return apply_started(t, r, ops);
	case RECORD_PAUSED:
	case RECORD_RESUMED:
		return apply_freezer(t, r, ops);
	case RECORD_OOM:
		if (t->phase < TASK_CREATED)
			return -EBADMSG;
		emit(r, TASK_OOM, task_init_proc(t), ops);
		return 0;
	case RECORD_ENDED:
		return apply_ended(t, r);
	case RECORD_EXIT:
		return apply_exit(t, r, ops);
	case RECORD_DELETED:
		return apply_deleted(t, r, ops);
	default:
		return -EBADMSG; /* of the journal, not of the container */
	}
}

void task_init(struct task *t)
{
	*t = (struct task){.phase = TASK_NONE};
	list_init(&t->procs);
}

void task_done(struct task *t, const struct task_ops *ops)
{
	drop_container(t, ops);
}

/* ---- exits ---- */

void task_exited(struct task *t, struct proc *p, uint32_t status, bool lost, int64_t at_ns)
{
	(void)t;
	if (p->exited)
		return;
	p->exited = true;
	p->status = status;
	p->lost = lost;
	p->at_ns = at_ns;
}

static bool is_in_turn(const struct task *t, const struct proc *p)
{
	if (!p->exited || (p->phase != PROC_CREATED && p->phase != PROC_RUNNING))
		return false;
	if (p->serial != 0)
		return true;
	return !t->starting && (t->init_in_turn || task_n_running_execs(t) == 0);
}

bool task_next_exit(const struct task *t, struct record *ret)
{
	list_for_each (n, &t->procs) {
		const struct proc *p = list_entry(n, struct proc, node);

		if (!is_in_turn(t, p))
			continue;
		*ret = (struct record){.kind = RECORD_EXIT,
				       .at_ns = p->at_ns,
				       .serial = p->serial,
				       .status = p->status,
				       .lost = p->lost};
		return true;
	}
	return false;
}

uint32_t task_exit_status(int wait_status)
{
	if (WIFSIGNALED(wait_status))
		return 128U + (uint32_t)WTERMSIG(wait_status);
	return (uint32_t)WEXITSTATUS(wait_status);
}

/* ---- what may be done ---- */

static const char *const phase_names[] = {
	[TASK_NONE] = "not there",  [TASK_CREATING] = "being created", [TASK_CREATED] = "created",
	[TASK_RUNNING] = "running", [TASK_PAUSED] = "paused",	       [TASK_STOPPED] = "stopped",
};

int task_must_exist(const struct task *t, struct err *err)
{
	if (t->phase == TASK_NONE)
		return err_set(err, ENOENT, "container hasn't been created yet");
	if (t->phase == TASK_CREATING)
		return err_set(err, EBUSY, "the container is being created");
	return 0;
}

static int must_be(const struct task *t, enum task_phase a, enum task_phase b, struct err *err)
{
	int r = task_must_exist(t, err);

	if (r < 0)
		return r;
	if (t->phase != a && t->phase != b)
		return err_set(err, EBUSY, "the container is %s", phase_names[t->phase]);
	return 0;
}

int task_may_create(const struct task *t, struct err *err)
{
	if (t->phase != TASK_NONE)
		return err_set(err, EEXIST, "there is a container, %s", t->id);
	return 0;
}

int task_may_start(const struct task *t, struct err *err)
{
	return must_be(t, TASK_CREATED, TASK_CREATED, err);
}

int task_may_exec(const struct task *t, struct err *err)
{
	return must_be(t, TASK_CREATED, TASK_RUNNING, err);
}

int task_may_pause(const struct task *t, struct err *err)
{
	return must_be(t, TASK_RUNNING, TASK_RUNNING, err);
}

int task_may_resume(const struct task *t, struct err *err)
{
	return must_be(t, TASK_PAUSED, TASK_PAUSED, err);
}

int task_must_live(const struct task *t, struct err *err)
{
	int r = task_must_exist(t, err);

	if (r < 0)
		return r;
	if (t->phase == TASK_STOPPED)
		return err_set(err, EBUSY, "the container is stopped");
	return 0;
}
