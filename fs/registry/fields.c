#include "registry/fields.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* Decimal digits; returns what follows them, or NULL. */
static const char *parse_number(const char *s, uint64_t *ret)
{
	uint64_t v = 0;

	if (*s < '0' || *s > '9')
		return NULL;
	for (; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v) || v > INT64_MAX)
			return NULL;
	*ret = v;
	return s;
}

static const char *skip_blanks(const char *s)
{
	while (*s == ' ' || *s == '\t')
		s++;
	return s;
}

int content_range_parse(const char *s, struct content_range *ret)
{
	struct content_range v = {0};

	if (strncasecmp(s, "bytes", 5) != 0 || (s[5] != ' ' && s[5] != '\t'))
		return -EINVAL;
	s = skip_blanks(s + 5);
	if (*s == '*') {
		s++;
	} else {
		s = parse_number(s, &v.first);
		if (s == NULL || *s != '-')
			return -EINVAL;
		s = parse_number(s + 1, &v.last);
		if (s == NULL || v.last < v.first)
			return -EINVAL;
		v.has_range = true;
	}
	if (*s++ != '/')
		return -EINVAL;
	if (*s == '*') {
		s++;
	} else {
		s = parse_number(s, &v.total);
		if (s == NULL)
			return -EINVAL;
		v.has_total = true;
	}
	if (*skip_blanks(s) != '\0' || (v.has_range && v.has_total && v.last >= v.total) ||
	    (!v.has_range && !v.has_total))
		return -EINVAL;
	*ret = v;
	return 0;
}

int upload_range_parse(const char *s, uint64_t *ret_next)
{
	uint64_t first, last;

	s = skip_blanks(s);
	if (strncasecmp(s, "bytes=", 6) == 0)
		s += 6;
	s = parse_number(s, &first);
	if (s == NULL || *s != '-' || first != 0)
		return -EINVAL;
	s = parse_number(s + 1, &last);
	if (s == NULL || *skip_blanks(s) != '\0')
		return -EINVAL;
	*ret_next = last == 0 ? 0 : last + 1;
	return 0;
}

uint64_t retry_after_parse_ms(const char *s)
{
	uint64_t v;
	const char *end = parse_number(skip_blanks(s), &v);
	time_t date;

	if (end != NULL && *skip_blanks(end) == '\0')
		return v > UINT32_MAX ? (uint64_t)UINT32_MAX * 1000 : v * 1000;
	date = curl_getdate(s, NULL);
	if (date == -1 || date <= time(NULL))
		return 0;
	return (uint64_t)(date - time(NULL)) * 1000;
}

void mediatype_parse(const char *s, char *out, size_t n)
{
	size_t len;

	s = skip_blanks(s);
	len = strcspn(s, " \t;,");
	if (len >= n)
		len = 0;
	for (size_t i = 0; i < len; i++)
		out[i] = (char)tolower((unsigned char)s[i]);
	out[len] = '\0';
}
