#include "shim/json.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* ---- writing ---- */

/* The length of the UTF-8 sequence at s (RFC 3629), 0 when it is none. */
static size_t utf8_length(const unsigned char *s)
{
	static const struct {
		unsigned char mask, lead;
		size_t n;
		uint32_t least;
	} forms[] = {{0x80, 0, 1, 0},
		     {0xe0, 0xc0, 2, 0x80},
		     {0xf0, 0xe0, 3, 0x800},
		     {0xf8, 0xf0, 4, 0x10000}};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		uint32_t c = s[0] & (unsigned char)~forms[i].mask;

		if ((s[0] & forms[i].mask) != forms[i].lead)
			continue;
		for (size_t k = 1; k < forms[i].n; k++) {
			if ((s[k] & 0xc0) != 0x80)
				return 0;
			c = c << 6 | (s[k] & 0x3fU);
		}
		if (c < forms[i].least || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
			return 0;
		return forms[i].n;
	}
	return 0;
}

int json_add_string(struct buf *b, const char *s)
{
	int r = buf_add(b, "\"", 1);

	while (r == 0 && *s != '\0') {
		size_t n = utf8_length((const unsigned char *)s);

		if (n == 0)
			return -EINVAL;
		if (*s == '"' || *s == '\\')
			r = buf_printf(b, "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			r = buf_printf(b, "\\u%04x", (unsigned int)*s);
		else
			r = buf_add(b, s, n);
		s += n;
	}
	return r < 0 ? r : buf_add(b, "\"", 1);
}

/* ---- reading ---- */

struct scan {
	const char *p;
	size_t n, at;
};

/* Where a string goes; out may be NULL. What does not fit is dropped. */
struct sink {
	char *out;
	size_t room, len;
};

static void put(struct sink *k, const char *bytes, size_t n)
{
	if (k->out == NULL || k->room - k->len <= n) {
		k->room = k->len + 1; /* and nothing behind it, or a character would be missing */
		return;
	}
	memcpy(k->out + k->len, bytes, n);
	k->len += n;
}

static void put_codepoint(struct sink *k, uint32_t c)
{
	char b[4];

	if (c < 0x80) {
		b[0] = (char)c;
		put(k, b, 1);
	} else if (c < 0x800) {
		b[0] = (char)(0xc0 | c >> 6);
		b[1] = (char)(0x80 | (c & 0x3f));
		put(k, b, 2);
	} else if (c < 0x10000) {
		b[0] = (char)(0xe0 | c >> 12);
		b[1] = (char)(0x80 | (c >> 6 & 0x3f));
		b[2] = (char)(0x80 | (c & 0x3f));
		put(k, b, 3);
	} else {
		b[0] = (char)(0xf0 | c >> 18);
		b[1] = (char)(0x80 | (c >> 12 & 0x3f));
		b[2] = (char)(0x80 | (c >> 6 & 0x3f));
		b[3] = (char)(0x80 | (c & 0x3f));
		put(k, b, 4);
	}
}

static bool take_hex4(struct scan *s, uint32_t *ret)
{
	*ret = 0;
	if (s->n - s->at < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		char c = s->p[s->at++];
		uint32_t v;

		if (c >= '0' && c <= '9')
			v = (uint32_t)(c - '0');
		else if (c >= 'a' && c <= 'f')
			v = (uint32_t)(c - 'a' + 10);
		else if (c >= 'A' && c <= 'F')
			v = (uint32_t)(c - 'A' + 10);
		else
			return false;
		*ret = *ret << 4 | v;
	}
	return true;
}

/* Behind "\u". A surrogate without its other half becomes U+FFFD; NUL too, since out is C's. */
static bool take_unicode(struct scan *s, struct sink *k)
{
	uint32_t c, low;

	if (!take_hex4(s, &c))
		return false;
	if (c >= 0xd800 && c < 0xdc00 && s->n - s->at >= 6 && s->p[s->at] == '\\' &&
	    s->p[s->at + 1] == 'u') {
		struct scan ahead = {s->p, s->n, s->at + 2};

		if (take_hex4(&ahead, &low) && low >= 0xdc00 && low < 0xe000) {
			s->at = ahead.at;
			c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
		}
	}
	put_codepoint(k, (c >= 0xd800 && c < 0xe000) || c == 0 ? 0xfffd : c);
	return true;
}

static bool take_escape(struct scan *s, struct sink *k)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *at;
	char c;

	if (s->at == s->n)
		return false;
	c = s->p[s->at++];
	if (c == 'u')
		return take_unicode(s, k);
	at = c != '\0' ? strchr(from, c) : NULL;
	if (at == NULL)
		return false;
	put(k, &to[at - from], 1);
	return true;
}

