/*
 * The nodeids of blobs: which digest a nodeid names, and how often the kernel has looked it up.
 *
 * A digest has up to two nodes: one for while it is not complete here (pending; opened in
 * cached mode, unless opens wait for the whole blob) and one for the complete blob: the kernel
 * refuses one inode that is open both ways. 40 bytes a node and 4 a bucket, since 100,000 blobs may
 * be known.
 *
 *   blob_table_new -> blob_table_ref (+1 lookup) / blob_table_get / blob_table_forget
 *                  -> blob_table_free
 *
 * Threads: any. Locks: a leaf lock of its own.
 */
#ifndef MOUNT_BLOB_TABLE_H
#define MOUNT_BLOB_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/digest.h"

struct blob_table;

int blob_table_new(struct blob_table **ret);
struct blob_table *blob_table_free(struct blob_table *t);

/* Count one lookup of d; the node's number (> 0), or 0 when memory is short. */
uint32_t blob_table_ref(struct blob_table *t, const struct digest *d, bool pending);

/* false: no such node (a stale or invented nodeid). */
bool blob_table_get(struct blob_table *t, uint32_t node, struct digest *ret, bool *ret_pending);

/*
 * The pending node of d is no good any more: blob_table_get() knows it no longer, and the next
 * lookup of d makes another. Its number, or 0 when there is none.
 */
uint32_t blob_table_spoil(struct blob_table *t, const struct digest *d);

/* Whether the kernel knows that node of d. */
bool blob_table_has(struct blob_table *t, const struct digest *d, bool pending);

/* Take back count lookups of node n; the node is gone with the last one. */
void blob_table_forget(struct blob_table *t, uint32_t n, uint64_t count);

uint32_t blob_table_count(struct blob_table *t);

#endif
