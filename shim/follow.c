/* Those who wait for something to happen: Wait for an end, Events and Watch for all. */
#include <errno.h>
#include <stdlib.h>

#include "shim/shim.h"

/* ---- the end of a process ---- */

struct wait_call {
	struct list node; /* in shim->waits */
	struct rpc_call *call;
	uint32_t serial;
};

static void reply_exit(struct rpc_call *call, const struct proc *p)
{
	SHIM(WaitResponse) m = CONTAINERD__SHIM__V1__WAIT_RESPONSE__INIT;

	m.exit_status = p->status;
	m.exited_at_ns = p->lost ? 0 : p->at_ns;
	m.lost = p->lost;
	rpc_reply(call, &m.base);
}

static void wait_free(struct wait_call *w)
{
	list_del(&w->node);
	free(w);
}

static void on_wait_gone(struct rpc_call *call, enum rpc_gone why)
{
	(void)why;
	wait_free(rpc_call_data(call));
	rpc_fail(call, RPC_CANCELLED, "the client is gone");
}

void follow_wait(struct shim *s, struct rpc_call *call, const struct proc *p)
{
	struct wait_call *w;

	if (p->phase == PROC_STOPPED) {
		reply_exit(call, p);
		return;
	}
	w = calloc(1, sizeof(*w));
	if (w == NULL) {
		rpc_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	w->call = call;
	w->serial = p->serial;
	list_add_tail(&s->waits, &w->node);
	rpc_call_set_hooks(call, on_wait_gone, NULL, w);
}

void follow_check_waits(struct shim *s)
{
	list_for_each_safe (n, &s->waits) {
		struct wait_call *w = list_entry(n, struct wait_call, node);
		const struct proc *p = task_find_serial(&s->task, w->serial);

		if (p != NULL && p->phase != PROC_STOPPED)
			continue;
		if (p != NULL)
			reply_exit(w->call, p);
		else
			rpc_fail(w->call, RPC_NOT_FOUND, "the process was deleted");
		wait_free(w);
	}
}

void follow_end(struct shim *s)
{
	list_for_each_safe (n, &s->waits) {
		struct wait_call *w = list_entry(n, struct wait_call, node);

		rpc_fail(w->call, RPC_UNAVAILABLE, "the shim ends");
		wait_free(w);
	}
}

/* ---- events ---- */

struct follower {
	struct subscriber subscriber;
	struct shim *shim;
	struct rpc_call *call;
	bool watch; /* messages with numbers, or those of January 2017 */
};

static int send_event(struct subscriber *sub, uint64_t number, const struct event *e)
{
	struct follower *f = list_entry(sub, struct follower, subscriber);
	SHIM(Event) m = CONTAINERD__SHIM__V1__EVENT__INIT;
	SHIM(WatchEvent) w = CONTAINERD__SHIM__V1__WATCH_EVENT__INIT;

	m.id = f->shim->id;
	m.type = (SHIM(EventType))e->type;
	m.pid = (uint32_t)e->pid;
	m.exit_status = e->status;
	w.number = number;
	w.event = &m;
	w.at_ns = e->at_ns;
	w.lost = e->lost;
	return rpc_stream_send(f->call, f->watch ? &w.base : &m.base);
}

static void on_follower_gone(struct rpc_call *call, enum rpc_gone why)
{
	struct follower *f = rpc_call_data(call);

	(void)why;
	events_unsubscribe(&f->subscriber);
	free(f);
	rpc_fail(call, RPC_CANCELLED, "the client is gone");
}

static void on_follower_writable(struct rpc_call *call)
{
	struct follower *f = rpc_call_data(call);

	events_pump(&f->shim->events, &f->subscriber);
}

void follow_events(struct shim *s, struct rpc_call *call, uint64_t after)
{
	struct follower *f = calloc(1, sizeof(*f));

	if (f == NULL) {
		rpc_fail(call, RPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	f->shim = s;
	f->call = call;
	f->watch = rpc_call_method(call)->reply == SHIM_DESCRIPTOR(watch_event);
	f->subscriber.send = send_event;
	rpc_call_set_hooks(call, on_follower_gone, on_follower_writable, f);
	events_subscribe(&s->events, &f->subscriber, after);
}
