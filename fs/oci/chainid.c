#include "oci/chainid.h"

#include <errno.h>
#include <stdio.h>

int chainid_next(const struct digest *parent, const struct digest *diff_id, struct digest *ret)
{
	char text[2 * DIGEST_TEXT_LEN + 2];
	int n;

	if (parent == NULL) {
		*ret = *diff_id;
		return 0;
	}
	n = snprintf(text, sizeof(text), "%s %s", digest_text(parent).s, digest_text(diff_id).s);
	return digest_of(text, (size_t)n, ret);
}

int chainid_of(const struct digest *diff_ids, size_t n, struct digest *ret)
{
	struct digest chain;
	int r = n == 0 ? -EINVAL : 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = chainid_next(i > 0 ? &chain : NULL, &diff_ids[i], &chain);
	if (r == 0)
		*ret = chain;
	return r;
}
