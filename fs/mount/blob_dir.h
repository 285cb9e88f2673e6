/*
 * The blobs on disk, row by row, read ahead: while the rows of one batch are told to the kernel,
 * a job reads the next batch's names and attributes. Each batch is sorted by inode, since stat(2)
 * in that order reads a cold inode table once, front to back.
 *
 *   blob_dir_new -> blob_dir_row (0, 1, 2 ...) -> blob_dir_free
 *
 * Rows that vanish while the directory is open may still be listed, new ones may be missed, as with
 * any readdir(3). Memory: two batches, some 90 KB, however many blobs.
 *
 * Threads: one caller at a time. Never waits for a job that has not started: then it does the
 * work itself, so that a listing does not queue behind commits.
 */
#ifndef MOUNT_BLOB_DIR_H
#define MOUNT_BLOB_DIR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/workqueue.h"
#include "store/layout.h"

struct blob_dir;

struct blob_dir_row {
	struct digest digest;
	ino_t ino;
	bool gone;	/* it vanished between readdir and stat */
	struct stat st; /* when asked for */
};

/* work: runs the reading ahead; both outlive the directory. -ENOMEM or from open(2). */
int blob_dir_new(struct store *s, struct workqueue *work, struct blob_dir **ret);

/*
 * Row number n, with attributes when want_stat; valid until the next call. NULL behind the last
 * one; then *ret_rows is how many there are. Going back starts over.
 */
const struct blob_dir_row *blob_dir_row(struct blob_dir *d, uint64_t n, bool want_stat,
					uint64_t *ret_rows);

struct blob_dir *blob_dir_free(struct blob_dir *d);

#endif
