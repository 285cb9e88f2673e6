#include "registry/toml.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define MAX_DEPTH 32
#define MAX_STRING_BYTES ((size_t)64 << 10)

/* How a table or array came to be: what may still be added to it. */
enum origin {
	BY_PATH,   /* named on the way to another: a header may still define it */
	BY_HEADER, /* [x], or keys with dots */
	BY_ARRAY,  /* [[x]]: the array itself */
	BY_VALUE,  /* written as a value, complete */
};

struct toml {
	const char *p, *end;
	unsigned int line;
	unsigned int depth;
	json_t *origins; /* address of a container -> enum origin, where it is not BY_PATH */
	struct err *err;
};

static int fail(const struct toml *t, const char *what)
{
	return err_set(t->err, EBADMSG, "line %u: %s", t->line, what);
}

static int no_memory(const struct toml *t)
{
	return err_set(t->err, ENOMEM, "out of memory");
}

static enum origin origin_of(const struct toml *t, const json_t *v)
{
	char key[32];

	(void)snprintf(key, sizeof(key), "%p", (const void *)v);
	return (enum origin)json_integer_value(json_object_get(t->origins, key));
}

static int set_origin(struct toml *t, const json_t *v, enum origin o)
{
	char key[32];

	(void)snprintf(key, sizeof(key), "%p", (const void *)v);
	return json_object_set_new(t->origins, key, json_integer(o)) < 0 ? no_memory(t) : 0;
}

static int peek(const struct toml *t)
{
	return t->p < t->end ? (unsigned char)*t->p : -1;
}

static bool skip(struct toml *t, const char *s)
{
	size_t n = strlen(s);

	if ((size_t)(t->end - t->p) < n || memcmp(t->p, s, n) != 0)
		return false;
	t->p += n;
	return true;
}

static void skip_blanks(struct toml *t)
{
	while (peek(t) == ' ' || peek(t) == '\t')
		t->p++;
}

static void skip_comment(struct toml *t)
{
	if (peek(t) == '#')
		while (peek(t) != -1 && peek(t) != '\n')
			t->p++;
}

static bool skip_newline(struct toml *t)
{
	if (!skip(t, "\n") && !skip(t, "\r\n"))
		return false;
	t->line++;
	return true;
}

/* Blanks, comments and line ends: between the elements of an array, between statements. */
static void skip_gap(struct toml *t)
{
	do {
		skip_blanks(t);
		skip_comment(t);
	} while (skip_newline(t));
}

static int add_utf8(struct toml *t, struct buf *b, uint32_t c)
{
	char s[4];
	size_t n = 0;

	if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return fail(t, "escaped character that is none");
	if (c < 0x80) {
		s[n++] = (char)c;
	} else if (c < 0x800) {
		s[n++] = (char)(0xc0 | c >> 6);
		s[n++] = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		s[n++] = (char)(0xe0 | c >> 12);
		s[n++] = (char)(0x80 | (c >> 6 & 0x3f));
		s[n++] = (char)(0x80 | (c & 0x3f));
	} else {
		s[n++] = (char)(0xf0 | c >> 18);
		s[n++] = (char)(0x80 | (c >> 12 & 0x3f));
		s[n++] = (char)(0x80 | (c >> 6 & 0x3f));
		s[n++] = (char)(0x80 | (c & 0x3f));
	}
	return buf_add(b, s, n);
}

