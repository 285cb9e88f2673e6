/*
 * A buffer of the calling thread's for the bytes of a reply, kept from one to the next. What
 * libfuse allocates for each (fuse_reply_data() without splice) is unmapped behind it, and costs a
 * page fault for each 4 KiB of what is read.
 *
 * Threads: each has its own, which ends with it.
 */
#ifndef MOUNT_REPLY_BUF_H
#define MOUNT_REPLY_BUF_H

#include <stddef.h>

/* n bytes, valid until the thread's next call; NULL: out of memory. */
void *reply_buf(size_t n);

#endif
