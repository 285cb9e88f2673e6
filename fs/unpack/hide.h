/*
 * Taking away: what a whiteout hides of lower layers, and what is in the way of a new entry.
 *
 * A whiteout takes only what lower layers left (OCI image spec, layer.md): what this layer has
 * unpacked stays, whichever comes first. Threads: one at a time.
 */
#ifndef UNPACK_HIDE_H
#define UNPACK_HIDE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "unpack/dirs.h"

/* Remove name in parent, whatever it is and whosever; absent is well. */
int hide_remove(struct dirs *d, struct dir *parent, const char *name, struct err *err);

/* ".wh.<name>" in the directory path[0..len). No such directory: nothing to hide. */
int hide_name(struct dirs *d, const char *path, size_t len, const char *name, struct err *err);

/* ".wh..wh..opq" in it; it is made when it is not there, as any entry's directory is. */
int hide_all(struct dirs *d, const char *path, size_t len, struct err *err);

#endif
