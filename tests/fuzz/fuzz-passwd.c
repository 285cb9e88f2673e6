/* The user database of an image: input is "user\0passwd\0group". */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "oci/passwd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *end = text + size, *passwd, *group;
	struct process_user u;
	struct err err;

	passwd = size > 0 ? memchr(text, '\0', size) : NULL;
	if (passwd == NULL)
		return 0;
	passwd++;
	group = memchr(passwd, '\0', (size_t)(end - passwd));
	group = group != NULL ? group + 1 : end;
	if (passwd_resolve(text, passwd, (size_t)(group - passwd), group, (size_t)(end - group), &u,
			   &err) < 0)
		return 0;
	assert(u.n_groups <= PASSWD_GROUPS_MAX && strnlen(u.home, sizeof(u.home)) < sizeof(u.home));
	for (size_t i = 0; i < u.n_groups; i++)
		assert(u.groups[i] != u.gid);
	return 0;
}
