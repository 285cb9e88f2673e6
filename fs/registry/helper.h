/*
 * Running docker-credential-<name> (github.com/docker/docker-credential-helpers, "Development").
 * Threads: any; blocks until the program has ended, so never on the network thread.
 */
#ifndef REGISTRY_HELPER_H
#define REGISTRY_HELPER_H

#include "base/buf.h"
#include "base/err.h"

/*
 * Run `docker-credential-<name> <verb>` with input on its stdin; what it prints goes to out.
 *
 * @stop_fd  when it becomes readable the program is killed; -1: none
 *
 * Returns 0, or
 *   -ENOENT     there is no such program, or it says that it has no such credentials
 *   -EINVAL     name is none
 *   -ETIMEDOUT  it ran for 60 s and was killed
 *   -ECANCELED  stop_fd
 *   -EIO        it failed; err has its words
 *   -E2BIG      it printed more than out takes
 */
int helper_run(const char *name, const char *verb, const char *input, int stop_fd, struct buf *out,
	       struct err *err);

#endif
