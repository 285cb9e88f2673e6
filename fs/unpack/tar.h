/*
 * A tar archive, entry by entry: ustar and pax (POSIX.1-2017, pax, "ustar Interchange Format" and
 * "pax Header Block"), the older V7, GNU's (long names, sparse files, base-256 numbers) and star's.
 *
 *   tar_init(&t, next, arg) -> { tar_next(&t) -> tar_data(&t) ... } ... -> tar_done(&t)
 *
 * Names are bytes and stay as they are: no character set is applied to them. Owners are the
 * numeric ones. As in Go's archive/tar, which made nearly every layer there is, links, devices,
 * directories and fifos have no data, whatever their size field says, a global pax header is
 * passed over, and the archive may end without the two blocks of zeros.
 *
 * Threads: one at a time.
 */
#ifndef UNPACK_TAR_H
#define UNPACK_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/buf.h"
#include "base/err.h"
#include "unpack/bytes.h"
#include "unpack/pax.h"
#include "unpack/tar_sparse.h"

#define TAR_BLOCK_BYTES 512
#define TAR_MAX_SPECIAL ((size_t)1 << 20) /* of a pax header or a long name */

enum tar_type {
	TAR_FILE,
	TAR_LINK,
	TAR_SYMLINK,
	TAR_CHAR,
	TAR_BLOCK,
	TAR_DIR,
	TAR_FIFO,
};

struct tar_entry {
	enum tar_type type;
	const char *path; /* as in the archive */
	const char *link; /* target of a link; "" else */
	uint32_t mode;	  /* 07777 at most */
	uint32_t uid, gid;
	uint32_t major, minor;
	uint64_t size; /* of a file, holes included; 0 else */
	bool is_sparse;
	struct timespec mtime, atime; /* atime: {0} when unknown */
	const struct pax_xattr *xattrs;
	size_t n_xattrs;
	const char *acl_access, *acl_default; /* text, or NULL */
};

struct tar {
	struct bytes in;
	struct tar_entry entry;
	struct pax pax;
	struct tar_sparse sparse;
	struct buf long_path, long_link; /* GNU's L and K */
	bool has_long_path, has_long_link;
	char name[257], link[101]; /* from the header: prefix, '/', name, NUL */
	uint64_t data_left;	   /* of the entry, in the archive */
	uint32_t pad_left;
	size_t extent; /* of a sparse file, the one that data is at */
	uint64_t at;   /* where in the file data goes */
	bool ended;    /* by its end mark */
};

void tar_init(struct tar *t, bytes_next_fn *next, void *arg);
void tar_done(struct tar *t);

/*
 * The next entry, valid until the next call; what is left of the data before it is passed over.
 * Returns 1; 0 at the end; -EBADMSG, -E2BIG (a header of 1 MiB or a map of 256 Ki extents),
 * -EOPNOTSUPP (a kind of entry that is none of enum tar_type), or from next. When the entry's name
 * is known by then, tar_name() tells it.
 */
int tar_next(struct tar *t, const struct tar_entry **ret, struct err *err);

/* The name of the entry that tar_next() is at or has failed in; "" when it is unknown. */
const char *tar_name(const struct tar *t);

/*
 * More of the entry's data: *ret_n bytes at *ret_p belong at *ret_offset.
 * Returns 1; 0 when that was all; -EBADMSG when the archive ends before, or from next.
 */
int tar_data(struct tar *t, const uint8_t **ret_p, size_t *ret_n, uint64_t *ret_offset,
	     struct err *err);

/* After tar_next() gave 0: whether there was an end mark. */
bool tar_has_end_mark(const struct tar *t);

/* After tar_next() gave 0: read what follows, to the end of the input; 0, or from next. */
int tar_drain(struct tar *t, struct err *err);

#endif
