/*
 * Replies of token servers: a token is visible ASCII and lives for a while, not for ever.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "registry/token_reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = {0};
	char *token = NULL;
	uint64_t life_ms = 0;
	int r = token_reply_parse((const char *)data, size, &token, &life_ms, &err);

	if (r < 0) {
		assert(token == NULL && err.code == -r);
		return 0;
	}
	assert(token[0] != '\0' && life_ms <= 86400000);
	for (const char *s = token; *s != '\0'; s++)
		assert(*s > 0x20 && *s < 0x7f);
	free(token);
	return 0;
}
