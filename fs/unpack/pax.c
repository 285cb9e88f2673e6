#include "unpack/pax.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"

void pax_init(struct pax *p, size_t max_bytes)
{
	*p = (struct pax){0};
	buf_init(&p->raw, max_bytes);
}

void pax_reset(struct pax *p)
{
	struct pax fresh = {.raw = p->raw, .xattrs = p->xattrs, .cap_xattrs = p->cap_xattrs};

	fresh.raw.len = 0;
	*p = fresh;
}

void pax_done(struct pax *p)
{
	buf_done(&p->raw);
	free(p->xattrs);
	*p = (struct pax){0};
}

static int bad(const char *key, struct err *err)
{
	return err_set(err, EBADMSG, "pax header: bad value of %.100s", key);
}

/* Seconds with a decimal fraction, of which nanoseconds are kept; a sign is allowed. */
static int parse_time(const char *s, struct timespec *ret)
{
	bool negative = *s == '-';
	int64_t seconds = 0;
	long ns = 0, unit = 100000000;

	s += negative;
	if (*s < '0' || *s > '9')
		return -EBADMSG;
	for (; *s >= '0' && *s <= '9'; s++)
		if (__builtin_mul_overflow(seconds, 10, &seconds) ||
		    __builtin_add_overflow(seconds, *s - '0', &seconds))
			return -EBADMSG;
	if (*s == '.')
		for (s++; *s >= '0' && *s <= '9'; s++, unit /= 10)
			ns += unit * (*s - '0');
	if (*s != '\0')
		return -EBADMSG;
	ret->tv_sec = negative ? -seconds - (ns > 0) : seconds;
	ret->tv_nsec = negative && ns > 0 ? 1000000000 - ns : ns;
	return 0;
}

static int add_xattr(struct pax *p, const char *name, const char *value, size_t len)
{
	for (size_t i = 0; i < p->n_xattrs; i++) {
		if (p->n_xattrs <= 64 && strcmp(p->xattrs[i].name, name) == 0) {
			p->xattrs[i] = (struct pax_xattr){name, value, len};
			return 0;
		}
	}
	if (p->n_xattrs == p->cap_xattrs) {
		size_t cap = p->cap_xattrs == 0 ? 8 : 2 * p->cap_xattrs;
		struct pax_xattr *more = reallocarray(p->xattrs, cap, sizeof(*more));

		if (more == NULL)
			return -ENOMEM;
		p->xattrs = more;
		p->cap_xattrs = cap;
	}
	p->xattrs[p->n_xattrs++] = (struct pax_xattr){name, value, len};
	return 0;
}

static int hex_digit(char c)
{
	const char *digits = "0123456789abcdef";
	const char *at = c != '\0' ? strchr(digits, tolower((unsigned char)c)) : NULL;

	return at != NULL ? (int)(at - digits) : -1;
}

/* In place; the name of a LIBARCHIVE.xattr has %XX for what is not printable. */
static void percent_decode(char *s)
{
	char *out = s;

	while (*s != '\0') {
		int high = *s == '%' ? hex_digit(s[1]) : -1;
		int low = high >= 0 ? hex_digit(s[2]) : -1;

		if (low >= 0) {
			*out++ = (char)(high << 4 | low);
			s += 3;
		} else {
			*out++ = *s++;
		}
	}
	*out = '\0';
}

/* In place: base 64 (RFC 4648, 4), padding optional. Returns the length, or -EBADMSG. */
static ssize_t base64_decode(char *s, size_t n)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint32_t bits = 0;
	int have = 0;
	size_t out = 0;

	while (n > 0 && s[n - 1] == '=')
		n--;
	for (size_t i = 0; i < n; i++) {
		const char *at = s[i] != '\0' ? strchr(digits, s[i]) : NULL;

		if (at == NULL)
			return -EBADMSG;
		bits = bits << 6 | (uint32_t)(at - digits);
		have += 6;
		if (have >= 8) {
			have -= 8;
			s[out++] = (char)(bits >> have & 0xff);
		}
	}
	return (ssize_t)out;
}

static int take_xattr(struct pax *p, char *key, char *value, size_t len, struct err *err)
{
	static const char schily[] = "SCHILY.xattr.", la[] = "LIBARCHIVE.xattr.";
	int r;

	if (strncmp(key, schily, sizeof(schily) - 1) == 0) {
		key += sizeof(schily) - 1;
	} else {
		ssize_t n;

		key += sizeof(la) - 1;
		percent_decode(key);
		n = base64_decode(value, len);
		if (n < 0)
			return bad(key, err);
		len = (size_t)n;
	}
	r = add_xattr(p, key, value, len);
	return r < 0 ? err_set(err, -r, "out of memory") : 0;
}

