/*
 * Where the data of a sparse file goes: ascending extents, the rest is holes.
 *
 *   tar_sparse_init(&s) -> tar_sparse_add_number ... -> tar_sparse_check -> s.extents
 *   tar_sparse_reset(&s) for the next file; tar_sparse_done(&s)
 *
 * Threads: one at a time.
 */
#ifndef UNPACK_TAR_SPARSE_H
#define UNPACK_TAR_SPARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "unpack/bytes.h"

#define TAR_SPARSE_MAX ((size_t)1 << 18) /* extents: 4 MiB */

struct tar_extent {
	uint64_t offset, length;
};

struct tar_sparse {
	struct tar_extent *extents;
	size_t n, cap;
	bool half; /* an offset is there, its length is not */
};

void tar_sparse_init(struct tar_sparse *s);
void tar_sparse_reset(struct tar_sparse *s);
void tar_sparse_done(struct tar_sparse *s);

/* An offset, then its length, and so on. 0, -E2BIG or -ENOMEM. */
int tar_sparse_add_number(struct tar_sparse *s, uint64_t n, struct err *err);

/* GNU 0.1: "offset,length,offset,length". 0, -EBADMSG, or as above. */
int tar_sparse_add_list(struct tar_sparse *s, const char *list, struct err *err);

/*
 * GNU 1.0: the map stands in front of the data: decimal numbers, a newline behind each, their
 * count first, filled up to whole blocks. *data_left: bytes of the member, less what was read.
 */
int tar_sparse_read_map(struct tar_sparse *s, struct bytes *in, uint64_t *data_left,
			struct err *err);

/* Ascending, within size, and data bytes in all: 0 or -EBADMSG. */
int tar_sparse_check(const struct tar_sparse *s, uint64_t size, uint64_t data, struct err *err);

#endif
