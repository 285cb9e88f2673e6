/*
 * docker's config.json as login and logout change it: what we make of it can be read again, and a
 * user that was entered is found, until it is taken out.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dist/auth_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Without host, and once more without it: NULL when it was not there. */
static char *without(const char *text, size_t len, const char *host)
{
	char *out = NULL, *again = NULL;
	struct err err;

	assert(auth_text_remove(text, len, host, &out, &err) == 0);
	if (out != NULL)
		assert(auth_text_remove(out, strlen(out), host, &again, &err) == 0);
	assert(again == NULL);
	return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const hosts[] = {"docker.io", "quay.io", "localhost:5000"};
	const char *text = (const char *)data, *host = hosts[size % 3];
	char helper[64], *with = NULL, *left;
	struct err err = {0};
	int r = auth_text_set(text, size, host, "me", "pass:word", &with, &err);

	if (r < 0) {
		assert(err.code == -r && with == NULL);
		assert(auth_text_helper(text, size, host, helper, sizeof(helper), &err) < 0);
		return 0;
	}
	r = auth_text_helper(with, strlen(with), host, helper, sizeof(helper), &err);
	assert(r < 0 || strlen(helper) < sizeof(helper));
	free(without(text, size, host));
	left = without(with, strlen(with), host);
	assert(left != NULL); /* it was there */
	free(left);
	free(with);
	return 0;
}
