/*
 * Owner, mode, extended attributes, ACLs and times of what has just been made.
 *
 * The order is owner, attributes, mode, times: chown(2) clears set-id bits and file capabilities,
 * and an ACL changes the group bits. Nothing here follows a link: it works on descriptors, or on
 * the last name of a directory that is held open.
 *
 * Threads: one at a time.
 */
#ifndef UNPACK_ATTRS_H
#define UNPACK_ATTRS_H

#include <stdbool.h>
#include <sys/stat.h>

#include "base/err.h"
#include "unpack/dirs.h"
#include "unpack/omissions.h"
#include "unpack/tar.h"

struct attrs {
	bool rootless;
	uid_t uid; /* who we are on the file system */
	gid_t gid;
	struct omissions *omissions;
};

/* Times as they are set: from 1970 on, atime not before mtime. */
void attrs_times(const struct tar_entry *e, struct timespec ret[2]);

/* A file that was made in parent, open as fd, complete. */
int attrs_file(const struct attrs *a, const struct dir *parent, int fd, const struct tar_entry *e,
	       struct err *err);

/* A directory that has an entry; mode, times and default ACL are left to dirs_finish(). */
int attrs_dir(const struct attrs *a, struct dir *dir, const struct tar_entry *e, struct err *err);

/* A symbolic link, device or fifo called name in parent. */
int attrs_other(const struct attrs *a, const struct dir *parent, const char *name,
		const struct tar_entry *e, struct err *err);

#endif
