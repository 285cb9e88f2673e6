/* Digests, alone and at the end of a ref: what parses is written to the same text again. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "fuzz_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = fuzz_text(data, size), hex[DIGEST_HEX_LEN + 1];
	struct digest d, at_end;
	struct err err;

	if (digest_parse(text, &d, &err) == 0) {
		assert(strcmp(digest_text(&d).s, text) == 0);
		assert(digest_from_ref(text, &at_end) && digest_equal(&d, &at_end));
	} else {
		assert(err.msg[0] != '\0' && strchr(err.msg, '\n') == NULL);
	}
	if (digest_from_ref(text, &d)) {
		const char *end = text + strlen(text) - DIGEST_TEXT_LEN;

		assert(strlen(text) >= DIGEST_TEXT_LEN && strcmp(end, digest_text(&d).s) == 0);
		assert(end == text || end[-1] == '@');
	}
	if (digest_parse_hex(text, &d) == 0) {
		digest_hex(&d, hex);
		assert(strcmp(hex, text) == 0);
	}
	free(text);
	return 0;
}
