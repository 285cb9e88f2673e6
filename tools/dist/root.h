/*
 * The store that a command of dist works on. Threads: main only.
 */
#ifndef DIST_ROOT_H
#define DIST_ROOT_H

#include "cli/cli.h"
#include "store/layout.h"

/* $CONTAINERD_DIST_CONTENT_STORE, or .content; what --root says goes before it. */
const char *root_default(void);

/* store_open() that tells why it failed; returns CLI_OK or CLI_FAILED. */
int root_open(const struct cli_program *p, const char *root, unsigned int flags,
	      struct store **ret);

#endif
