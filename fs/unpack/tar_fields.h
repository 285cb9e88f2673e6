/*
 * The fields of a tar header block. Threads: pure functions.
 */
#ifndef UNPACK_TAR_FIELDS_H
#define UNPACK_TAR_FIELDS_H

#include <stddef.h>
#include <stdint.h>

/* Offsets and sizes: POSIX.1-2017, pax, "ustar Header Block". */
enum {
	TAR_AT_NAME = 0,
	TAR_AT_MODE = 100,
	TAR_AT_UID = 108,
	TAR_AT_GID = 116,
	TAR_AT_SIZE = 124,
	TAR_AT_MTIME = 136,
	TAR_AT_CHECKSUM = 148,
	TAR_AT_TYPE = 156,
	TAR_AT_LINK = 157,
	TAR_AT_MAGIC = 257,
	TAR_AT_MAJOR = 329,
	TAR_AT_MINOR = 337,
	TAR_AT_PREFIX = 345,
	TAR_AT_GNU_ATIME = 345, /* GNU tar manual, "Basic Tar Format" */
	TAR_AT_STAR_ATIME = 476,
	TAR_AT_STAR_MAGIC = 508,
};

enum tar_dialect { TAR_V7, TAR_USTAR, TAR_GNU, TAR_STAR };

enum tar_dialect tar_dialect(const uint8_t *block);

/* Whether the checksum is right, of the bytes as unsigned or as signed (old tars) numbers. */
int tar_checksum_ok(const uint8_t *block);

/*
 * A number: octal digits, in spaces and NULs, or base 256 when the first bit is set (GNU).
 * An empty field is 0. Returns 0, -EINVAL or -ERANGE.
 */
int tar_number(const uint8_t *p, size_t n, int64_t *ret);

#endif
