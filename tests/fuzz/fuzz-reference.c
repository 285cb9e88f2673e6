/* Image names: what parses is written out in full and parses to the same again. */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_text.h"
#include "oci/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size), full[REFERENCE_TEXT_MAX];
	struct reference r, again;
	struct err err;

	if (reference_parse(text, &r, &err) == 0) {
		reference_format(&r, full);
		assert(reference_parse(full, &again, &err) == 0);
		assert(strcmp(r.host, again.host) == 0 && strcmp(r.tag, again.tag) == 0);
		assert(strcmp(r.repository, again.repository) == 0);
		assert(r.has_digest == again.has_digest);
		assert(strpbrk(full, " \t\r\n?#%\\\"'") == NULL); /* it goes into URLs */
	}
	if (reference_parse_source(text, &r, &err) == 0) {
		reference_format_name(&r, full);
		assert(reference_parse_source(full, &again, &err) == 0);
	}
	free(text);
	return 0;
}
