/*
 * A process's control groups, wherever they are mounted: v1, v2, and both (cgroups(7)).
 *
 *   cgroup_open(pid, "memory") -> read its files by the descriptor
 *
 * Threads: none.
 */
#ifndef SHIM_CGROUP_H
#define SHIM_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "shim/messages.h"

/*
 * Open the directory of pid's cgroup that controller is attached to, in *ret_v2 which kind it is.
 * Returns a descriptor, -ENOENT where there is no such controller for it, or another errno. The
 * root cgroup is nobody's: -ENOENT.
 */
int cgroup_open(pid_t pid, const char *controller, bool *ret_v2);

/* What a container's cgroups count; parts whose controller is not there stay NULL. */
struct cgroup_stats {
	SHIM(StatsResponse) m;
	SHIM(CpuStats) cpu;
	SHIM(MemoryStats) memory;
	SHIM(PidsStats) pids;
	SHIM(IoStats) io;
};
void cgroup_read_stats(pid_t pid, struct cgroup_stats *ret);

/*
 * All processes in pid's cgroup and those below it. *ret: sorted, the caller's to free().
 * Returns how many, or a negative errno.
 */
ssize_t cgroup_list_pids(pid_t pid, pid_t **ret);

/* The value behind "key " at the start of a line of a flat keyed file. 0 when it is not there. */
uint64_t cgroup_keyed(int dir_fd, const char *file, const char *key);

#endif
