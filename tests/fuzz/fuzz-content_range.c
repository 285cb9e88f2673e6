/*
 * Header fields with numbers: what Content-Range yields holds together and, written again, means
 * the same; the others take anything.
 */
#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz_text.h"
#include "registry/fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct content_range *c)
{
	struct content_range again;
	char range[64], text[128];

	assert(c->has_range || c->has_total);
	assert(!c->has_range || c->first <= c->last);
	assert(!c->has_range || !c->has_total || c->last < c->total);
	(void)snprintf(range, sizeof(range), "%llu-%llu", (unsigned long long)c->first,
		       (unsigned long long)c->last);
	if (c->has_total)
		(void)snprintf(text, sizeof(text), "bytes %s/%llu", c->has_range ? range : "*",
			       (unsigned long long)c->total);
	else
		(void)snprintf(text, sizeof(text), "bytes %s/*", range);
	if (content_range_parse(text, &again) != 0)
		abort();
	assert(again.has_range == c->has_range && again.has_total == c->has_total);
	assert(again.first == c->first && again.last == c->last && again.total == c->total);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct content_range c;
	char type[32], *s = fuzz_text(data, size);
	uint64_t n = 0;

	if (content_range_parse(s, &c) == 0)
		check(&c);
	if (upload_range_parse(s, &n) == 0)
		assert(n <= (uint64_t)INT64_MAX + 1);
	(void)retry_after_parse_ms(s);
	mediatype_parse(s, type, sizeof(type));
	assert(memchr(type, '\0', sizeof(type)) != NULL);
	free(s);
	return 0;
}
