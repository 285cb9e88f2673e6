/*
 * WWW-Authenticate: whatever it holds, what is made of it is whole strings, a scheme that we know,
 * and for Bearer a realm.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_text.h"
#include "registry/challenge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct challenge *c = calloc(1, sizeof(*c));
	char *s = fuzz_text(data, size);

	if (c == NULL)
		abort();
	for (char *line = s, *next; line != NULL; line = next) {
		enum challenge_scheme before = c->scheme;

		next = strchr(line, '\n'); /* a field for each line */
		if (next != NULL)
			*next++ = '\0';
		(void)challenge_parse(line, c);
		assert(c->scheme >= before && c->scheme <= CHALLENGE_BEARER);
	}
	assert(memchr(c->realm, '\0', sizeof(c->realm)) != NULL);
	assert(memchr(c->service, '\0', sizeof(c->service)) != NULL);
	assert(memchr(c->scope, '\0', sizeof(c->scope)) != NULL);
	assert(memchr(c->error, '\0', sizeof(c->error)) != NULL);
	assert(c->scheme != CHALLENGE_BEARER || c->realm[0] != '\0');
	free(s);
	free(c);
	return 0;
}