/* At the opening quote. */
static bool take_string(struct scan *s, struct sink *k)
{
	if (s->at == s->n || s->p[s->at] != '"')
		return false;
	s->at++;
	while (s->at < s->n) {
		char c = s->p[s->at++];

		if (c == '"')
			return true;
		if (c == '\\') {
			if (!take_escape(s, k))
				return false;
		} else if ((unsigned char)c < 0x20) {
			return false;
		} else {
			put(k, &c, 1);
		}
	}
	return false;
}

static void skip_space(struct scan *s)
{
	while (s->at < s->n && strchr(" \t\r\n", s->p[s->at]) != NULL && s->p[s->at] != '\0')
		s->at++;
}

/* Any value, not looked into: brackets are counted, so that no depth hurts. */
static bool skip_value(struct scan *s)
{
	struct sink nowhere = {NULL, 0, 0};
	size_t depth = 0, began = s->at;

	while (s->at < s->n) {
		char c = s->p[s->at];

		if (c == '"') {
			if (!take_string(s, &nowhere))
				return false;
			if (depth == 0)
				return true;
			continue;
		}
		if (depth == 0 && (c == ',' || c == '}' || c == ']'))
			return s->at > began;
		if (c == '{' || c == '[')
			depth++;
		else if ((c == '}' || c == ']') && --depth == 0)
			return s->at++, true;
		s->at++;
	}
	return false;
}

/* One member; *found once it was the one that is sought. */
static bool take_member(struct scan *s, const char *key, struct sink *value, bool *found)
{
	char name[64];
	struct sink k = {name, sizeof(name), 0};

	skip_space(s);
	if (!take_string(s, &k))
		return false;
	name[k.len] = '\0';
	skip_space(s);
	if (s->at == s->n || s->p[s->at] != ':')
		return false;
	s->at++;
	skip_space(s);
	if (*found || s->at == s->n || s->p[s->at] != '"' || strcmp(name, key) != 0)
		return skip_value(s);
	*found = true;
	return take_string(s, value);
}

static bool take_object(struct scan *s, const char *key, struct sink *value, bool *found)
{
	skip_space(s);
	if (s->at == s->n || s->p[s->at++] != '{')
		return false;
	skip_space(s);
	if (s->at < s->n && s->p[s->at] == '}')
		return s->at++, true;
	for (;;) {
		if (!take_member(s, key, value, found))
			return false;
		skip_space(s);
		if (s->at == s->n || (s->p[s->at] != ',' && s->p[s->at] != '}'))
			return false;
		if (s->p[s->at++] == '}')
			return true;
	}
}

long json_find_string(const char *p, size_t n, const char *key, char *out, size_t out_n)
{
	struct scan s = {p, n, 0};
	struct sink value = {out, out_n, 0};
	bool found = false;

	out[0] = '\0';
	if (!take_object(&s, key, &value, &found))
		return out[0] = '\0', -EBADMSG;
	out[value.len] = '\0';
	return found ? (long)s.at : -ENOENT;
}

/* ---- a runtime's log ---- */

static bool is_failure(const char *line, size_t n)
{
	char level[16];

	return json_find_string(line, n, "level", level, sizeof(level)) >= 0 &&
	       (strcmp(level, "error") == 0 || strcmp(level, "fatal") == 0 ||
		strcmp(level, "panic") == 0);
}

/* The start of the last line of p[n]; p ends behind it. */
static const char *last_line(const char *p, size_t n)
{
	const char *nl = memrchr(p, '\n', n);

	return nl != NULL ? nl + 1 : p;
}

/* The msg of the last line that has one; only_failures: of those that tell of one. */
static bool find_last(const char *p, size_t n, bool only_failures, char *out, size_t out_n)
{
	while (n > 0) {
		const char *line = last_line(p, n);
		size_t len = n - (size_t)(line - p);

		if ((!only_failures || is_failure(line, len)) &&
		    json_find_string(line, len, "msg", out, out_n) >= 0)
			return true;
		n = line > p ? (size_t)(line - p) - 1 : 0;
	}
	return false;
}

int json_log_reason(const char *p, size_t n, char *out, size_t out_n)
{
	out[0] = '\0';
	if (find_last(p, n, /* only_failures= */ true, out, out_n) ||
	    find_last(p, n, /* only_failures= */ false, out, out_n))
		return 0;
	out[0] = '\0';
	return -ENOENT;
}
