/*
 * What the name of an archive member means: where it goes, and whether it is a whiteout (OCI image
 * spec, layer.md, "Whiteouts").
 *
 * Threads: pure functions.
 */
#ifndef UNPACK_NAMES_H
#define UNPACK_NAMES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/*
 * A name without ".", "..", "//" and leading or trailing slashes; "x/.." goes as text, and ".." at
 * the root stays there.
 */
struct clean_name {
	char path[PATH_MAX]; /* "" for the root itself */
	size_t parent_len;   /* path[0..parent_len) is its directory, 0: the root */
	const char *base;    /* in path */
	bool had_dotdot;
};

/* Returns 0, or -ENAMETOOLONG when it is longer than any path can be; ret is garbage then. */
int clean_name(const char *name, struct clean_name *ret, struct err *err);

enum whiteout {
	WHITEOUT_NONE,
	WHITEOUT_NAME,	 /* ".wh.X": X goes */
	WHITEOUT_OPAQUE, /* ".wh..wh..opq": what lower layers put into the directory goes */
	WHITEOUT_META,	 /* other names in ".wh..wh.", or below one at the top: what AUFS kept */
	WHITEOUT_BAD,	 /* ".wh.", ".wh..", ".wh...": no name, or one that is another place */
};

/* *ret_hidden: of WHITEOUT_NAME, the X, in name. */
enum whiteout whiteout_of(const struct clean_name *name, const char **ret_hidden);

#endif
