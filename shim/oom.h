/*
 * Being told when the kernel kills for want of memory in a cgroup: cgroup v1 by an eventfd on
 * memory.oom_control, v2 by inotify on memory.events (kernel: admin-guide/cgroup-v1/memory.rst
 * section 10, admin-guide/cgroup-v2.rst).
 *
 *   oom_init -> oom_watch -> happened() ... -> oom_done
 *
 * Threads: none.
 */
#ifndef SHIM_OOM_H
#define SHIM_OOM_H

#include <stdint.h>
#include <sys/types.h>

#include "shim/loop.h"

struct oom {
	struct rpc_io io; /* fd -1: not watching */
	int dir_fd;	  /* the cgroup */
	uint64_t kills;	  /* so far */
	struct loop *loop;
	struct rpc_timer again; /* v1 tells before it kills */
	int n_looks;
	void (*happened)(struct oom *o);
};

void oom_init(struct oom *o);
/* Watch the cgroup of pid. Quietly does nothing where there is no memory controller. */
void oom_watch(struct oom *o, struct loop *loop, pid_t pid);
void oom_done(struct oom *o, struct loop *loop);

#endif
