/*
 * The nodeids below /ingest: files (a ref each) and the directories that users make so that
 * `mkdir -p ingest/docker.io/library` lets them write refs with slashes by path.
 *
 * Directories live here alone, not on disk; a ref's prefix up to and with a '/' is a
 * directory's name. Files are nodes while the kernel knows them; that a ref exists is the
 * store's knowledge.
 *
 * Threads: any. Locks: a leaf lock of its own.
 */
#ifndef MOUNT_REF_TREE_H
#define MOUNT_REF_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "store/ingest.h"

struct ref_tree;

struct ref_info {
	bool is_dir;
	char ref[INGEST_REF_MAX + 2]; /* of a directory: its prefix, with the '/' at the end */
};

int ref_tree_new(struct ref_tree **ret);
struct ref_tree *ref_tree_free(struct ref_tree *t);

/* Count one lookup of ref (dir: of the directory with that prefix); its id, 0: no memory. */
uint32_t ref_tree_ref(struct ref_tree *t, const char *ref, bool is_dir);
bool ref_tree_get(struct ref_tree *t, uint32_t id, struct ref_info *ret);
void ref_tree_forget(struct ref_tree *t, uint32_t id, uint64_t n);
size_t ref_tree_count(struct ref_tree *t); /* nodes: known to the kernel, made, or open */

/* Directories, by prefix. -EEXIST; -ENOENT, -ENOTEMPTY (a directory is in it). */
int ref_tree_mkdir(struct ref_tree *t, const char *prefix);
int ref_tree_rmdir(struct ref_tree *t, const char *prefix);
bool ref_tree_is_dir(struct ref_tree *t, const char *prefix);

/*
 * Whether ref, which begins with prefix, lies in a directory made below prefix ("a/" lies
 * between "" and "a/b"): it is listed there then.
 */
bool ref_tree_is_deeper(struct ref_tree *t, const char *prefix, const char *ref);

/* Calls fn with the name of every directory made directly in prefix. */
int ref_tree_subdirs(struct ref_tree *t, const char *prefix, int (*fn)(void *arg, const char *name),
		     void *arg);

/*
 * The one open writer of a ref: put it (-EBUSY when there is one; the id must be known), take it
 * away (no other than writer). ref_tree_writer() calls ref() on it before it can go, and returns
 * it, or NULL.
 */
struct ingest_file;
int ref_tree_set_writer(struct ref_tree *t, uint32_t id, struct ingest_file *writer);
struct ingest_file *ref_tree_writer(struct ref_tree *t, const char *ref,
				    struct ingest_file *(*ref_fn)(struct ingest_file *f));
void ref_tree_clear_writer(struct ref_tree *t, const char *ref, const struct ingest_file *writer);

#endif
