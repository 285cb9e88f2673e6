#include "dist/root.h"

#include <stdlib.h>

#include "dist/dist.h"

const char *root_default(void)
{
	const char *s = getenv("CONTAINERD_DIST_CONTENT_STORE"); /* NOLINT(concurrency-mt-unsafe) */

	return s != NULL && s[0] != '\0' ? s : DIST_DEFAULT_ROOT;
}

int root_open(const struct cli_program *p, const char *root, unsigned int flags, struct store **ret)
{
	struct err err = {0};
	int r = store_open(root, flags, ret, &err);

	return r < 0 ? cli_fail(p, NULL, &err, r) : CLI_OK;
}
