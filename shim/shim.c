#include "shim/shim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "shim/procfs.h"

enum {
	HURRY_MS = 5000, /* the longest that the exit of init waits for those of execs */
	MAX_UNREAD = 16, /* ended execs whose unread output is kept */
	MAX_SNAPSHOT = 8 << 20,
};

/* ---- what happens ---- */

static void on_event(const struct task_event *e, void *ctx)
{
	struct shim *s = ctx;

	if (!s->quiet)
		events_add(&s->events, e);
}

static void on_forget(struct proc *p, void *ctx)
{
	struct hold *h = p->owner;

	(void)ctx;
	if (h == NULL)
		return;
	reaper_unwatch(h);
	stdio_close(&h->stdio);
	keep_drop(&h->shim->keep, p->serial, ~0U);
	free(h);
	p->owner = NULL;
}

struct hold *shim_hold(struct shim *s, struct proc *p)
{
	struct hold *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	h->shim = s;
	h->proc = p;
	h->pid_io.fd = -1;
	p->owner = h;
	return h;
}

/* A new container: the events of an earlier one are no business of its clients. */
static void begin_container(struct shim *s, const char *id)
{
	char *copy = strdup(id);

	if (copy == NULL)
		return; /* task_apply() has had memory, so this will hardly be seen */
	free(s->id);
	s->id = copy;
	if (!s->quiet)
		events_restart(&s->events, s->events.next);
}

static int apply(struct shim *s, const struct record *r)
{
	int e = task_apply(&s->task, r, &s->ops);

	if (e == 0 && r->kind == RECORD_CREATE)
		begin_container(s, r->id);
	return e;
}

/* Nothing of an earlier container counts any more. */
static void begin_journal(struct shim *s)
{
	char boot[37];
	const struct record r = {.kind = RECORD_BOOT, .number = 1, .id = boot};

	if (s->journal.bytes > 0) {
		shim_compact(s);
		return;
	}
	procfs_boot_id(boot);
	(void)journal_append(&s->journal, &r); /* without it the boot is taken for this one */
}

int shim_record(struct shim *s, struct record *r)
{
	int e;

	if (r->at_ns == 0)
		r->at_ns = clock_wall_ns();
	if (r->kind == RECORD_CREATE)
		begin_journal(s);
	e = journal_append(&s->journal, r);
	if (e < 0 && !s->journal_failed) /* the container is worth more than its memory */
		log_warn("shim", "journal: %s; a shim after us will not know all",
			 err_describe(-e));
	s->journal_failed = e < 0;
	e = apply(s, r);
	if (e == 0 && (journal_is_long(&s->journal) || s->journal_failed))
		shim_compact(s);
	return e;
}

/* Where either cannot be told, it is taken for this one. */
static bool is_of_another_boot(const char *id)
{
	char now[37];

	procfs_boot_id(now);
	return id[0] != '\0' && now[0] != '\0' && strcmp(id, now) != 0;
}

void shim_replay(const struct record *r, void *ctx)
{
	struct shim *s = ctx;
	const struct task_event e = {.at_ns = r->at_ns,
				     .type = (enum task_event_type)r->type,
				     .pid = r->pid,
				     .status = r->status,
				     .lost = r->lost};
	int err = 0;

	switch (r->kind) {
	case RECORD_BOOT:
		s->rebooted = is_of_another_boot(r->id);
		break;
	case RECORD_NUMBER:
		events_restart(&s->events, r->number);
		break;
	case RECORD_EVENT:
		if (r->type <= TASK_RESUMED)
			events_add(&s->events, &e);
		break;
	case RECORD_QUIET:
		s->quiet = r->number != 0;
		break;
	case RECORD_ENDED:
		if (apply(s, r) < 0)
			reaper_park(s, r->pid, r->status, r->at_ns);
		break;
	default:
		err = apply(s, r);
	}
	if (err < 0)
		log_warn("shim", "journal: a record of kind %d does not fit", (int)r->kind);
}

/* ---- the journal anew ---- */

static int write_events(const struct shim *s, struct buf *b)
{
	struct record r = {.kind = RECORD_NUMBER, .number = s->events.first};
	int e = record_write(&r, b);

	for (uint64_t n = s->events.first; n < s->events.next && e == 0; n++) {
		const struct event *v = events_get(&s->events, n);

		r = (struct record){.kind = RECORD_EVENT,
				    .at_ns = v->at_ns,
				    .type = v->type,
				    .pid = v->pid,
				    .status = v->status,
				    .lost = v->lost};
		e = record_write(&r, b);
	}
	return e;
}

