/*
 * The service: each request is looked at, and handed to whoever does it. Answers come from there.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/log.h"
#include "shim/shim.h"

#define HANDLER(name) static void name(struct rpc_call *call, const ProtobufCMessage *m, void *ctx)

static void reply_empty(struct rpc_call *call)
{
	SHIM(Empty) m = CONTAINERD__SHIM__V1__EMPTY__INIT;

	rpc_reply(call, &m.base);
}

/* The process with this pid (0: init where pid_0 says so); NULL: the call has failed. */
static struct proc *find(struct shim *s, struct rpc_call *call, uint32_t pid, bool zero_is_init)
{
	struct proc *p = pid == 0 && zero_is_init ? task_init_proc(&s->task)
						  : task_find_pid(&s->task, (pid_t)pid);
	struct err err = {0};
	int r = p == NULL || p->phase == PROC_LAUNCHING ? task_must_exist(&s->task, &err) : 0;

	if (r < 0)
		rpc_fail_err(call, r, &err);
	else if (p == NULL)
		rpc_fail(call, RPC_NOT_FOUND, "process does not exist %" PRIu32, pid);
	return r < 0 ? NULL : p;
}

HANDLER(create)
{
	launch_create(ctx, call, (const void *)m);
}

HANDLER(start)
{
	(void)m;
	change_start(ctx, call);
}

HANDLER(delete)
{
	const SHIM(DeleteRequest) *q = (const void *)m;
	struct proc *p = find(ctx, call, q->pid, /* zero_is_init= */ false);

	if (p != NULL)
		change_delete(ctx, call, p);
}

HANDLER(exec)
{
	launch_exec(ctx, call, (const void *)m);
}

HANDLER(pty)
{
	const SHIM(PtyRequest) *q = (const void *)m;
	struct proc *p;
	struct hold *h;

	if (q->pid == 0) {
		rpc_fail(call, RPC_INVALID_ARGUMENT, "pid not provided");
		return;
	}
	if (q->width > UINT16_MAX || q->height > UINT16_MAX) {
		rpc_fail(call, RPC_INVALID_ARGUMENT,
			 "no terminal has %" PRIu32 " columns and %" PRIu32 " rows", q->width,
			 q->height);
		return;
	}
	p = find(ctx, call, q->pid, /* zero_is_init= */ false);
	if (p == NULL)
		return;
	h = p->owner;
	if (h == NULL ||
	    (p->phase != PROC_STOPPED &&
	     stdio_set_size(&h->stdio, p->terminal, (uint16_t)q->width, (uint16_t)q->height) < 0))
		rpc_fail(call, RPC_FAILED_PRECONDITION,
			 "the terminal of process %d was lost with an earlier shim", p->pid);
	else
		reply_empty(call);
}

HANDLER(events)
{
	(void)m;
	follow_events(ctx, call, 0);
}

HANDLER(state)
{
	(void)m;
	show_state(ctx, call);
}

HANDLER(kill_process)
{
	change_kill(ctx, call, (const void *)m);
}

HANDLER(pause_container)
{
	(void)m;
	change_pause(ctx, call);
}

HANDLER(resume)
{
	(void)m;
	change_resume(ctx, call);
}

HANDLER(close_io)
{
	const SHIM(CloseIORequest) *q = (const void *)m;
	struct proc *p = find(ctx, call, q->pid, /* zero_is_init= */ true);
	struct hold *h;

	if (p == NULL)
		return;
	h = p->owner;
	if (h != NULL) {
		stdio_close_in(&h->stdio);
		keep_drop(&h->shim->keep, p->serial, 1U << KEEP_IN);
	}
	reply_empty(call);
}

HANDLER(wait_process)
{
	const SHIM(WaitRequest) *q = (const void *)m;
	const struct proc *p = find(ctx, call, q->pid, /* zero_is_init= */ true);

	if (p != NULL)
		follow_wait(ctx, call, p);
}

HANDLER(list_pids)
{
	(void)m;
	show_pids(ctx, call);
}

HANDLER(stats)
{
	(void)m;
	show_stats(ctx, call);
}

HANDLER(update)
{
	change_update(ctx, call, (const void *)m);
}

HANDLER(exit_shim)
{
	struct shim *s = ctx;

	(void)m;
	if (s->task.phase != TASK_NONE) {
		rpc_fail(call, RPC_FAILED_PRECONDITION, "container %s was not deleted", s->task.id);
		return;
	}
	reply_empty(call);
	log_info("shim", "ends, as it was told");
	shim_end(s);
}

HANDLER(inspect)
{
	(void)m;
	show_inspect(ctx, call);
}

HANDLER(watch)
{
	const SHIM(WatchRequest) *q = (const void *)m;

	follow_events(ctx, call, q->after);
}

#define METHOD(name, request, answer, streams, fn)                          \
	{                                                                   \
		"/containerd.shim.v1.Shim/" name, SHIM_DESCRIPTOR(request), \
			SHIM_DESCRIPTOR(answer), streams, fn                \
	}

const struct rpc_method service_methods[] = {
	METHOD("Create", create_request, create_response, false, create),
	METHOD("Start", start_request, empty, false, start),
	METHOD("Delete", delete_request, delete_response, false, delete),
	METHOD("Exec", exec_request, exec_response, false, exec),
	METHOD("Pty", pty_request, empty, false, pty),
	METHOD("Events", events_request, event, true, events),
	METHOD("State", state_request, state_response, false, state),
	METHOD("Kill", kill_request, empty, false, kill_process),
	METHOD("Pause", pause_request, empty, false, pause_container),
	METHOD("Resume", resume_request, empty, false, resume),
	METHOD("CloseIO", close_iorequest, empty, false, close_io),
	METHOD("Wait", wait_request, wait_response, false, wait_process),
	METHOD("ListPids", list_pids_request, list_pids_response, false, list_pids),
	METHOD("Stats", stats_request, stats_response, false, stats),
	METHOD("Update", update_request, empty, false, update),
	METHOD("Exit", exit_request, empty, false, exit_shim),
	METHOD("Inspect", inspect_request, inspect_response, false, inspect),
	METHOD("Watch", watch_request, watch_event, true, watch),
	{0},
};
