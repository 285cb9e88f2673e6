/*
 * The records of a pax extended header: POSIX.1-2017, pax, "pax Extended Header"; those of star
 * (SCHILY.*), GNU tar (GNU.sparse.*) and libarchive (LIBARCHIVE.xattr.*) beside them.
 *
 *   pax_init(&p) -> { buf_add(&p.raw) -> pax_parse(&p) -> fields -> pax_reset(&p) } ... ->
 * pax_done(&p)
 *
 * Fields point into raw. Of a key that comes twice the last counts; an empty value is as none.
 *
 * Threads: one at a time.
 */
#ifndef UNPACK_PAX_H
#define UNPACK_PAX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/buf.h"
#include "base/err.h"
#include "unpack/tar_sparse.h"

struct pax_xattr {
	const char *name;
	const char *value;
	size_t len;
};

struct pax {
	struct buf raw;
	const char *path, *link; /* NULL: not given, as with all below */
	const char *acl_access, *acl_default;
	bool has_size, has_uid, has_gid, has_mtime, has_atime;
	uint64_t size, uid, gid;
	struct timespec mtime, atime;
	struct pax_xattr *xattrs;
	size_t n_xattrs, cap_xattrs;
	/* GNU sparse formats 0.0, 0.1 and 1.0 (GNU tar manual, "Storing Sparse Files") */
	const char *sparse_name;
	const char *sparse_map;
	bool has_sparse_size;
	uint64_t sparse_size; /* with holes */
	uint64_t sparse_major, sparse_minor;
	bool has_sparse_version;
	bool has_sparse_pairs; /* 0.0: they are in the tar_sparse given to pax_parse() */
};

void pax_init(struct pax *p, size_t max_bytes);
void pax_reset(struct pax *p); /* forget what was parsed, keep the storage */
void pax_done(struct pax *p);

/*
 * Parse raw, which changes it. sparse takes the pairs of format 0.0.
 * Returns 0, -EBADMSG, -E2BIG (too many extents) or -ENOMEM.
 */
int pax_parse(struct pax *p, struct tar_sparse *sparse, struct err *err);

#endif
