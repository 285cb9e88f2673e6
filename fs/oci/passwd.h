/*
 * Who "User" of an image config is: the user database of the image decides, /etc/passwd and
 * /etc/group in it, passwd(5) and group(5). Pure: the caller has read the files.
 *
 * Threads: pure functions.
 */
#ifndef OCI_PASSWD_H
#define OCI_PASSWD_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define PASSWD_GROUPS_MAX 256
#define PASSWD_MAX_BYTES ((size_t)4 << 20)

struct process_user {
	uint32_t uid, gid;
	uint32_t groups[PASSWD_GROUPS_MAX]; /* beside gid, in the order of the file */
	size_t n_groups;
	char home[256]; /* "" where nobody says */
};

/*
 * Resolve "", "user", "user:group", each a name or a number; "" is root.
 *
 * A user that the database has brings its group, its home and the groups that list it, unless
 * the text names a group: then that one alone. A number that the database lacks is taken as it is,
 * with group 0. Lines that cannot be understood are passed over.
 *
 * @passwd, @group  bytes of the files; len 0 where there is none
 *
 * Returns 0, -ENOENT (a name that the database lacks; err says which) or -EINVAL (a number out of
 * range, a part that is empty).
 */
int passwd_resolve(const char *user, const char *passwd, size_t passwd_len, const char *group,
		   size_t group_len, struct process_user *ret, struct err *err);

#endif
