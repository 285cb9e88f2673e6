/*
 * The volumes of a bundle: directories beside its rootfs that are mounted over the paths which the
 * image names, so that what a container writes there stays out of its root filesystem.
 *
 *   volumes_make -> v->mounts ... -> volumes_done
 *
 * What the image has at such a path is moved into the volume, with its owner and mode. Paths are
 * resolved inside rootfs, whatever links the image has on the way. Where the runtime mounts a file
 * system of its own (/proc, /sys, /dev and below) there is no volume.
 *
 * Threads: main only.
 */
#ifndef DIST_VOLUMES_H
#define DIST_VOLUMES_H

#include "oci/config.h"
#include "oci/runtime_spec.h"

struct volumes {
	struct runtime_volume *mounts; /* outer ones before those within them */
	size_t n;
};

/*
 * @dir_fd  the bundle, with rootfs in it
 *
 * Returns 0, -EINVAL (a path that is no place for a volume), -ENOTDIR (the image has a file there)
 * or from the file system.
 */
int volumes_make(int dir_fd, const struct image_config *c, struct volumes *ret, struct err *err);

void volumes_done(struct volumes *v);

#endif
