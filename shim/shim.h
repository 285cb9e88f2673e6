/*
 * The shim: everything that one container's shim holds, and what its files offer to each other.
 *
 *   main.c      flags, signals, the beginning and the end
 *   service.c   requests, checked            -> launch.c  create and exec
 *                                            -> change.c  start, pause, resume, update, delete
 *                                            -> show.c    what is
 *                                            -> follow.c  wait, events
 *   reaper.c    ends of processes            -> shim.c    records: journal, then task, then events
 *   takeover.c  what an earlier shim left
 *
 * Threads: none.
 */
#ifndef SHIM_SHIM_H
#define SHIM_SHIM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/list.h"
#include "rpc/server.h"
#include "shim/events.h"
#include "shim/journal.h"
#include "shim/keep.h"
#include "shim/loop.h"
#include "shim/messages.h"
#include "shim/oom.h"
#include "shim/runtime.h"
#include "shim/stdio.h"
#include "shim/task.h"

/* How a child of ours ended that we do not know, yet. */
struct parked {
	pid_t pid;
	uint32_t status;
	int64_t at_ns;
};

struct reaper {
	struct rpc_io signal_io; /* SIGCHLD and those that end us */
	struct parked *parked;	 /* while something is being launched */
	size_t n_parked, cap_parked;
};

struct change;

struct shim {
	struct loop loop;
	char *dir; /* absolute */
	int dir_fd;
	struct rpc_server *server; /* NULL until we listen */
	int listen_fd;
	struct task task;
	struct task_ops ops;
	struct events events;
	char *id;   /* of the container whose events are remembered; NULL: none yet */
	bool quiet; /* records make no events: they are remembered already */
	struct journal journal;
	bool journal_failed; /* said so */
	bool rebooted;	     /* the journal is of an earlier boot of the machine */
	struct runtime runtime;
	struct reaper reaper;
	struct oom oom;
	struct keep keep;
	struct list waits;	/* struct wait_call of follow.c */
	struct list exec_queue; /* struct launch of launch.c that wait for their turn */
	size_t n_execs;		/* of them under way */
	size_t max_execs;
	struct rpc_timer next_exec;
	struct list changes;	   /* struct change, the first is under way */
	struct list exec_deletes;  /* struct exec_delete of change.c */
	struct rpc_timer hurry;	   /* the exit of init has waited for long enough */
	struct rpc_timer patience; /* until the end of those who do not end */
	bool ending;
	bool failed; /* could not begin to serve */
};

/* What the shim holds for a process, proc->owner. */
struct hold {
	struct shim *shim;
	struct proc *proc;
	struct stdio stdio;
	struct rpc_io pid_io; /* of a process that is not our child; fd -1: it is */
	struct rpc_timer retry;
	int n_retries;
};

/* ---- shim.c ---- */

int shim_init(struct shim *s, char *dir, int dir_fd, uint64_t runtime_timeout_ms);
void shim_done(struct shim *s);

/* It happened: into the journal, the task, the events. at_ns 0: now. Errors of task_apply(). */
int shim_record(struct shim *s, struct record *r);
/* The same for a record out of the journal; those that tell of the journal itself are for us. */
void shim_replay(const struct record *r, void *shim);
/* p (or a process that was adopted) has ended. */
void shim_exited(struct shim *s, struct proc *p, uint32_t status, bool lost, int64_t at_ns);
/* Tell the exits whose turn has come, and whoever waits for something. */
void shim_settle(struct shim *s);
/* The journal is written anew with what counts now. */
void shim_compact(struct shim *s);

/* A hold for p, with nothing open. */
struct hold *shim_hold(struct shim *s, struct proc *p);
/* A file in our directory: absolute, in out[n]. -ENAMETOOLONG. */
int shim_path(const struct shim *s, const char *name, char *out, size_t n);
/* <serial>.<suffix>, or init.<suffix>. */
void shim_name(uint32_t serial, const char *suffix, char *out, size_t n);

/* The memory of the container of pid is watched from here on. */
void shim_watch_oom(struct shim *s, pid_t pid);
/* What h has open is kept beyond our death; it goes on without that too. */
void shim_keep(struct hold *h);
/* A stdio's on_drained; its data is the hold. */
void shim_on_drained(struct stdio *stdio);

/* Serve no more, leave the container as it is, and end. */
void shim_end(struct shim *s);

/* ---- reaper.c ---- */

enum { REAPER_LOST_STATUS = 255 }; /* for clients that know no better: it is no success */

int reaper_init(struct shim *s, struct err *err);
void reaper_done(struct shim *s);
/* p has its pid: watch for its end, which may have come already. */
void reaper_watch(struct shim *s, struct proc *p);
void reaper_unwatch(struct hold *h);
/* Remember the end of a process that may be one that is being launched. */
void reaper_park(struct shim *s, pid_t pid, uint32_t status, int64_t at_ns);
/* Nothing is being launched any more: whom we do not know, we will not know. */
void reaper_forget_parked(struct shim *s);

/* ---- launch.c ---- */

void launch_init(struct shim *s);
void launch_create(struct shim *s, struct rpc_call *call, const SHIM(CreateRequest) * q);
void launch_exec(struct shim *s, struct rpc_call *call, const SHIM(ExecRequest) * q);
/* Fail those that have not begun. */
void launch_end(struct shim *s);
/* A pid that a runtime wrote; -ENOENT, or -EBADMSG for one that is none. */
int launch_read_pid(const struct shim *s, uint32_t serial, pid_t *ret);

/* ---- change.c ---- */

void change_start(struct shim *s, struct rpc_call *call);
void change_pause(struct shim *s, struct rpc_call *call);
void change_resume(struct shim *s, struct rpc_call *call);
void change_update(struct shim *s, struct rpc_call *call, const SHIM(UpdateRequest) * q);
void change_delete(struct shim *s, struct rpc_call *call, struct proc *p);
/* Something has ended that a deletion may wait for. */
void change_go_on(struct shim *s);
void change_end(struct shim *s);
/* Signals are not changes: they never wait. */
void change_kill(struct shim *s, struct rpc_call *call, const SHIM(KillRequest) * q);
/* Kill all that is in the container, and tell nobody. */
void change_kill_all(struct shim *s);

/* ---- follow.c ---- */

void follow_wait(struct shim *s, struct rpc_call *call, const struct proc *p);
void follow_events(struct shim *s, struct rpc_call *call, uint64_t after);
/* Processes have ended or were forgotten. */
void follow_check_waits(struct shim *s);
void follow_end(struct shim *s);

/* ---- show.c ---- */

void show_state(struct shim *s, struct rpc_call *call);
void show_inspect(struct shim *s, struct rpc_call *call);
void show_pids(struct shim *s, struct rpc_call *call);
void show_stats(struct shim *s, struct rpc_call *call);

/* ---- service.c ---- */

extern const struct rpc_method service_methods[];

/* ---- takeover.c ---- */

/* Make true again what the journal says; done(s) once it is, from the loop. */
void takeover_begin(struct shim *s, void (*done)(struct shim *s));

#endif
