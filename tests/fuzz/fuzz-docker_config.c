/*
 * docker's config.json: what comes of it has no line end that could break out of a header.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "registry/credentials.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *s)
{
	assert(s == NULL || strpbrk(s, "\r\n") == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const hosts[] = {"docker.io", "quay.io", "localhost:5000"};
	struct credential c = {0};
	struct err err = {0};
	char helper[64];
	int r = credentials_parse((const char *)data, size, hosts[size % 3], "a/b", &c, helper,
				  sizeof(helper), &err);

	if (r < 0) {
		assert(err.code == -r && c.user == NULL && c.password == NULL);
		return 0;
	}
	assert(c.user != NULL || c.identity_token != NULL || c.bearer != NULL);
	check(c.user);
	check(c.password);
	check(c.identity_token);
	check(c.bearer);
	credential_done(&c);
	return 0;
}
