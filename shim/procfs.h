/*
 * What /proc tells of a process (proc(5)), for processes that may not be our children.
 *
 * Threads: pure functions.
 */
#ifndef SHIM_PROCFS_H
#define SHIM_PROCFS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct procfs_stat {
	char state; /* 'Z' is a zombie */
	pid_t ppid;
	uint64_t starttime; /* in clock ticks after boot: with the pid it names a process */
	int exit_code;	    /* as wait(2) gives it; for a zombie, and 0 when we may not know */
};

/* Returns 0, -ESRCH when there is no such process, or -EIO for a line that is none. */
int procfs_stat(pid_t pid, struct procfs_stat *ret);

/* Whether pid lives in a pid namespace that is not ours. False when that cannot be told. */
bool procfs_has_own_pids(pid_t pid);

/* The machine's boot in words, 37 bytes with its NUL; "" when that cannot be told. */
void procfs_boot_id(char out[37]);

/*
 * Processes other than ours that were started with an argument that begins with prefix, at most
 * max of them into pids. Returns how many, or a negative errno.
 */
int procfs_find_argument(const char *prefix, pid_t *pids, int max);

/*
 * The children of pid, theirs, and so on, parents first, at most max of them into pids. Returns how
 * many, or a negative errno. Who is born meanwhile may be missing.
 */
int procfs_find_descendants(pid_t pid, pid_t *pids, int max);

#endif
