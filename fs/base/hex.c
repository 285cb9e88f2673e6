#include "base/hex.h"

#include <errno.h>

void hex_encode(const void *bytes, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = bytes;

	for (size_t i = 0; i < n; i++) {
		*out++ = digits[p[i] >> 4];
		*out++ = digits[p[i] & 15];
	}
	*out = '\0';
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

int hex_decode(const char *s, void *out, size_t n)
{
	unsigned char *p = out;

	for (size_t i = 0; i < 2 * n; i++)
		if (digit_value(s[i]) < 0)
			return -EINVAL;
	for (size_t i = 0; i < n; i++)
		p[i] = (unsigned char)(digit_value(s[2 * i]) * 16 + digit_value(s[2 * i + 1]));
	return 0;
}