static int hex_value(int c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Behind a backslash of a basic string. */
static int parse_escape(struct toml *t, struct buf *b, bool multiline)
{
	static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
	int c = peek(t), digits = c == 'u' ? 4 : 8;
	const char *at = c > 0 ? strchr(from, c) : NULL;
	uint32_t value = 0;

	if (at != NULL) {
		t->p++;
		return buf_add(b, &to[at - from], 1);
	}
	if (multiline && (c == ' ' || c == '\t' || c == '\r' || c == '\n')) {
		skip_blanks(t);
		if (!skip_newline(t))
			return fail(t, "invalid escape in a string");
		while (peek(t) == ' ' || peek(t) == '\t' || skip_newline(t))
			skip_blanks(t);
		return 0;
	}
	if (c != 'u' && c != 'U')
		return fail(t, "invalid escape in a string");
	t->p++;
	while (digits-- > 0) {
		int v = hex_value(peek(t));

		if (v < 0)
			return fail(t, "invalid escape in a string");
		value = value << 4 | (uint32_t)v;
		t->p++;
	}
	return add_utf8(t, b, value);
}

/* A string of any of the four kinds, at its first quote. */
static int parse_string(struct toml *t, struct buf *b, bool may_be_long)
{
	char quote = (char)peek(t);
	bool basic = quote == '"', multiline = false;
	char delimiter[4] = {quote, quote, quote, '\0'};
	int r = 0;

	if (may_be_long && skip(t, delimiter)) {
		multiline = true;
		(void)skip_newline(t); /* a line end right behind the quotes is not part of it */
	} else {
		delimiter[1] = '\0';
		t->p++;
	}
	while (r == 0) {
		int c = peek(t);

		if (skip(t, delimiter)) {
			/* up to two quotes may stand before the closing three */
			for (int i = 0; multiline && i < 2 && peek(t) == quote && r == 0; i++) {
				r = buf_add(b, &quote, 1);
				t->p++;
			}
			break;
		}
		if (c == -1)
			return fail(t, "string without an end");
		if (multiline && skip_newline(t)) {
			r = buf_add(b, "\n", 1);
			continue;
		}
		t->p++;
		if (basic && c == '\\')
			r = parse_escape(t, b, multiline);
		else if ((c < 0x20 && c != '\t') || c == 0x7f)
			return fail(t, multiline || c != '\n' ? "control character in a string"
							      : "string without an end");
		else
			r = buf_add(b, t->p - 1, 1);
	}
	return r == -E2BIG ? fail(t, "string too long") : r == -ENOMEM ? no_memory(t) : r;
}

static bool is_bare(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '-';
}

/* One part of a dotted key. */
static int parse_key_part(struct toml *t, struct buf *key)
{
	const char *start;

	key->len = 0;
	skip_blanks(t);
	if (peek(t) == '"' || peek(t) == '\'') {
		int r = parse_string(t, key, /* may_be_long= */ false);

		skip_blanks(t);
		return r;
	}
	start = t->p;
	while (is_bare(peek(t)))
		t->p++;
	if (t->p == start)
		return fail(t, "key expected");
	if (buf_add(key, start, (size_t)(t->p - start)) < 0)
		return fail(t, "key too long");
	skip_blanks(t);
	return 0;
}

static const char *text_of(const struct buf *b)
{
	return b->len > 0 ? b->data : "";
}

/* Adds v, which is ours, to a table. */
static int add_to_table(struct toml *t, json_t *table, const struct buf *key, json_t *v)
{
	if (json_object_set_new(table, text_of(key), v) < 0)
		return fail(t, "key that is no UTF-8");
	return 0;
}

/* The table called key in *table, made when there is none. by: what leads there. */
static int descend(struct toml *t, json_t **table, const struct buf *key, enum origin by)
{
	json_t *v = json_object_get(*table, text_of(key));

	if (v == NULL) {
		v = json_object();
		if (v == NULL)
			return no_memory(t);
		if (add_to_table(t, *table, key, v) < 0)
			return -EBADMSG;
		*table = v;
		return by == BY_PATH ? 0 : set_origin(t, v, by);
	}
	if (json_is_array(v) && origin_of(t, v) == BY_ARRAY)
		v = json_array_get(v, json_array_size(v) - 1);
	if (!json_is_object(v) || origin_of(t, v) == BY_VALUE)
		return fail(t, "key that has a value already");
	*table = v;
	return 0;
}

static int parse_value(struct toml *t, json_t **ret);

/* key = value, into table */
static int parse_pair(struct toml *t, json_t *table)
{
	cleanup_buf struct buf key;
	json_t *v = NULL;
	int r;

	buf_init(&key, MAX_STRING_BYTES);
	r = parse_key_part(t, &key);
	for (unsigned int depth = 0; r == 0 && skip(t, "."); depth++) {
		if (depth == MAX_DEPTH)
			return fail(t, "too deep");
		r = descend(t, &table, &key, BY_HEADER);
		if (r == 0)
			r = parse_key_part(t, &key);
	}
	if (r < 0)
		return r;
	if (!skip(t, "="))
		return fail(t, "\"=\" expected");
	if (json_object_get(table, text_of(&key)) != NULL)
		return fail(t, "key that has a value already");
	skip_blanks(t);
	r = parse_value(t, &v);
	return r < 0 ? r : add_to_table(t, table, &key, v);
}

static int parse_array(struct toml *t, json_t *array)
{
	for (;;) {
		json_t *v = NULL;
		int r;

		skip_gap(t);
		if (skip(t, "]"))
			return 0;
		r = parse_value(t, &v);
		if (r < 0)
			return r;
		if (json_array_append_new(array, v) < 0)
			return no_memory(t);
		skip_gap(t);
		if (skip(t, "]"))
			return 0;
		if (!skip(t, ","))
			return fail(t, "\",\" or \"]\" expected");
	}
}

static int parse_inline_table(struct toml *t, json_t *table)
{
	skip_blanks(t);
	if (skip(t, "}"))
		return 0;
	for (;;) {
		int r = parse_pair(t, table);

		if (r < 0)
			return r;
		skip_blanks(t);
		if (skip(t, "}"))
			return 0;
		if (!skip(t, ","))
			return fail(t, "\",\" or \"}\" expected");
	}
}

/* Integers by value; what else begins like a number (floats, dates, inf, nan) becomes null. */
static int parse_scalar(struct toml *t, json_t **ret)
{
	char text[80];
	size_t n = 0;
	const char *digits;
	char *end;
	long long value;
	int base = 10;

	if (skip(t, "true") || skip(t, "false")) {
		*ret = json_boolean(t->p[-2] == 'u');
		return 0;
	}
	while (is_bare(peek(t)) || (peek(t) > 0 && strchr("+.:", peek(t)) != NULL)) {
		if (n == sizeof(text) - 1)
			return fail(t, "value too long");
		if (*t->p != '_')
			text[n++] = *t->p;
		t->p++;
	}
	text[n] = '\0';
	digits = text + (*text == '+' || *text == '-');
	if (strcmp(digits, "inf") != 0 && strcmp(digits, "nan") != 0 &&
	    (*digits < '0' || *digits > '9'))
		return fail(t, "value expected");
	if (strncmp(text, "0x", 2) == 0)
		base = 16;
	else if (strncmp(text, "0o", 2) == 0)
		base = 8;
	else if (strncmp(text, "0b", 2) == 0)
		base = 2;
	errno = 0;
	value = strtoll(base == 10 ? text : text + 2, &end, base);
	*ret = *end == '\0' && end > digits && errno == 0 ? json_integer(value) : json_null();
	return *ret == NULL ? no_memory(t) : 0;
}

static int parse_string_value(struct toml *t, json_t **ret)
{
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, MAX_STRING_BYTES);
	r = parse_string(t, &b, /* may_be_long= */ true);
	if (r < 0)
		return r;
	*ret = json_stringn(text_of(&b), b.len);
	return *ret == NULL ? fail(t, "string that is no UTF-8") : 0;
}

