/*
 * Paths as a shim is told them, which has a working directory of its own: absolute. Threads: the
 * working directory is the process's.
 */
#ifndef SHIMCTL_PATHS_H
#define SHIMCTL_PATHS_H

#include <stddef.h>

#include "base/err.h"

/* NULL and "" are "". Returns 0, -ENAMETOOLONG, or from getcwd(3). */
int path_absolute(const char *path, char *out, size_t n, struct err *err);

/* The same for a program, whose name without a slash is looked up in PATH and stays. */
int path_of_program(const char *path, char *out, size_t n, struct err *err);

#endif
