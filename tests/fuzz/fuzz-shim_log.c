/*
 * What a runtime writes: log lines, and the object of `state`. Any bytes give a reason that is
 * terminated and fits, or none.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "shim/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char out[33], status[8];
	long r;

	if (json_log_reason((const char *)data, size, out, sizeof(out)) < 0)
		assert(out[0] == '\0');
	assert(memchr(out, '\0', sizeof(out)) != NULL);
	r = json_find_string((const char *)data, size, "status", status, sizeof(status));
	assert(r <= (long)size && memchr(status, '\0', sizeof(status)) != NULL);
	assert(r >= 0 || status[0] == '\0');
	return 0;
}
