#include "unpack/acl.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* linux/posix_acl.h, linux/posix_acl_xattr.h; all little endian */
enum {
	TAG_USER_OBJ = 0x01,
	TAG_USER = 0x02,
	TAG_GROUP_OBJ = 0x04,
	TAG_GROUP = 0x08,
	TAG_MASK = 0x10,
	TAG_OTHER = 0x20,
	XATTR_VERSION = 2,
};

struct acl_entry {
	uint16_t tag, perm;
	uint32_t id;
};

#define MAX_FIELDS 4

struct fields {
	const char *s[MAX_FIELDS];
	size_t len[MAX_FIELDS];
	int n;
};

static bool is(const struct fields *f, int i, const char *full, const char *brief)
{
	return (strlen(full) == f->len[i] && strncmp(f->s[i], full, f->len[i]) == 0) ||
	       (strlen(brief) == f->len[i] && strncmp(f->s[i], brief, f->len[i]) == 0);
}

/* One entry, to the comma or newline: its fields between colons. Its length, or -EINVAL. */
static int split(const char *s, struct fields *f)
{
	size_t end = strcspn(s, ",\n"), at = 0, stop = strcspn(s, ",\n#");

	f->n = 0;
	while (at <= stop) {
		size_t n = strcspn(s + at, ":,\n#");

		if (f->n == MAX_FIELDS)
			return -EINVAL;
		f->s[f->n] = s + at + strspn(s + at, " \t");
		f->len[f->n] = (size_t)(s + at + n - f->s[f->n]);
		while (f->len[f->n] > 0 && f->s[f->n][f->len[f->n] - 1] <= ' ')
			f->len[f->n]--;
		f->n++;
		at += n + 1;
	}
	return (int)end;
}

static int parse_perm(const char *s, size_t n, uint16_t *ret)
{
	uint16_t perm = 0;

	for (size_t i = 0; i < n; i++) {
		switch (s[i]) {
		case 'r':
			perm |= 4;
			break;
		case 'w':
			perm |= 2;
			break;
		case 'x':
			perm |= 1;
			break;
		case '-':
			break;
		default:
			return -EINVAL;
		}
	}
	*ret = perm;
	return 0;
}

static int parse_id(const char *s, size_t n, uint32_t *ret)
{
	uint64_t v = 0;

	if (n == 0 || n > 10)
		return -ENOENT;
	for (size_t i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -ENOENT;
		v = 10 * v + (uint64_t)(s[i] - '0');
	}
	if (v >= UINT32_MAX)
		return -EINVAL;
	*ret = (uint32_t)v;
	return 0;
}

static int parse_entry(const struct fields *f, struct acl_entry *e)
{
	bool named = f->n >= 3 && f->len[1] > 0;

	if (f->n < 3)
		return -EINVAL;
	e->id = UINT32_MAX; /* ACL_UNDEFINED_ID */
	if (is(f, 0, "user", "u"))
		e->tag = named ? TAG_USER : TAG_USER_OBJ;
	else if (is(f, 0, "group", "g"))
		e->tag = named ? TAG_GROUP : TAG_GROUP_OBJ;
	else if (is(f, 0, "mask", "m"))
		e->tag = TAG_MASK;
	else if (is(f, 0, "other", "o"))
		e->tag = TAG_OTHER;
	else
		return -EINVAL;
	if (e->tag == TAG_USER || e->tag == TAG_GROUP) {
		int at = f->n == 4 && f->len[3] > 0 ? 3 : 1;
		int r = parse_id(f->s[at], f->len[at], &e->id);

		if (r < 0)
			return r;
	}
	return parse_perm(f->s[2], f->len[2], &e->perm);
}

/* The order that the kernel wants. */
static int compare(const void *a, const void *b)
{
	const struct acl_entry *x = a, *y = b;

	if (x->tag != y->tag)
		return x->tag < y->tag ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static uint8_t *put(uint8_t *out, uint32_t v, int n)
{
	for (int i = 0; i < n; i++)
		*out++ = (uint8_t)(v >> 8 * i);
	return out;
}

int acl_from_text(const char *text, uint8_t *out)
{
	struct acl_entry entries[ACL_MAX_ENTRIES];
	uint8_t *begin = out;
	size_t n = 0;

	while (*text != '\0') {
		struct fields f;
		int len = split(text, &f), r;

		if (len < 0)
			return len;
		text += len;
		text += *text != '\0';
		if (f.n == 1 && f.len[0] == 0)
			continue;
		if (n == ACL_MAX_ENTRIES)
			return -E2BIG;
		r = parse_entry(&f, &entries[n++]);
		if (r < 0)
			return r;
	}
	if (n == 0)
		return -EINVAL;
	qsort(entries, n, sizeof(*entries), compare);
	out = put(out, XATTR_VERSION, 4);
	for (size_t i = 0; i < n; i++) {
		out = put(out, entries[i].tag, 2);
		out = put(out, entries[i].perm, 2);
		out = put(out, entries[i].id, 4);
	}
	return (int)(out - begin);
}
