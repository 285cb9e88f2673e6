/*
 * ChainIDs: the name of what the first n layers make together. OCI image spec, config.md "Layer
 * ChainID": the first is its diffID; the next is the SHA-256 of "<ChainID before> <diffID>".
 *
 * Threads: pure functions.
 */
#ifndef OCI_CHAINID_H
#define OCI_CHAINID_H

#include <stddef.h>

#include "base/digest.h"

/* The ChainID once diff_id lies on top of parent (NULL: nothing). Returns 0 or -ENOMEM. */
int chainid_next(const struct digest *parent, const struct digest *diff_id, struct digest *ret);

/* The ChainID of n >= 1 layers, bottom first. Returns 0, -EINVAL (n is 0) or -ENOMEM. */
int chainid_of(const struct digest *diff_ids, size_t n, struct digest *ret);

#endif
