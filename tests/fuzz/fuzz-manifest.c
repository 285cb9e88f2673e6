/* Manifests and indexes, and the choice among the entries of an index. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "oci/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct descriptor *d;
	struct manifest *m = NULL;
	struct platform host;
	struct err err;

	if (manifest_parse(data, size, &m, &err) < 0)
		return 0;
	platform_host(&host);
	d = manifest_select(m, &host);
	assert(d == NULL || m->kind == MANIFEST_INDEX);
	assert(m->n_entries <= MANIFEST_ENTRIES_MAX);
	for (size_t i = 0; i < m->n_entries; i++) {
		char text[PLATFORM_TEXT_MAX];

		assert(mediatype_is_valid(m->entries[i].mediatype));
		platform_format(&m->entries[i].platform, text);
		for (size_t k = 0; k <= DESCRIPTOR_URLS_MAX; k++)
			if (descriptor_url(&m->entries[i], k) == NULL)
				break;
	}
	manifest_free(m);
	return 0;
}
