/*
 * What the files of fs/mount share: the state of a mount, node numbers, request helpers.
 *
 * An operation is two functions: one that works and knows no request, one (op_*) that replies
 * exactly once and touches nothing after. What may block (fsync, /proc, a commit) runs as a
 * job on m->work, not on the threads that read requests; but see blobs_unlink().
 */
#ifndef MOUNT_PRIVATE_H
#define MOUNT_PRIVATE_H

#define FUSE_USE_VERSION 312

#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/digest.h"
#include "base/workqueue.h"
#include "mount/blob_table.h"
#include "mount/failed_reads.h"
#include "mount/mount.h"
#include "mount/passthrough.h"
#include "mount/ref_tree.h"

struct watch;

/* Counters, shown by the status; tests wait for them and assert on them. */
struct counters {
	atomic_ullong opens_passthrough, opens_cached, remote_reads, remote_errors;
	atomic_ullong commits, commit_failures, lookups_remote;
};

struct mount {
	struct passthrough *passthrough; /* first: passthrough_attach() demands it */
	struct store *store;
	struct blob_source *source; /* NULL: none */
	struct fuse_session *session;
	struct blob_table *blobs;
	struct failed_reads failed_reads;
	struct ref_tree *refs;
	struct workqueue *work;
	struct workqueue *answers;     /* of the source: jobs that wait for nobody but the disk */
	struct blob_listener listener; /* of source's */
	struct watch *watch; /* NULL: deletions from outside are seen after blob_ttl alone */
	bool mounted, read_only;
	dev_t device;	       /* of the mount; 0: none */
	unsigned int max_read; /* of the mount option; 0: none */
	double blob_ttl;       /* seconds that the kernel may believe in a complete blob */
	struct stat root;      /* owner and times of what has none of its own */
	struct stat ingest;    /* who may write into /ingest: as the directory in the store says */
	uint64_t ino_salt;     /* makes inode numbers of ingests unlike any other file system's */
	void (*ready)(void *arg);
	void *ready_arg;
	int (*more_status)(void *arg, struct buf *out);
	void *more_status_arg;
	void (*grows)(void *arg);
	void *grows_arg;
	struct counters n;
};

/* Node numbers: fixed ones, then blobs and refs by kind in the high half. */
enum {
	INO_ROOT = FUSE_ROOT_ID,
	INO_BLOBS,
	INO_SHA256,
	INO_INGEST,
	INO_ACTIVE,
};
#define INO_KIND_BLOB (1ULL << 40)
#define INO_KIND_REF (2ULL << 40)
#define INO_KIND_MASK (3ULL << 40)

static inline bool ino_is_blob(fuse_ino_t ino)
{
	return (ino & INO_KIND_MASK) == INO_KIND_BLOB;
}

static inline bool ino_is_ref(fuse_ino_t ino)
{
	return (ino & INO_KIND_MASK) == INO_KIND_REF;
}

static inline struct mount *mount_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* What the kernel is told of an error: its own errnos pass, ours are translated. */
int errno_for_kernel(int r);

/* The inode number that stat(2) shows for a ref: the same for each name of it. */
uint64_t ref_ino(const struct mount *m, const char *ref);
uint64_t digest_ino(const struct digest *d);

/* Attributes of the fixed nodes; false: not one of them. */
bool fixed_attr(struct mount *m, fuse_ino_t ino, struct stat *st);

/* A request that is answered from a job. */
struct job {
	struct work work;
	struct mount *m;
	fuse_req_t req;
	pid_t pid;
	fuse_ino_t ino;
	struct fuse_file_info fi; /* a copy; zeros when there was none */
	void *arg;
	void (*run)(struct job *j); /* must reply; j is gone after it */
};
/* Always runs it, at once when memory is short; fi may be NULL. */
void job_start(fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi,
	       void (*run)(struct job *j), void *arg);

/* A directory listing made at opendir(); rows are added by dir_list_add. */
struct dir_list;
struct dir_list *dir_list_new(void);
struct dir_list *dir_list_free(struct dir_list *l);
int dir_list_add(struct dir_list *l, const char *name, uint64_t ino, mode_t type);
/* Fill a READDIR reply from entry number off on. */
void dir_list_reply(struct dir_list *l, fuse_req_t req, size_t size, off_t off, bool plus);

/* blobs.c */
void blobs_lookup(fuse_req_t req, const char *name);
void blobs_opendir(fuse_req_t req, struct fuse_file_info *fi);
void blobs_readdir(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi, bool plus);
void blobs_releasedir(fuse_req_t req, struct fuse_file_info *fi);
void blobs_unlink(fuse_req_t req, const char *name);
void blob_getattr(fuse_req_t req, fuse_ino_t ino, const struct fuse_file_info *fi);
void blob_open_file(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void blob_read_file(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi);
void blob_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
/* A blob appeared (commit) or went (rm, evicted, or a change from outside): called from a job. */
void blobs_appeared(struct mount *m, const struct digest *d);
void blobs_gone(struct mount *m, const struct digest *d);
/* The source is told that it is here: before the answer of the close() that brought it. */
void blobs_committed(struct mount *m, const struct digest *d);
/* Bytes of its pending node were wrong: struct blob_listener's. */
void blobs_spoilt(struct blob_listener *l, const struct digest *d);

/* refs.c: names and directories below /ingest; parent is INO_INGEST or a directory's node */
void refs_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void refs_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void refs_setattr(fuse_req_t req, fuse_ino_t ino, const struct stat *attr, int to_set,
		  struct fuse_file_info *fi);
void refs_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void refs_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void refs_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void refs_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void refs_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
/* The ref that name in directory parent stands for, into info; 0 or a negative errno. */
int refs_resolve(struct mount *m, fuse_ino_t parent, const char *name, struct ref_info *ret);
/* Fill an entry for the (existing) ref and count the lookup; 0 or a negative errno. */
int refs_entry(struct mount *m, const char *ref, struct fuse_entry_param *e);

/* ref_io.c: open files below /ingest */
void ref_create(fuse_req_t req, fuse_ino_t parent, const char *name, struct fuse_file_info *fi);
void ref_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ref_read(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi);
void ref_write(fuse_req_t req, const char *buf, size_t size, off_t off, struct fuse_file_info *fi);
void ref_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ref_fsync(fuse_req_t req, struct fuse_file_info *fi);
void ref_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);

/* active.c */
void active_open(fuse_req_t req, struct fuse_file_info *fi);
void active_read(fuse_req_t req, size_t size, off_t off, struct fuse_file_info *fi);
void active_release(fuse_req_t req, struct fuse_file_info *fi);

/* xattr.c */
void xattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void xattr_list(fuse_req_t req, fuse_ino_t ino, size_t size);
void xattr_set(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size);
void xattr_remove(fuse_req_t req, fuse_ino_t ino, const char *name);

/* ops.c: the table */
extern const struct fuse_lowlevel_ops mount_ops;

/* watch.c: tells of changes in blobs/sha256 made by others. NULL when it cannot be had. */
struct watch *watch_new(struct mount *m);
struct watch *watch_free(struct watch *w);

#endif
