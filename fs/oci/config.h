/*
 * The config of an image: what it runs, on what, and of which layers it is made. OCI image spec,
 * config.md; Docker's is the same document with more members, which are passed over.
 *
 *   image_config_parse -> c->... -> image_config_free
 *
 * Threads: a config does not change after image_config_parse(); any may read it.
 */
#ifndef OCI_CONFIG_H
#define OCI_CONFIG_H

#include <stdbool.h>
#include <stddef.h>

#include "base/digest.h"
#include "base/err.h"
#include "oci/platform.h"

#define IMAGE_CONFIG_MAX_BYTES ((size_t)4 << 20)
#define IMAGE_CONFIG_LIST_MAX 16384 /* entries of each list in it */
#define IMAGE_CONFIG_TEXT_MAX                                               \
	((size_t)128 << 10) /* bytes of a string: exec's own MAX_ARG_STRLEN \
			     */

/* Strings of the config, which owns them; a NULL stands behind the last. */
struct image_strings {
	const char **s;
	size_t n;
};

struct image_history {
	const char *created, *created_by, *comment, *author; /* "" when absent */
	bool empty_layer;				     /* a step that made no layer */
};

struct image_config {
	struct platform platform;
	const char *created, *author; /* "" when absent, as all strings here */
	const char *user, *working_dir, *stop_signal;
	struct image_strings entrypoint, cmd, env;
	struct image_strings volumes, exposed_ports; /* the keys, in the order of the document */
	struct image_strings label_keys, label_values;
	struct digest *diff_ids; /* of the layers, bottom first */
	size_t n_diff_ids;
	struct image_history *history; /* oldest first */
	size_t n_history;
	json_t *doc; /* private */
};

/*
 * Parse the config of an image.
 *
 * Returns 0, or
 *   -EBADMSG     not JSON, a member has the wrong type, no rootfs of type "layers"
 *   -EOPNOTSUPP  a diffID other than sha256
 *   -E2BIG       over a limit above or of doc.h
 *   -ENOMEM
 */
int image_config_parse(const void *buf, size_t len, struct image_config **ret, struct err *err);

/* NULL is accepted; returns NULL. */
struct image_config *image_config_free(struct image_config *c);

#endif
