/*
 * What an earlier shim left: its journal has been read, and says what was true when it died.
 *
 *   after a reboot: all have ended, their numbers are those of others
 *   runs of the runtime that it left behind are waited for
 *   -> launches under way: has there come a pid of them?
 *   -> processes: the same ones, or gone (their ends are lost); what the keeper has of them
 *   -> the container: what does the runtime say that it does?
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/dir.h"
#include "base/log.h"
#include "shim/json.h"
#include "shim/procfs.h"
#include "shim/shim.h"

enum {
	MAX_RUNS = 64,
	RUNS_MS = 10000, /* for all of them together */
};

/* ---- runs ---- */

static void wait_for(pid_t pid, uint64_t until_ms)
{
	cleanup_fd int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t now_ms = clock_mono_ms();

	if (fd >= 0 && poll(&p, 1, until_ms > now_ms ? (int)(until_ms - now_ms) : 0) == 0)
		log_warn("takeover", "pid=%d, a run of the runtime, does not end", pid);
}

/* Nobody is served yet, so this may wait. */
static void wait_for_runs(const struct shim *s)
{
	uint64_t until_ms = clock_mono_ms() + RUNS_MS;
	pid_t pids[MAX_RUNS];
	char prefix[PATH_MAX + 8];
	int n;

	(void)snprintf(prefix, sizeof(prefix), "%s/run-", s->dir);
	n = procfs_find_argument(prefix, pids, MAX_RUNS);
	for (int i = 0; i < n; i++)
		wait_for(pids[i], until_ms);
}

/* Logs, consoles, files of processes: of no use to anybody any more. */
static bool is_leftover(const char *name)
{
	const char *dot = strrchr(name, '.');

	if (strncmp(name, "run-", 4) == 0 || strcmp(name, "resources") == 0 ||
	    strcmp(name, "journal.new") == 0)
		return true;
	return dot != NULL && (strcmp(dot, ".pty") == 0 || strcmp(dot, ".process") == 0 ||
			       (strcmp(dot, ".pid") == 0 && strcmp(name, "init.pid") != 0));
}

static void remove_leftovers(const struct shim *s)
{
	cleanup_dir DIR *dir = dir_open(s->dir_fd, ".");
	struct dirent *e;

	while (dir != NULL && (e = dir_next(dir)) != NULL)
		if (is_leftover(e->d_name))
			(void)unlinkat(s->dir_fd, e->d_name, 0);
}

/* ---- processes ---- */

/* A launch that was under way: it has come to something if the runtime has written a pid. */
static void finish_launch(struct shim *s, const struct proc *p)
{
	struct record r = {.kind = RECORD_LAUNCHED, .serial = p->serial};
	struct procfs_stat st;

	if (launch_read_pid(s, p->serial, &r.pid) < 0)
		r.kind = RECORD_FAILED;
	else if (procfs_stat(r.pid, &st) == 0)
		r.starttime = st.starttime;
	if (r.kind == RECORD_LAUNCHED && p->serial == 0)
		r.shares_pids = !procfs_has_own_pids(r.pid);
	log_info("takeover", "a launch under way serial=%" PRIu32 " pid=%d", p->serial, r.pid);
	(void)shim_record(s, &r);
}

static void finish_launches(struct shim *s)
{
	list_for_each_safe (n, &s->task.procs) {
		const struct proc *p = list_entry(n, struct proc, node);
		bool init = p->serial == 0;

		if (p->phase != PROC_LAUNCHING)
			continue;
		finish_launch(s, p);
		if (init && s->task.phase == TASK_NONE)
			return; /* and so are all others */
	}
}

/*
 * Of an earlier boot of the machine. How they have ended nobody can tell. A launch that was under
 * way was answered by nobody, and the pid that it may have left behind is no pid of ours.
 */
static void bury_processes(struct shim *s)
{
	int64_t now_ns = clock_wall_ns();

	log_info("takeover", "the machine has been started anew: all processes have ended");
	list_for_each_safe (n, &s->task.procs) {
		struct proc *p = list_entry(n, struct proc, node);
		struct record failed = {.kind = RECORD_FAILED, .serial = p->serial};
		bool init = p->serial == 0;

		if (p->phase != PROC_LAUNCHING) {
			task_exited(&s->task, p, REAPER_LOST_STATUS, /* lost= */ true, now_ns);
			continue;
		}
		(void)shim_record(s, &failed);
		if (!init)
			continue;
		(void)unlinkat(s->dir_fd, "init.pid", 0);
		return; /* and so are all others */
	}
}

