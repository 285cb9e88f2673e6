/*
 * The config.json of a bundle, from the config of an image: OCI image spec, conversion.md, and
 * runtime spec 1.0. `runc run` takes it as it is.
 *
 * Pure: who the user is, and where volumes lie, the caller has found out.
 *
 * Threads: pure functions.
 */
#ifndef OCI_RUNTIME_SPEC_H
#define OCI_RUNTIME_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "oci/config.h"
#include "oci/passwd.h"

struct runtime_volume {
	const char *destination; /* absolute, in the container */
	const char *source;	 /* relative to the bundle */
};

struct runtime_options {
	const struct process_user *user;
	char **args; /* instead of the image's Cmd, ended by NULL; NULL: none */
	const struct runtime_volume *volumes;
	size_t n_volumes;
	bool terminal; /* a terminal for the process */
	/*
	 * For who is not root: a user namespace in which host_uid and host_gid are root, the
	 * host's network, no cgroup limits.
	 */
	bool rootless;
	uint32_t host_uid, host_gid;
};

/*
 * @ret  out: the text, free() it
 *
 * Returns 0, -EINVAL (nothing to run: neither the image nor args name a command), -ENOMEM.
 */
int runtime_spec_make(const struct image_config *c, const struct runtime_options *o, char **ret,
		      struct err *err);

#endif