static int write_proc(const struct task *t, const struct proc *p, struct buf *b)
{
	struct record r = {.kind = p->serial == 0 ? RECORD_CREATE : RECORD_EXEC,
			   .at_ns = p->at_ns,
			   .serial = p->serial,
			   .id = t->id,
			   .bundle = t->bundle,
			   .runtime = t->runtime,
			   .no_pivot = t->no_pivot,
			   .terminal = p->terminal,
			   .in = p->in,
			   .out = p->out,
			   .err = p->err};
	int e = record_write(&r, b);

	if (e < 0 || p->phase == PROC_LAUNCHING)
		return e;
	r.kind = RECORD_LAUNCHED;
	r.pid = p->pid;
	r.starttime = p->starttime;
	r.shares_pids = t->shares_pids;
	return record_write(&r, b);
}

/* Behind the processes, since an exec is of a container that is there. */
static int write_phase(const struct task *t, struct buf *b)
{
	struct record r = {.kind = RECORD_STARTED};
	const struct proc *init = task_init_proc(t);
	int e = 0;

	if (init != NULL && (init->phase == PROC_RUNNING || t->phase == TASK_STOPPED) &&
	    t->phase != TASK_CREATED)
		e = record_write(&r, b);
	r.kind = RECORD_PAUSED;
	if (e == 0 && t->phase == TASK_PAUSED)
		e = record_write(&r, b);
	return e;
}

static int write_exit(const struct proc *p, struct buf *b)
{
	struct record r = {.kind = p->phase == PROC_STOPPED ? RECORD_EXIT : RECORD_ENDED,
			   .at_ns = p->at_ns,
			   .serial = p->serial,
			   .pid = p->pid,
			   .status = p->status,
			   .lost = p->lost};

	if (!p->exited || (p->lost && p->phase != PROC_STOPPED))
		return 0;
	return record_write(&r, b);
}

static int write_parked(const struct parked *p, struct buf *b)
{
	const struct record r = {
		.kind = RECORD_ENDED, .at_ns = p->at_ns, .pid = p->pid, .status = p->status};

	return record_write(&r, b);
}

static int write_task(const struct task *t, struct buf *b)
{
	int e = 0;

	list_for_each (n, &t->procs)
		if (e == 0)
			e = write_proc(t, list_entry(n, struct proc, node), b);
	if (e == 0)
		e = write_phase(t, b);
	list_for_each (n, &t->procs)
		if (e == 0)
			e = write_exit(list_entry(n, struct proc, node), b);
	return e;
}

void shim_compact(struct shim *s)
{
	cleanup_buf struct buf b;
	char boot[37];
	struct record r = {.kind = RECORD_BOOT, .number = 1, .id = boot};
	int e;

	procfs_boot_id(boot);
	buf_init(&b, MAX_SNAPSHOT);
	e = record_write(&r, &b);
	if (e == 0)
		e = write_events(s, &b);
	r = (struct record){.kind = RECORD_QUIET, .number = 1};
	if (e == 0)
		e = record_write(&r, &b);
	if (e == 0)
		e = write_task(&s->task, &b);
	for (size_t i = 0; i < s->reaper.n_parked && e == 0; i++)
		e = write_parked(&s->reaper.parked[i], &b);
	r.number = 0;
	if (e == 0)
		e = record_write(&r, &b);
	if (e == 0)
		e = journal_replace(&s->journal, &b);
	if (e < 0 && !s->journal_failed)
		log_warn("shim", "write the journal anew: %s", err_describe(-e));
}

/* ---- ends of processes ---- */

/* What is read already needs no keeping; of the rest the latest are kept. */
static void release_unread(struct shim *s)
{
	int kept = 0;

	for (struct list *n = s->task.procs.prev; n != &s->task.procs; n = n->prev) {
		struct proc *p = list_entry(n, struct proc, node);
		struct hold *h = p->owner;

		if (p->serial == 0 || p->phase != PROC_STOPPED || h == NULL)
			continue;
		if (stdio_release_read(&h->stdio) && ++kept > MAX_UNREAD &&
		    stdio_is_drained(&h->stdio))
			stdio_close(&h->stdio);
	}
}

static void on_hurry(struct rpc_timer *t)
{
	struct shim *s = list_entry(t, struct shim, hurry);

	s->task.init_in_turn = true;
	shim_settle(s);
}

void shim_exited(struct shim *s, struct proc *p, uint32_t status, bool lost, int64_t at_ns)
{
	struct hold *h = p->owner;
	struct record r;

	if (p->exited)
		return;
	log_debug("shim", "pid=%d ended status=%" PRIu32 "%s", p->pid, status, lost ? " lost" : "");
	task_exited(&s->task, p, status, lost, at_ns);
	if (!lost && p->serial == 0 && !task_next_exit(&s->task, &r)) {
		r = (struct record){
			.kind = RECORD_ENDED, .at_ns = at_ns, .pid = p->pid, .status = status};
		(void)shim_record(s, &r);
	}
	if (h != NULL) {
		reaper_unwatch(h);
		stdio_ended(&h->stdio);
		keep_drop(&s->keep, p->serial, 1U << KEEP_IN);
	}
	if (p->serial != 0 || task_n_running_execs(&s->task) == 0)
		return;
	/* With a pid namespace of its own the kernel has seen to the others (pid_namespaces(7)). */
	if (s->task.shares_pids)
		change_kill_all(s);
	if (loop_set_timer(&s->loop, &s->hurry, HURRY_MS) < 0)
		s->task.init_in_turn = true;
}