static int parse_value(struct toml *t, json_t **ret)
{
	json_t *v;
	int r;

	if (peek(t) == '"' || peek(t) == '\'')
		return parse_string_value(t, ret);
	if (peek(t) != '[' && peek(t) != '{')
		return parse_scalar(t, ret);
	if (t->depth == MAX_DEPTH)
		return fail(t, "too deep");
	t->depth++;
	v = *t->p++ == '[' ? json_array() : json_object();
	if (v == NULL)
		return no_memory(t);
	r = json_is_array(v) ? parse_array(t, v) : parse_inline_table(t, v);
	if (r == 0)
		r = set_origin(t, v, BY_VALUE);
	t->depth--;
	if (r < 0) {
		json_decref(v);
		return r;
	}
	*ret = v;
	return 0;
}

/* The new last element of the array of tables called key. */
static int append_table(struct toml *t, json_t **table, const struct buf *key)
{
	json_t *array = json_object_get(*table, text_of(key)), *v;
	int r;

	if (array == NULL) {
		array = json_array();
		if (array == NULL)
			return no_memory(t);
		if (add_to_table(t, *table, key, array) < 0)
			return -EBADMSG;
		r = set_origin(t, array, BY_ARRAY);
		if (r < 0)
			return r;
	}
	if (!json_is_array(array) || origin_of(t, array) != BY_ARRAY)
		return fail(t, "key that has a value already");
	v = json_object();
	if (v == NULL || json_array_append_new(array, v) < 0)
		return no_memory(t);
	*table = v;
	return set_origin(t, v, BY_HEADER);
}

/* [a.b] or [[a.b]], at the first bracket: *table becomes the one that it opens. */
static int parse_header(struct toml *t, json_t **table)
{
	cleanup_buf struct buf key;
	bool array;
	int r;

	buf_init(&key, MAX_STRING_BYTES);
	t->p++;
	array = skip(t, "[");
	r = parse_key_part(t, &key);
	for (unsigned int depth = 0; r == 0 && skip(t, "."); depth++) {
		if (depth == MAX_DEPTH)
			return fail(t, "too deep");
		r = descend(t, table, &key, BY_PATH);
		if (r == 0)
			r = parse_key_part(t, &key);
	}
	if (r < 0)
		return r;
	if (!skip(t, array ? "]]" : "]"))
		return fail(t, "\"]\" expected");
	if (array)
		return append_table(t, table, &key);
	r = descend(t, table, &key, BY_PATH);
	if (r < 0)
		return r;
	if (origin_of(t, *table) != BY_PATH)
		return fail(t, "table that was defined before");
	return set_origin(t, *table, BY_HEADER);
}

static int parse_statements(struct toml *t, json_t *root)
{
	json_t *table = root;

	for (;;) {
		int r;

		skip_gap(t);
		if (peek(t) == -1)
			return 0;
		if (peek(t) == '[') {
			table = root;
			r = parse_header(t, &table);
		} else {
			r = parse_pair(t, table);
		}
		if (r < 0)
			return r;
		skip_blanks(t);
		skip_comment(t);
		if (peek(t) != -1 && !skip_newline(t))
			return fail(t, "end of the line expected");
	}
}

int toml_parse(const char *text, size_t len, json_t **ret, struct err *err)
{
	struct toml t = {.p = text, .end = text + len, .line = 1, .err = err};
	json_t *root;
	int r;

	if (len > TOML_MAX_BYTES)
		return err_set(err, E2BIG, "larger than %zu bytes", TOML_MAX_BYTES);
	root = json_object();
	t.origins = json_object();
	if (root == NULL || t.origins == NULL) {
		r = no_memory(&t);
	} else {
		(void)skip(&t, "\xef\xbb\xbf"); /* a byte order mark */
		r = parse_statements(&t, root);
	}
	json_decref(t.origins);
	if (r < 0) {
		json_decref(root);
		return r;
	}
	*ret = root;
	return 0;
}
