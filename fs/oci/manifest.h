/*
 * A manifest of one image, or an index of manifests: OCI image spec, manifest.md, image-index.md,
 * and Docker's schema 2 twins.
 *
 *   manifest_parse -> m->config, m->entries ... -> manifest_free
 *
 * What it is follows from its members and must agree with the mediaType it states: a document that
 * has both layers and manifests means two things to two readers and is refused.
 *
 * Threads: a manifest does not change after manifest_parse(); any may read it.
 */
#ifndef OCI_MANIFEST_H
#define OCI_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "oci/descriptor.h"

#define MANIFEST_MAX_BYTES ((size_t)4 << 20)
#define MANIFEST_ENTRIES_MAX 4096
#define MANIFEST_DEPTH_MAX 4 /* indexes within indexes, for who walks them */

enum manifest_kind { MANIFEST_IMAGE, MANIFEST_INDEX };

struct manifest {
	enum manifest_kind kind;
	char mediatype[MEDIATYPE_MAX]; /* as stated, or as its members tell */
	struct descriptor config;      /* of MANIFEST_IMAGE */
	struct descriptor *entries;    /* layers, bottom first; or the manifests of an index */
	size_t n_entries;
	bool has_subject;
	struct descriptor subject; /* what this is attached to, where it is an artifact */
	json_t *doc;		   /* private */
};

/*
 * Parse a manifest or index.
 *
 * Returns 0, or
 *   -EBADMSG     not JSON, neither of the two, both of the two, or a member is wrong
 *   -EOPNOTSUPP  Docker's schema 1, or a digest other than sha256
 *   -E2BIG       over MANIFEST_MAX_BYTES, MANIFEST_ENTRIES_MAX or a limit of doc.h
 *   -ENOMEM
 */
int manifest_parse(const void *buf, size_t len, struct manifest **ret, struct err *err);

/* NULL is accepted; returns NULL. */
struct manifest *manifest_free(struct manifest *m);

/*
 * The entry of an index that suits the platform best, the first among equals; where none has a
 * platform that fits, the first that names none. NULL: none. Borrowed from m.
 */
const struct descriptor *manifest_select(const struct manifest *m, const struct platform *want);

#endif
