#include "base/size.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

void size_format(uint64_t bytes, char *out, size_t n)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	double v = (double)bytes;
	size_t i = 0;

	while (v >= 1000.0 && i + 1 < sizeof(units) / sizeof(units[0])) {
		v /= 1000.0;
		i++;
	}
	(void)snprintf(out, n, "%.4g %s", v, units[i]);
}

int size_parse_plain(const char *s, uint64_t *ret)
{
	uint64_t v = 0;

	if (*s == '\0')
		return -EINVAL;
	for (; *s != '\0'; s++) {
		if (*s < '0' || *s > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return -ERANGE;
	}
	*ret = v;
	return 0;
}

int size_parse(const char *s, uint64_t *ret)
{
	static const char prefixes[] = "kmgtp";
	uint64_t whole = 0, mult = 1, part;
	double frac = 0, scale = 1;
	int digits = 0;

	for (; *s >= '0' && *s <= '9'; s++, digits++)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*s - '0'), &whole))
			return -ERANGE;
	if (*s == '.')
		for (s++; *s >= '0' && *s <= '9'; s++, digits++) {
			scale /= 10;
			frac += (*s - '0') * scale;
		}
	if (digits == 0)
		return -EINVAL;
	while (*s == ' ')
		s++;
	if (*s != '\0') {
		const char *p = strchr(prefixes, tolower((unsigned char)*s));

		if (p != NULL) {
			uint64_t base = tolower((unsigned char)s[1]) == 'i' ? 1024 : 1000;

			s += base == 1024 ? 2 : 1;
			for (const char *q = prefixes; q <= p; q++)
				mult *= base;
		}
		if (tolower((unsigned char)*s) == 'b')
			s++;
		if (*s != '\0')
			return -EINVAL;
	}
	if (__builtin_mul_overflow(whole, mult, &part) ||
	    __builtin_add_overflow(part, (uint64_t)(frac * (double)mult), &part))
		return -ERANGE;
	*ret = part;
	return 0;
}