static int take_number(const char *key, const char *value, uint64_t *ret, struct err *err)
{
	return size_parse_plain(value, ret) < 0 ? bad(key, err) : 0;
}

static int take_sparse(struct pax *p, struct tar_sparse *sparse, const char *key, const char *value,
		       struct err *err)
{
	uint64_t n;

	if (strcmp(key, "name") == 0) {
		p->sparse_name = value;
		return 0;
	}
	if (strcmp(key, "map") == 0) {
		p->sparse_map = value;
		return 0;
	}
	if (take_number(key, value, &n, err) < 0)
		return -EBADMSG;
	if (strcmp(key, "size") == 0 || strcmp(key, "realsize") == 0) {
		p->has_sparse_size = true;
		p->sparse_size = n;
	} else if (strcmp(key, "major") == 0) {
		p->has_sparse_version = true;
		p->sparse_major = n;
	} else if (strcmp(key, "minor") == 0) {
		p->sparse_minor = n;
	} else if (strcmp(key, "offset") == 0 || strcmp(key, "numbytes") == 0) {
		p->has_sparse_pairs = true;
		return tar_sparse_add_number(sparse, n, err);
	}
	return 0;
}

static int take_time(const char *key, const char *value, bool *has, struct timespec *ret,
		     struct err *err)
{
	if (parse_time(value, ret) < 0)
		return bad(key, err);
	*has = true;
	return 0;
}

static int take_id(const char *key, const char *value, bool *has, uint64_t *ret, struct err *err)
{
	*has = true;
	return take_number(key, value, ret, err);
}

/* key and value are NUL-terminated; in text values a NUL is an attack (two readings of a name). */
static int take_record(struct pax *p, struct tar_sparse *sparse, char *key, char *value, size_t len,
		       struct err *err)
{
	if (strncmp(key, "SCHILY.xattr.", 13) == 0 || strncmp(key, "LIBARCHIVE.xattr.", 17) == 0)
		return take_xattr(p, key, value, len, err);
	if (len == 0)
		return 0;
	if (memchr(value, '\0', len) != NULL)
		return bad(key, err);
	if (strcmp(key, "path") == 0)
		p->path = value;
	else if (strcmp(key, "linkpath") == 0)
		p->link = value;
	else if (strcmp(key, "SCHILY.acl.access") == 0)
		p->acl_access = value;
	else if (strcmp(key, "SCHILY.acl.default") == 0)
		p->acl_default = value;
	else if (strcmp(key, "size") == 0)
		return take_id(key, value, &p->has_size, &p->size, err);
	else if (strcmp(key, "uid") == 0)
		return take_id(key, value, &p->has_uid, &p->uid, err);
	else if (strcmp(key, "gid") == 0)
		return take_id(key, value, &p->has_gid, &p->gid, err);
	else if (strcmp(key, "mtime") == 0)
		return take_time(key, value, &p->has_mtime, &p->mtime, err);
	else if (strcmp(key, "atime") == 0)
		return take_time(key, value, &p->has_atime, &p->atime, err);
	else if (strncmp(key, "GNU.sparse.", 11) == 0)
		return take_sparse(p, sparse, key + 11, value, err);
	return 0;
}

/* One record "LENGTH KEY=VALUE\n" at s, LENGTH counts all of it. Its length, or -EBADMSG. */
static ssize_t cut_record(char *s, size_t n, char **ret_key, char **ret_value, size_t *ret_len)
{
	size_t len = 0, at = 0;
	char *equals;

	while (at < n && s[at] >= '0' && s[at] <= '9' && len <= n)
		len = 10 * len + (size_t)(s[at++] - '0');
	if (at == 0 || at >= n || s[at] != ' ' || len > n || len < at + 3 || s[len - 1] != '\n')
		return -EBADMSG;
	s[len - 1] = '\0';
	*ret_key = s + at + 1;
	equals = memchr(*ret_key, '=', len - 1 - (at + 1));
	if (equals == NULL || equals == *ret_key)
		return -EBADMSG;
	*equals = '\0';
	*ret_value = equals + 1;
	*ret_len = (size_t)(s + len - 1 - *ret_value);
	return (ssize_t)len;
}

int pax_parse(struct pax *p, struct tar_sparse *sparse, struct err *err)
{
	size_t at = 0;

	while (at < p->raw.len) {
		char *key, *value;
		size_t len;
		ssize_t n = cut_record(p->raw.data + at, p->raw.len - at, &key, &value, &len);
		int r;

		if (n < 0 || strlen(key) + 1 != (size_t)(value - key))
			return err_set(err, EBADMSG, "pax header: bad record at byte %zu", at);
		r = take_record(p, sparse, key, value, len, err);
		if (r < 0)
			return r;
		at += (size_t)n;
	}
	return 0;
}