static void take_process(struct shim *s, struct proc *p)
{
	const struct stdio_paths paths = {p->in, p->out, p->err, p->terminal};
	struct hold *h = shim_hold(s, p);
	int fds[KEEP_SLOTS];

	if (h == NULL) {
		log_err("takeover", "pid=%d: out of memory", p->pid);
		return;
	}
	keep_take(&s->keep, p->serial, fds);
	stdio_reopen(&h->stdio, &s->loop, &paths, fds);
	h->stdio.on_drained = shim_on_drained;
	h->stdio.data = h;
	if (p->exited) {
		stdio_ended(&h->stdio);
		keep_drop(&s->keep, p->serial, 1U << KEEP_IN);
	}
	if (p->phase == PROC_STOPPED)
		(void)stdio_release_read(&h->stdio);
	else if (!p->exited)
		reaper_watch(s, p);
}

/* What is left then is of those who are no more. */
static void take_processes(struct shim *s)
{
	list_for_each (n, &s->task.procs)
		take_process(s, list_entry(n, struct proc, node));
	keep_taken(&s->keep);
}

/* ---- the container ---- */

struct takeover {
	struct shim *shim;
	void (*done)(struct shim *s);
};
static struct takeover takeover; /* there is one in the life of a shim */

static void finish(struct shim *s)
{
	const struct proc *init = task_init_proc(&s->task);

	reaper_forget_parked(s);
	if (init != NULL && !init->exited)
		shim_watch_oom(s, init->pid);
	shim_settle(s);
	if (s->task.phase != TASK_NONE)
		log_info("takeover", "id=%s pid=%d phase=%d", s->task.id,
			 init != NULL ? init->pid : 0, (int)s->task.phase);
	takeover.done(s);
}

/* A change may have been under way, and its record may be missing. */
static void follow_status(struct shim *s, const char *status)
{
	struct record started = {.kind = RECORD_STARTED}, paused = {.kind = RECORD_PAUSED},
		      resumed = {.kind = RECORD_RESUMED};
	bool is_paused = strcmp(status, "paused") == 0;
	bool is_running = strcmp(status, "running") == 0 || is_paused;

	if (s->task.phase == TASK_CREATED && is_running)
		(void)shim_record(s, &started);
	if (s->task.phase == TASK_RUNNING && is_paused)
		(void)shim_record(s, &paused);
	if (s->task.phase == TASK_PAUSED && is_running && !is_paused)
		(void)shim_record(s, &resumed);
}

static void on_state(int r, const struct err *err, const char *output, void *data)
{
	struct shim *s = data;
	char status[16];

	if (r < 0)
		log_warn("takeover", "%s", err->msg);
	else if (json_find_string(output, strlen(output), "status", status, sizeof(status)) >= 0)
		follow_status(s, status);
	finish(s);
}

static bool ask_state(struct shim *s)
{
	const char *args[] = {"state", s->task.id, NULL};
	const struct runtime_request q = {.program = s->task.runtime,
					  .args = args,
					  .keep_output = true,
					  .done = on_state,
					  .data = s};
	struct err err = {0};

	if (runtime_start(&s->runtime, &q, &err) == 0)
		return true;
	log_warn("takeover", "%s", err.msg);
	return false;
}

void takeover_begin(struct shim *s, void (*done)(struct shim *s))
{
	const struct proc *init;
	struct err err = {0};

	takeover = (struct takeover){s, done};
	if (keep_open(&s->keep, &err) < 0)
		log_warn("takeover", "%s", err.msg);
	if (s->task.phase == TASK_NONE) {
		keep_taken(&s->keep);
		done(s);
		return;
	}
	if (s->rebooted) {
		bury_processes(s);
	} else {
		wait_for_runs(s);
		finish_launches(s);
	}
	remove_leftovers(s);
	take_processes(s);
	init = task_init_proc(&s->task);
	if (init == NULL || init->exited || !ask_state(s))
		finish(s);
}
