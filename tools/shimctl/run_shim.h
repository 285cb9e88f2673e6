/*
 * What `shimctl run` needs around a container: a working directory, a bundle in it that is made
 * from another one, and a shim.
 *
 *   run_dir_make -> run_bundle_make -> run_shim_start -> ... -> run_shim_wait -> run_dir_remove
 *
 * Threads: none.
 */
#ifndef SHIMCTL_RUN_SHIM_H
#define SHIMCTL_RUN_SHIM_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "rpc/client.h"

/*
 * The working directory of the shim of container id: dir when given, or contentfs-shim/<id> under
 * /run (for root) or $XDG_RUNTIME_DIR (else /tmp/contentfs-shim-<uid>/<id>). -EEXIST when it is
 * there and not empty.
 */
int run_dir_make(const char *dir, const char *id, char *out, size_t n, struct err *err);
void run_dir_remove(const char *dir);

/*
 * dir/bundle: the config.json of the bundle at from, its rootfs named absolutely, with args (when
 * n_args is not 0) and the terminal put in.
 */
int run_bundle_make(const char *dir, const char *from, char *const *args, size_t n_args,
		    bool terminal, struct err *err);

/* The path of a program of ours: beside this one, or else in $PATH. */
void run_find_program(const char *name, char *out, size_t n);

/*
 * Start the shim (program: path, or NULL for contentfs-shim beside us or in $PATH) in dir, in a
 * session of its own, and connect to it as soon as it listens. What it logs is in dir/shim.log.
 */
int run_shim_start(const char *dir, const char *program, pid_t *ret_pid, struct rpc_client **ret,
		   struct err *err);

/* Wait until the shim, which was told to exit, has done so; it is killed when it takes too long. */
void run_shim_wait(pid_t pid);

#endif
