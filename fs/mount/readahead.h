/*
 * How far the kernel reads ahead in cached files of a mount.
 *
 * Threads: any.
 */
#ifndef MOUNT_READAHEAD_H
#define MOUNT_READAHEAD_H

#include <sys/types.h>

/* The device of what is mounted on path, without asking its daemon, which we may be; 0: unknown. */
dev_t readahead_device(const char *path);

/*
 * FUSE begins with 128 KiB, a request to the daemon each: a reader in order then waits for one
 * after the other. Root may ask for more (Documentation/ABI/testing/sysfs-class-bdi); what is more
 * already stays, and who may not is left with what there is.
 */
void readahead_raise(dev_t device);

#endif
