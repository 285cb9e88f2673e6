/*
 * The entries of a layer onto a directory: whiteouts, what replaces what, what is made.
 *
 *   layer_apply(root_fd, next, arg, options, ...) reads the tar stream to its end
 *
 * Threads: one at a time for a root_fd.
 */
#ifndef UNPACK_LAYER_H
#define UNPACK_LAYER_H

#include <stdint.h>

#include "base/err.h"
#include "unpack/bytes.h"
#include "unpack/omissions.h"
#include "unpack/unpack.h"

/*
 * @next     gives the unpacked stream
 * @ret_n    out: entries, whiteouts included
 *
 * Returns 0 or as unpack_layer(); err names the entry.
 */
int layer_apply(int root_fd, bytes_next_fn *next, void *arg, const struct unpack_options *options,
		struct omissions *omissions, uint64_t *ret_n, struct err *err);

#endif
