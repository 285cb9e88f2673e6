/*
 * Running an OCI runtime: one process for each thing that is asked of it, its words read back.
 *
 *   runtime_init -> runtime_start -> (runtime_reaped from the reaper) -> done() ... -> runtime_done
 *
 * Each run is `PROGRAM --log DIR/run-<our pid>-<n>.log --log-format json ARGS...`, in a process
 * group of its own. What it prints on stderr is read while it runs, so that it cannot block on us;
 * the last of it is kept. When it fails, the reason is the error of its log, else the last line of
 * its stderr, else its exit status. A run that takes longer than its time is killed,
 * and so is what it has started.
 *
 * Threads: none.
 */
#ifndef SHIM_RUNTIME_H
#define SHIM_RUNTIME_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "shim/loop.h"

struct runtime {
	struct loop *loop;
	const char *dir; /* absolute, for logs; its name is the mark of our runs */
	int dir_fd;
	uint64_t timeout_ms;
	uint32_t last_run;
	struct list runs;
	size_t n_runs;
};

struct runtime_run;

struct runtime_request {
	const char *program; /* a path, or a name to be found in $PATH */
	/* Ended by NULL; the first names what is done. */
	const char *const *args;
	/* For a process of the container to inherit; NULL: /dev/null, and stderr is read by us. */
	const int *stdio_fds;
	/* Keep what is written to stdout, for done(). */
	bool keep_output;
	/*
	 * r: 0, -EREMOTEIO (it failed, err holds its own words), or -ETIMEDOUT. output: what it
	 * wrote to stdout, "" unless kept. Called once, from the loop; the run is no more then.
	 */
	void (*done)(int r, const struct err *err, const char *output, void *data);
	void *data;
};

void runtime_init(struct runtime *rt, struct loop *loop, const char *dir, int dir_fd,
		  uint64_t timeout_ms);
/* The container is no more: what runs is killed, and leaves nothing; done() is not called. */
void runtime_kill(struct runtime *rt);
/* Forget what runs; the processes go on, done() is not called. */
void runtime_done(struct runtime *rt);

/*
 * The path of a program that is named without a slash: the first of that name in $PATH, so that
 * nobody has to search for each run. Where there is none it is the name itself, and a run fails.
 */
void runtime_find(const char *name, char *out, size_t n);

/*
 * Returns 0, then done() will be called; or a negative errno (-ENOENT: no such program), then it
 * will not.
 */
int runtime_start(struct runtime *rt, const struct runtime_request *q, struct err *err);

/* Whether pid is a run. */
bool runtime_owns(const struct runtime *rt, pid_t pid);
/* A child of ours has ended: returns whether it was a run. */
bool runtime_reaped(struct runtime *rt, pid_t pid, int wait_status);

#endif
