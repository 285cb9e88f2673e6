/*
 * The commands of dist, one file each (cmd_<name>.c); main.c has the table.
 */
#ifndef DIST_DIST_H
#define DIST_DIST_H

#include "cli/cli.h"

#define DIST_DEFAULT_ROOT ".content"

#endif
