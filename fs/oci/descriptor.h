/*
 * A descriptor: what a blob is, how large, and its digest. OCI image spec, descriptor.md.
 *
 * Threads: pure functions; a descriptor is a value, its urls are borrowed from the document it
 * came from (struct manifest) and may be read as long as that lives.
 */
#ifndef OCI_DESCRIPTOR_H
#define OCI_DESCRIPTOR_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"
#include "oci/mediatype.h"
#include "oci/platform.h"

#define DESCRIPTOR_URLS_MAX 16
#define DESCRIPTOR_URL_MAX_LEN 2048

struct descriptor {
	char mediatype[MEDIATYPE_MAX];
	struct digest digest;
	uint64_t size;
	struct platform platform; /* os "" when it has none */
	const json_t *urls;	  /* array of strings, or NULL; see descriptor_url() */
	char ref_name[256];	  /* annotation org.opencontainers.image.ref.name, or "" */
};

/*
 * Check and take the descriptor in the object o; ret borrows its urls.
 * Returns 0, -EBADMSG (a member is missing or has the wrong type, the digest is none), -EOPNOTSUPP
 * (the digest is of another algorithm) or -E2BIG.
 */
int descriptor_from_json(const json_t *o, struct descriptor *ret, struct err *err);

/* The n-th URL where the blob may be had without a registry, NULL past the last. */
const char *descriptor_url(const struct descriptor *d, size_t n);

#endif
