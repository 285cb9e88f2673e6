/* What is: State, Inspect, ListPids, Stats. Nothing of this waits for anything. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "shim/cgroup.h"
#include "shim/shim.h"

static size_t n_procs(const struct task *t)
{
	size_t count = 0;

	list_for_each (n, &t->procs)
		if (list_entry(n, struct proc, node)->phase != PROC_LAUNCHING)
			count++;
	return count;
}

/* n messages of this size, and pointers to them: one piece of memory, the caller's to free(). */
static void *messages_new(size_t n, size_t size, void *ret_pointers)
{
	void **pointers = calloc(n > 0 ? n : 1, sizeof(*pointers) + size);
	char *first;

	if (pointers == NULL)
		return NULL;
	first = (char *)(pointers + n);
	for (size_t i = 0; i < n; i++)
		pointers[i] = first + i * size;
	memcpy(ret_pointers, &pointers, sizeof(pointers));
	return pointers;
}

static void out_of_memory(struct rpc_call *call)
{
	rpc_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
}

/* ---- State ---- */

void show_state(struct shim *s, struct rpc_call *call)
{
	SHIM(StateResponse) m = CONTAINERD__SHIM__V1__STATE_RESPONSE__INIT;
	size_t count = n_procs(&s->task), i = 0;
	cleanup_free void *memory = messages_new(count, sizeof(SHIM(Process)), &m.processes);

	if (memory == NULL) {
		out_of_memory(call);
		return;
	}
	list_for_each (n, &s->task.procs) {
		const struct proc *p = list_entry(n, struct proc, node);
		SHIM(Process) * q;

		if (p->phase == PROC_LAUNCHING)
			continue;
		q = m.processes[i++];
		containerd__shim__v1__process__init(q);
		q->pid = (uint32_t)p->pid;
		q->state = p->phase == PROC_STOPPED ? CONTAINERD__SHIM__V1__STATE__STOPPED
						    : CONTAINERD__SHIM__V1__STATE__RUNNING;
	}
	m.n_processes = count;
	if (count > 0)
		m.id = s->task.id;
	rpc_reply(call, &m.base);
}

/* ---- Inspect ---- */

struct process_info {
	SHIM(ProcessInfo) m;
	SHIM(WaitResponse) exit;
};

static const SHIM(Phase) phases[] = {
	[TASK_NONE] = CONTAINERD__SHIM__V1__PHASE__PHASE_NONE,
	[TASK_CREATING] = CONTAINERD__SHIM__V1__PHASE__PHASE_NONE,
	[TASK_CREATED] = CONTAINERD__SHIM__V1__PHASE__PHASE_CREATED,
	[TASK_RUNNING] = CONTAINERD__SHIM__V1__PHASE__PHASE_RUNNING,
	[TASK_PAUSED] = CONTAINERD__SHIM__V1__PHASE__PHASE_PAUSED,
	[TASK_STOPPED] = CONTAINERD__SHIM__V1__PHASE__PHASE_STOPPED,
};

static void describe(const struct task *t, const struct proc *p, struct process_info *info)
{
	SHIM(ProcessInfo) *m = &info->m;

	containerd__shim__v1__process_info__init(m);
	m->pid = (uint32_t)p->pid;
	m->init = p->serial == 0;
	m->phase = CONTAINERD__SHIM__V1__PHASE__PHASE_RUNNING;
	if (p->serial == 0)
		m->phase = phases[t->phase];
	else if (p->phase == PROC_STOPPED)
		m->phase = CONTAINERD__SHIM__V1__PHASE__PHASE_STOPPED;
	m->terminal = p->terminal;
	m->stdin = p->in;
	m->stdout = p->out;
	m->stderr = p->err;
	if (p->phase != PROC_STOPPED)
		return;
	containerd__shim__v1__wait_response__init(&info->exit);
	info->exit.exit_status = p->status;
	info->exit.exited_at_ns = p->lost ? 0 : p->at_ns;
	info->exit.lost = p->lost;
	m->exit = &info->exit;
}

void show_inspect(struct shim *s, struct rpc_call *call)
{
	SHIM(InspectResponse) m = CONTAINERD__SHIM__V1__INSPECT_RESPONSE__INIT;
	const struct task *t = &s->task;
	size_t count = n_procs(t), i = 0;
	cleanup_free void *memory = messages_new(count, sizeof(struct process_info), &m.processes);
	char version[] = CONTENTFS_VERSION;

	if (memory == NULL) {
		out_of_memory(call);
		return;
	}
	list_for_each (n, &t->procs) {
		const struct proc *p = list_entry(n, struct proc, node);

		if (p->phase != PROC_LAUNCHING)
			describe(t, p, (struct process_info *)(void *)m.processes[i++]);
	}
	m.n_processes = count;
	m.phase = phases[t->phase];
	m.shim_pid = (uint32_t)getpid();
	m.shim_version = version;
	if (t->phase >= TASK_CREATED) {
		m.id = t->id;
		m.bundle = t->bundle;
		m.runtime = t->runtime;
	}
	rpc_reply(call, &m.base);
}

/* ---- the cgroup ---- */

/* A process by which the container's cgroup is found; NULL: the call has failed. */
static const struct proc *living(const struct shim *s, struct rpc_call *call)
{
	const struct proc *p = task_init_proc(&s->task);
	struct err err = {0};
	int r = task_must_live(&s->task, &err);

	if (r == 0 && p->exited)
		r = err_set(&err, EBUSY, "the container is stopped");
	if (r < 0)
		rpc_fail_err(call, r, &err);
	return r < 0 ? NULL : p;
}

void show_pids(struct shim *s, struct rpc_call *call)
{
	SHIM(ListPidsResponse) m = CONTAINERD__SHIM__V1__LIST_PIDS_RESPONSE__INIT;
	const struct proc *init = living(s, call);
	cleanup_free pid_t *pids = NULL;
	cleanup_free void *memory = NULL;
	ssize_t n;

	if (init == NULL)
		return;
	n = cgroup_list_pids(init->pid, &pids);
	if (n < 0) {
		rpc_fail(call, rpc_status_from_errno((int)n), "list the container's processes: %s",
			 err_describe((int)-n));
		return;
	}
	memory = messages_new((size_t)n, sizeof(SHIM(PidInfo)), &m.pids);
	if (memory == NULL) {
		out_of_memory(call);
		return;
	}
	for (ssize_t i = 0; i < n; i++) {
		containerd__shim__v1__pid_info__init(m.pids[i]);
		m.pids[i]->pid = (uint32_t)pids[i];
		m.pids[i]->known = task_find_pid(&s->task, pids[i]) != NULL;
	}
	m.n_pids = (size_t)n;
	rpc_reply(call, &m.base);
}

void show_stats(struct shim *s, struct rpc_call *call)
{
	const struct proc *init = living(s, call);
	struct cgroup_stats stats;

	if (init == NULL)
		return;
	cgroup_read_stats(init->pid, &stats);
	stats.m.read_at_ns = clock_wall_ns();
	rpc_reply(call, &stats.m.base);
}
