/*
 * POSIX access control lists: from the text that tar archives hold (POSIX 1003.1e draft 17, 23.3.1,
 * and star's form of it, with a numeric id behind) to the value of the attributes
 * system.posix_acl_access and _default (linux/posix_acl_xattr.h). Threads: pure functions.
 */
#ifndef UNPACK_ACL_H
#define UNPACK_ACL_H

#include <stddef.h>
#include <stdint.h>

#define ACL_MAX_ENTRIES 1024
#define ACL_MAX_BYTES (4 + 8 * ACL_MAX_ENTRIES)

/*
 * Text to out[ACL_MAX_BYTES]: the length of the value, or -EINVAL (syntax), -ENOENT (a name that no
 * id stands beside: whose it is depends on the machine) or -E2BIG.
 */
int acl_from_text(const char *text, uint8_t *out);

#endif
