/* index.json of an OCI image layout, as any tool may have left it. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "store/image_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int look(void *arg, const struct image_entry *e)
{
	(void)arg;
	assert(strnlen(e->name, sizeof(e->name)) < sizeof(e->name));
	assert(strnlen(e->mediatype, sizeof(e->mediatype)) < sizeof(e->mediatype));
	return e->size == 7 ? 7 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err;
	int r = image_index_parse(data, size, look, NULL, &err);

	assert(r <= 0 || r == 7);
	return 0;
}