void shim_settle(struct shim *s)
{
	struct record r;
	bool any = false;

	while (task_next_exit(&s->task, &r)) {
		if (shim_record(s, &r) < 0)
			break;
		any = true;
	}
	if (any) {
		release_unread(s);
		follow_check_waits(s);
	}
	change_go_on(s);
}

void shim_keep(struct hold *h)
{
	struct err err = {0};
	int fds[KEEP_SLOTS];

	stdio_kept_fds(&h->stdio, fds);
	if (keep_put(&h->shim->keep, h->proc->serial, fds, &err) < 0)
		log_warn("shim", "%s; what process %" PRIu32 " has open ends with us", err.msg,
			 h->proc->serial);
}

void shim_on_drained(struct stdio *stdio)
{
	struct hold *h = stdio->data;

	/* Before all else: the reader waits for the end. */
	keep_drop(&h->shim->keep, h->proc->serial, ~0U);
	change_go_on(h->shim);
}

static void on_oom(struct oom *o)
{
	struct shim *s = list_entry(o, struct shim, oom);
	struct record r = {.kind = RECORD_OOM};

	(void)shim_record(s, &r);
}

void shim_watch_oom(struct shim *s, pid_t pid)
{
	s->oom.happened = on_oom;
	oom_watch(&s->oom, &s->loop, pid);
}

/* ---- names ---- */

int shim_path(const struct shim *s, const char *name, char *out, size_t n)
{
	return (size_t)snprintf(out, n, "%s/%s", s->dir, name) < n ? 0 : -ENAMETOOLONG;
}

void shim_name(uint32_t serial, const char *suffix, char *out, size_t n)
{
	if (serial == 0)
		(void)snprintf(out, n, "init.%s", suffix);
	else
		(void)snprintf(out, n, "%" PRIu32 ".%s", serial, suffix);
}

/* ---- the beginning and the end ---- */

int shim_init(struct shim *s, char *dir, int dir_fd, uint64_t runtime_timeout_ms)
{
	*s = (struct shim){.dir = dir, .dir_fd = dir_fd, .listen_fd = -1};
	s->ops = (struct task_ops){.event = on_event, .forget = on_forget, .ctx = s};
	s->hurry.fired = on_hurry;
	s->journal.fd = -1;
	s->reaper.signal_io.fd = -1;
	oom_init(&s->oom);
	keep_init(&s->keep);
	task_init(&s->task);
	events_init(&s->events);
	list_init(&s->waits);
	launch_init(s);
	list_init(&s->changes);
	list_init(&s->exec_deletes);
	runtime_init(&s->runtime, &s->loop, s->dir, dir_fd, runtime_timeout_ms);
	return loop_init(&s->loop);
}

void shim_done(struct shim *s)
{
	keep_close(&s->keep); /* what is kept outlives us */
	s->server = rpc_server_free(s->server);
	runtime_done(&s->runtime);
	oom_done(&s->oom, &s->loop);
	loop_clear_timer(&s->loop, &s->hurry);
	loop_clear_timer(&s->loop, &s->patience);
	task_done(&s->task, &s->ops);
	events_done(&s->events);
	journal_close(&s->journal);
	reaper_done(s);
	loop_done(&s->loop);
	free(s->id);
	free(s->dir);
	if (s->listen_fd >= 0)
		(void)close(s->listen_fd);
	if (s->dir_fd >= 0)
		(void)close(s->dir_fd);
}

static void on_drained(void *ctx)
{
	struct shim *s = ctx;

	loop_stop(&s->loop);
}

static void on_patience(struct rpc_timer *t)
{
	loop_stop(&list_entry(t, struct shim, patience)->loop);
}

void shim_end(struct shim *s)
{
	enum { PATIENCE_MS = 10000 };

	if (s->ending || s->server == NULL) { /* asked twice, or nobody served yet */
		loop_stop(&s->loop);
		return;
	}
	s->ending = true;
	s->patience.fired = on_patience;
	if (loop_set_timer(&s->loop, &s->patience, PATIENCE_MS) < 0)
		loop_stop(&s->loop);
	follow_end(s);
	launch_end(s);
	change_end(s);
	rpc_server_shutdown(s->server, on_drained);
}
