/* File names under /ingest and the refs that they stand for: there and back is the same. */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_text.h"
#include "mount/ref_name.h"
#include "store/ingest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Every ref has a name that the kernel takes, and only its own. */
static void check_ref(const char *ref)
{
	char name[REF_NAME_MAX + 1], again[INGEST_REF_MAX + 2];
	size_t n;

	memset(name, 'x', sizeof(name));
	ref_name_encode(ref, name);
	n = strnlen(name, sizeof(name));
	assert(n > 0 && n <= REF_NAME_MAX && strchr(name, '/') == NULL);
	assert(strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
	if (ref_name_is_hashed(ref)) {
		assert(n == 64);
		return;
	}
	assert(ref_name_decode(name, again, sizeof(again)) == 0);
	assert(strcmp(again, ref) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size), ref[INGEST_REF_MAX + 1], small[8];
	int r;

	check_ref(text);
	r = ref_name_decode(text, ref, sizeof(ref));
	assert(r == 0 || r == -EINVAL || r == -ENAMETOOLONG);
	if (r == 0) {
		assert(strlen(ref) <= strlen(text));
		check_ref(ref);
	}
	r = ref_name_decode(text, small, sizeof(small));
	assert(r < 0 || strlen(small) < sizeof(small));
	free(text);
	return 0;
}
