/*
 * The directories of a tree that is being unpacked, held open as long as they are in use.
 *
 *   dirs_init(&d, root_fd) -> { dirs_walk(&d) -> use dir->fd -> dir_unpin(dir) } ...
 *                          -> dirs_finish(&d) -> dirs_done(&d)
 *
 * A directory is reached from the root one name at a time, each opened from the descriptor of the
 * one before without following a link; links are read and followed here, ".." goes to the directory
 * that one came from. So nobody who renames things inside the tree meanwhile can make us leave it.
 *
 * What must be set last on a directory (mode, times, default ACL) is kept with it and set when it
 * is closed: some hundreds are open, the one that was left alone longest goes first. A directory
 * that was there before, or that comes back later, keeps the times that it had: what a tree looks
 * like depends on its layers, not on when they were applied.
 *
 * Threads: one at a time.
 */
#ifndef UNPACK_DIRS_H
#define UNPACK_DIRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/err.h"
#include "base/list.h"
#include "unpack/key_set.h"

#define DIRS_MAX_OPEN 320
#define DIRS_MAX_DEPTH 256
#define DIRS_MAX_LINKS 40 /* followed in one walk, as the kernel's MAXSYMLINKS */

struct dir {
	struct list lru;      /* in dirs->lru */
	struct list siblings; /* in parent->children */
	struct list children;
	struct dir *parent; /* NULL: the root */
	int fd;
	unsigned int depth, pins;
	dev_t dev;
	ino_t ino;
	mode_t mode; /* as it is on disk now */
	bool is_new; /* made by this layer: nothing in it is of a lower one */
	bool named;  /* its name is in the set as this layer's */
	bool has_default_acl;
	bool is_changed; /* its times have been, too */
	/* to be set at the end */
	bool end_mode, end_times;
	mode_t final_mode;
	struct timespec times[2];
	void *default_acl; /* value of system.posix_acl_default */
	size_t default_acl_len;
	char name[];
};

struct dirs {
	struct list lru; /* least recently used first, without the root */
	unsigned int n_open;
	struct dir *root;
	struct key_set *set;
	/* Directories of ours that we may not enter are opened up for the time being. */
	bool unprivileged;
	/* The last walk, for the next one to the same place. */
	struct dir *last;
	char *last_path;
	size_t last_len;
};

/* root_fd is duplicated; set is borrowed. Returns 0 or a negative errno. */
int dirs_init(struct dirs *d, int root_fd, struct key_set *set, struct err *err);

enum dirs_flags {
	DIRS_CREATE = 1 << 0, /* make what is missing, 0755 */
	DIRS_MARK = 1 << 1,   /* names on the way are this layer's */
};

/*
 * The directory at path, pinned; path as clean_name() leaves it, len bytes, 0: the root.
 * Returns 0; -ENOENT (without DIRS_CREATE), -ENOTDIR, -ELOOP, -E2BIG (depth), -ENAMETOOLONG or from
 * system calls.
 */
int dirs_walk(struct dirs *d, const char *path, size_t len, unsigned int flags, struct dir **ret,
	      struct err *err);

/*
 * The directory called name in parent, pinned; a link is none.
 * Returns 0, -ENOENT, -ENOTDIR, -E2BIG, or from system calls.
 */
int dirs_child(struct dirs *d, struct dir *parent, const char *name, struct dir **ret,
	       struct err *err);

/*
 * mkdirat(2) with mode 0700 and then dirs_child(). -EEXIST when there is something.
 */
int dirs_make(struct dirs *d, struct dir *parent, const char *name, struct dir **ret,
	      struct err *err);

void dir_unpin(struct dir *dir);

/* Put down that name in dir is of this layer. 0, -ENOMEM or -E2BIG. */
int dirs_mark(struct dirs *d, const struct dir *dir, const char *name, struct err *err);

/* dir has an entry of its own in this layer: its mode and times are these, at the end. */
void dir_set_final(struct dir *dir, mode_t mode, const struct timespec times[2]);

/* The same for the value of system.posix_acl_default. */
int dir_set_default_acl(struct dir *dir, const void *value, size_t len, struct err *err);

/* name in parent has been or will be removed: what is held of it is let go. */
void dirs_forget(struct dirs *d, struct dir *parent, const char *name);

/* Set on all that is open what must be set at the end; the first failure is returned. */
int dirs_finish(struct dirs *d, struct err *err);

void dirs_done(struct dirs *d);

#endif
