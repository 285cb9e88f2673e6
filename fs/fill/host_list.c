#include "fill/host_list.h"

#include <stdio.h>
#include <string.h>

static bool has(const char *list, const char *host, size_t n)
{
	for (const char *at = list; *at != '\0';) {
		size_t len = strcspn(at, " ");

		if (len == n && memcmp(at, host, n) == 0)
			return true;
		at += len + (at[len] == ' ');
	}
	return false;
}

static void add(char *list, const char *host, size_t n)
{
	size_t len = strlen(list);

	if (n == 0 || has(list, host, n) || len + n + 2 > HOST_LIST_BYTES)
		return;
	if (len > 0)
		list[len++] = ' ';
	memcpy(list + len, host, n);
	list[len + n] = '\0';
}

void host_list_add(char list[HOST_LIST_BYTES], const char *host)
{
	add(list, host, strlen(host));
}

void host_list_subtract(char list[HOST_LIST_BYTES], const char *other)
{
	const char *gone = other;
	char all[HOST_LIST_BYTES];

	memcpy(all, list, sizeof(all));
	if (other == list)
		gone = all;
	list[0] = '\0';
	for (const char *at = all; *at != '\0';) {
		size_t len = strcspn(at, " ");

		if (!has(gone, at, len))
			add(list, at, len);
		at += len + (at[len] == ' ');
	}
}

bool host_list_first(const char *list, char out[HOST_LIST_BYTES])
{
	size_t n = strcspn(list, " ");

	(void)snprintf(out, HOST_LIST_BYTES, "%.*s", (int)n, list);
	return list[n] == ' ';
}
