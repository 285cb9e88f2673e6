/*
 * The life of one container and its processes: what has happened makes what is, and what follows.
 * No I/O, no clock.
 *
 *   task_init -> task_apply(record) ... -> task_done
 *
 * The state changes by records alone, so that the same records out of a journal make the same
 * state again. task_apply() tells the events that a record amounts to.
 *
 * The end of a process comes in by task_exited(), whenever it happens, and is told by
 * task_next_exit() when its turn has come: STARTED stands before EXIT however fast a process is,
 * and the exits of execs before that of init.
 *
 * Threads: none.
 */
#ifndef SHIM_TASK_H
#define SHIM_TASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/list.h"
#include "shim/record.h"

enum { TASK_MAX_ENDED = 256 }; /* execs that ended and were not deleted: older ones are forgotten */

/* In this order: what is at least CREATED is there for the runtime. */
enum task_phase { TASK_NONE, TASK_CREATING, TASK_CREATED, TASK_RUNNING, TASK_PAUSED, TASK_STOPPED };

enum proc_phase { PROC_LAUNCHING, PROC_CREATED, PROC_RUNNING, PROC_STOPPED };

struct proc {
	struct list node; /* in task->procs, in the order of their launches */
	uint32_t serial;  /* 0: init */
	pid_t pid;	  /* 0 while LAUNCHING */
	uint64_t starttime;
	enum proc_phase phase;
	bool exited; /* it has ended: status, at_ns and lost are set, though it may not be STOPPED
		      */
	bool lost;
	uint32_t status;
	int64_t at_ns;
	bool terminal;
	char *in, *out, *err; /* never NULL */
	void *owner;	      /* whatever task_apply()'s caller keeps with it */
};

struct task {
	char *id, *bundle, *runtime; /* NULL while phase is NONE */
	bool no_pivot;
	bool shares_pids;
	enum task_phase phase;
	bool starting;	   /* the runtime is at it: the exit of init waits */
	bool init_in_turn; /* do not let the exit of init wait for those of execs any longer */
	struct list procs;
	uint32_t last_serial;
	size_t n_ended;
};

/* As in the protocol. */
enum task_event_type {
	TASK_EXIT,
	TASK_OOM,
	TASK_EVENT_CREATED,
	TASK_STARTED,
	TASK_EXEC_ADDED,
	TASK_EVENT_PAUSED,
	TASK_RESUMED,
};

struct task_event {
	int64_t at_ns;
	enum task_event_type type;
	pid_t pid;
	uint32_t status;
	bool lost;
};

struct task_ops {
	void (*event)(const struct task_event *e, void *ctx);
	/* p is about to be no more. */
	void (*forget)(struct proc *p, void *ctx);
	void *ctx;
};

void task_init(struct task *t);
void task_done(struct task *t, const struct task_ops *ops);

/*
 * Returns 0, -ENOMEM, or -EBADMSG for a record that cannot be true in this state; the state is
 * unchanged then. ops' functions may be NULL.
 */
int task_apply(struct task *t, const struct record *r, const struct task_ops *ops);

/* NULL when there is none. pid 0 never finds anything. */
struct proc *task_find_pid(const struct task *t, pid_t pid);
struct proc *task_find_serial(const struct task *t, uint32_t serial);
struct proc *task_init_proc(const struct task *t);

/* Processes that run, but for init. */
size_t task_n_running_execs(const struct task *t);
size_t task_n_launching(const struct task *t);

/* p has ended. Nothing more happens to it than task_next_exit() telling so. */
void task_exited(struct task *t, struct proc *p, uint32_t status, bool lost, int64_t at_ns);
/* An exit that may be recorded now; false when there is none. */
bool task_next_exit(const struct task *t, struct record *ret);

/* An exit status of the protocol from one of wait(2): 128 + signal, or the exit code. */
uint32_t task_exit_status(int wait_status);

/*
 * May this be done now? Each returns 0, or says in words why not:
 *   -ENOENT  there is no container
 *   -EEXIST  there is one already
 *   -EBUSY   not in this state
 */
int task_may_create(const struct task *t, struct err *err);
int task_may_start(const struct task *t, struct err *err);
int task_may_exec(const struct task *t, struct err *err);
int task_may_pause(const struct task *t, struct err *err);
int task_may_resume(const struct task *t, struct err *err);
/* Signals, limits, what it uses: init has to be there. */
int task_must_live(const struct task *t, struct err *err);
int task_must_exist(const struct task *t, struct err *err);

#endif
