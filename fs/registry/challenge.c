#include "registry/challenge.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* RFC 9110 section 5.6.2 */
static bool is_token_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static const char *skip_blanks(const char *s)
{
	while (*s == ' ' || *s == '\t')
		s++;
	return s;
}

static const char *skip_token(const char *s)
{
	while (is_token_char(*s))
		s++;
	return s;
}

/* A token or a quoted string into out, cut at n; *fits tells. Returns what follows, or NULL. */
static const char *parse_value(const char *s, char *out, size_t n, bool *fits)
{
	size_t len = 0;

	*fits = true;
	if (*s != '"') {
		const char *end = skip_token(s);

		/* Quotes are forgotten around URLs and scopes: up to where the next one may begin.
		 */
		end += strcspn(end, ", \t\"");
		len = (size_t)(end - s);
		*fits = len < n;
		(void)snprintf(out, n, "%.*s", (int)(len < n ? len : 0), s);
		return end;
	}
	for (s++; *s != '"'; s++) {
		if (*s == '\\')
			s++;
		if (*s == '\0')
			return NULL;
		if (len < n - 1)
			out[len++] = *s;
		else
			*fits = false;
	}
	out[len] = '\0';
	return s + 1;
}

/* One "name = value" of the challenge, at its name. NULL: this is none. */
static const char *parse_param(const char *s, struct challenge *c, bool *bad)
{
	const char *end = skip_token(s), *after = skip_blanks(end);
	size_t len = (size_t)(end - s);
	char unused[sizeof(c->realm)], *out = unused;
	size_t n = sizeof(unused);
	bool fits;

	if (len == 0 || *after != '=')
		return NULL;
	if (len == 5 && strncasecmp(s, "realm", len) == 0) {
		out = c->realm;
		n = sizeof(c->realm);
	} else if (len == 7 && strncasecmp(s, "service", len) == 0) {
		out = c->service;
		n = sizeof(c->service);
	} else if (len == 5 && strncasecmp(s, "scope", len) == 0) {
		out = c->scope;
		n = sizeof(c->scope);
	} else if (len == 5 && strncasecmp(s, "error", len) == 0) {
		out = c->error;
		n = sizeof(c->error);
	}
	after = parse_value(skip_blanks(after + 1), out, n, &fits);
	if (!fits && out != unused)
		*bad = true;
	return after;
}

/* token68, at the blank behind the scheme: one word of padding-terminated characters. */
static const char *skip_token68(const char *s)
{
	const char *p = s;

	while (is_token_char(*p) || *p == '/')
		p++;
	while (*p == '=')
		p++;
	return p > s && (*skip_blanks(p) == ',' || *skip_blanks(p) == '\0') ? skip_blanks(p) : NULL;
}

static enum challenge_scheme scheme_of(const char *s, size_t len)
{
	if (len == 6 && strncasecmp(s, "Bearer", len) == 0)
		return CHALLENGE_BEARER;
	if (len == 5 && strncasecmp(s, "Basic", len) == 0)
		return CHALLENGE_BASIC;
	return CHALLENGE_NONE;
}

/* The parameters of one challenge; NULL: it cannot be read. */
static const char *parse_params(const char *s, struct challenge *c, bool *bad)
{
	for (;;) {
		const char *next;

		while (*s == ',' || *s == ' ' || *s == '\t')
			s++;
		if (*s == '\0')
			return s;
		next = skip_blanks(skip_token(s));
		if (*next != '=') /* a new scheme, or nothing that can stand here */
			return is_token_char(*s) ? s : NULL;
		s = parse_param(s, c, bad);
		if (s == NULL)
			return NULL;
	}
}

int challenge_parse(const char *s, struct challenge *c)
{
	while (*s == ',' || *s == ' ' || *s == '\t')
		s++;
	while (*s != '\0') {
		struct challenge one = {0};
		const char *end = skip_token(s), *params = NULL;
		bool bad = false;

		if (end == s)
			return -EINVAL;
		one.scheme = scheme_of(s, (size_t)(end - s));
		s = skip_blanks(end);
		if (s > end)
			params = skip_token68(s);
		s = parse_params(params != NULL ? params : s, &one, &bad);
		if (s != NULL && !bad && one.scheme > c->scheme &&
		    (one.scheme != CHALLENGE_BEARER || one.realm[0] != '\0'))
			*c = one;
		if (s == NULL)
			return -EINVAL;
	}
	return 0;
}
