/*
 * Image names as people type them, in the grammar of the distribution project's "reference":
 *
 *   redis                             docker.io/library/redis
 *   docker.io/library/redis:6
 *   localhost:5000/a/b@sha256:<hex>
 *   registry.example/team/app:v1@sha256:<hex>
 *
 * The first word is a host when it holds "." or ":", has a capital, or is "localhost"; else the
 * host is docker.io, whose one-word repositories lie under library/.
 *
 * Threads: pure functions.
 */
#ifndef OCI_REFERENCE_H
#define OCI_REFERENCE_H

#include <stdbool.h>

#include "base/digest.h"
#include "base/err.h"

#define REFERENCE_NAME_MAX 255 /* bytes of "host/repository" */
#define REFERENCE_TAG_MAX 128
#define REFERENCE_TEXT_MAX (REFERENCE_NAME_MAX + 1 + REFERENCE_TAG_MAX + 1 + DIGEST_TEXT_LEN + 1)
#define REFERENCE_DEFAULT_HOST "docker.io"
#define REFERENCE_DEFAULT_TAG "latest"

struct reference {
	char host[REFERENCE_NAME_MAX + 1];	 /* "docker.io", "localhost:5000", "[::1]:5000" */
	char repository[REFERENCE_NAME_MAX + 1]; /* "library/redis" */
	char tag[REFERENCE_TAG_MAX + 1];	 /* "" when none was given */
	bool has_digest;
	struct digest digest;
};

/*
 * Parse an image name. No tag is made up: see reference_set_default_tag().
 * Returns 0, -EINVAL (the message says what is wrong with it) or -EOPNOTSUPP (a digest of another
 * algorithm than sha256).
 */
int reference_parse(const char *text, struct reference *ret, struct err *err);

/*
 * Parse HOST/REPOSITORY, a source that blobs come from: the host must be there ("docker.io/redis"
 * is library/redis still), a tag or digest must not. Returns 0 or -EINVAL.
 */
int reference_parse_source(const char *text, struct reference *ret, struct err *err);

/* What has neither tag nor digest means "latest". */
void reference_set_default_tag(struct reference *r);

/* "host/repository[:tag][@digest]": the full name, which parses to the same again. */
void reference_format(const struct reference *r, char out[REFERENCE_TEXT_MAX]);

/* "host/repository" */
void reference_format_name(const struct reference *r, char out[REFERENCE_NAME_MAX + 1]);

#endif
