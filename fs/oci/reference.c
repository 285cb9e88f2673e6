#include "oci/reference.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Every message about a name: "invalid reference "x": <why>". */
#define INVALID(err, text, ...) \
	err_wrap((err), err_set((err), EINVAL, __VA_ARGS__), "invalid reference \"%.200s\"", (text))

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static bool is_alnum(char c)
{
	return is_lower_alnum(c) || is_upper(c);
}

/* Components of letters, digits and inner "-", joined by ".". */
static bool is_domain(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		bool first = i == 0 || s[i - 1] == '.', last = i + 1 == n || s[i + 1] == '.';

		if (s[i] == '.' ? first || last : !is_alnum(s[i]) && (s[i] != '-' || first || last))
			return false;
	}
	return n > 0;
}

static bool is_ipv6(const char *s, size_t n)
{
	if (n < 4 || s[0] != '[' || s[n - 1] != ']')
		return false;
	for (size_t i = 1; i < n - 1; i++)
		if (strchr("0123456789abcdefABCDEF:", s[i]) == NULL)
			return false;
	return true;
}

static bool is_port(const char *s)
{
	size_t n = strspn(s, "0123456789");

	return n > 0 && n <= 5 && s[n] == '\0';
}

static bool is_host(const char *s)
{
	const char *colon = strrchr(s, ':');
	size_t n = strlen(s);

	if (n > 0 && s[n - 1] == ']')
		colon = NULL;
	if (colon != NULL)
		n = (size_t)(colon - s);
	return (is_domain(s, n) || is_ipv6(s, n)) && (colon == NULL || is_port(colon + 1));
}

/* Between two letters or digits: ".", "_", "__", or dashes. */
static size_t separator_len(const char *s)
{
	if (*s == '.')
		return 1;
	if (*s == '_')
		return s[1] == '_' ? 2 : 1;
	return strspn(s, "-");
}

static bool is_repository(const char *s)
{
	if (!is_lower_alnum(*s))
		return false;
	while (*s != '\0') {
		if (is_lower_alnum(*s)) {
			s++;
			continue;
		}
		s += *s == '/' ? 1 : separator_len(s);
		if (!is_lower_alnum(*s))
			return false;
	}
	return true;
}

static bool is_tag(const char *s)
{
	if (!is_alnum(*s) && *s != '_')
		return false;
	for (; *s != '\0'; s++)
		if (!is_alnum(*s) && strchr("_.-", *s) == NULL)
			return false;
	return true;
}

/* Whether the word before the first "/" is a host. */
static bool looks_like_host(const char *s, size_t n)
{
	if (n == strlen("localhost") && memcmp(s, "localhost", n) == 0)
		return true;
	for (size_t i = 0; i < n; i++)
		if (s[i] == '.' || s[i] == ':' || is_upper(s[i]))
			return true;
	return false;
}

/* name is "[host/]repository" without tag and digest. */
static int split_name(const char *text, const char *name, bool need_host, struct reference *r,
		      struct err *err)
{
	const char *slash = strchr(name, '/');
	bool has_host = slash != NULL && looks_like_host(name, (size_t)(slash - name));
	const char *rest = has_host ? slash + 1 : name;
	bool is_default;
	int n;

	if (need_host && !has_host)
		return INVALID(err, text, "want HOST/REPOSITORY");
	if (has_host && slash - name > REFERENCE_NAME_MAX)
		return INVALID(err, text, "longer than %d bytes", REFERENCE_NAME_MAX);
	(void)snprintf(r->host, sizeof(r->host), "%.*s", has_host ? (int)(slash - name) : 255,
		       has_host ? name : REFERENCE_DEFAULT_HOST);
	if (strcmp(r->host, "index.docker.io") == 0) /* what Docker called it once */
		(void)snprintf(r->host, sizeof(r->host), "%s", REFERENCE_DEFAULT_HOST);
	is_default = strcmp(r->host, REFERENCE_DEFAULT_HOST) == 0;
	if (!is_host(r->host))
		return INVALID(err, text, "\"%s\" is no host", r->host);
	n = snprintf(r->repository, sizeof(r->repository), "%s%s",
		     is_default && strchr(rest, '/') == NULL ? "library/" : "", rest);
	if (strlen(r->host) + 1 + (size_t)n > REFERENCE_NAME_MAX)
		return INVALID(err, text, "longer than %d bytes", REFERENCE_NAME_MAX);
	if (strpbrk(rest, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != NULL)
		return INVALID(err, text, "a repository is written in lower case");
	if (!is_repository(r->repository))
		return INVALID(err, text, "\"%s\" is no repository", rest);
	return 0;
}

/* Cut "@digest" off copy. */
static int split_digest(const char *text, char *copy, struct reference *r, struct err *err)
{
	char *at = strchr(copy, '@');
	int c;

	if (at == NULL)
		return 0;
	*at = '\0';
	c = digest_parse(at + 1, &r->digest, err);
	if (c < 0)
		return err_wrap(err, c, "invalid reference \"%.200s\"", text);
	r->has_digest = true;
	return 0;
}

/* Cut ":tag" off copy: the colon behind the last "/", where one before it is a port's. */
static int split_tag(const char *text, char *copy, struct reference *r, struct err *err)
{
	char *slash = strrchr(copy, '/'), *colon = strchr(slash != NULL ? slash : copy, ':');

	if (colon == NULL)
		return 0;
	*colon = '\0';
	if (strlen(colon + 1) > REFERENCE_TAG_MAX)
		return INVALID(err, text, "a tag longer than %d bytes", REFERENCE_TAG_MAX);
	if (!is_tag(colon + 1))
		return INVALID(err, text, "\"%s\" is no tag", colon + 1);
	(void)snprintf(r->tag, sizeof(r->tag), "%s", colon + 1);
	return 0;
}

static int parse(const char *text, bool need_host, struct reference *ret, struct err *err)
{
	char copy[REFERENCE_TEXT_MAX];
	struct reference r = {0};
	int c;

	if (text[0] == '\0')
		return err_set(err, EINVAL, "an empty image name");
	if (strstr(text, "://") != NULL)
		return INVALID(err, text, "a name has no scheme");
	if (strlen(text) >= sizeof(copy))
		return INVALID(err, text, "longer than %zu bytes", sizeof(copy) - 1);
	if (strspn(text, "0123456789abcdef") == DIGEST_HEX_LEN && text[DIGEST_HEX_LEN] == '\0')
		return INVALID(err, text, "a digest is written sha256:<64 hex digits>");
	(void)snprintf(copy, sizeof(copy), "%s", text);
	c = split_digest(text, copy, &r, err);
	if (c == 0)
		c = split_tag(text, copy, &r, err);
	if (c == 0)
		c = split_name(text, copy, need_host, &r, err);
	if (c == 0)
		*ret = r;
	return c;
}

int reference_parse(const char *text, struct reference *ret, struct err *err)
{
	return parse(text, /* need_host= */ false, ret, err);
}

int reference_parse_source(const char *text, struct reference *ret, struct err *err)
{
	struct reference r = {0};
	int c = parse(text, /* need_host= */ true, &r, err);

	if (c < 0)
		return c;
	if (r.tag[0] != '\0' || r.has_digest)
		return INVALID(err, text, "a source has no tag and no digest");
	*ret = r;
	return 0;
}

void reference_set_default_tag(struct reference *r)
{
	if (r->tag[0] == '\0' && !r->has_digest)
		(void)snprintf(r->tag, sizeof(r->tag), "%s", REFERENCE_DEFAULT_TAG);
}

/* A reference that was parsed fits: split_name() has seen to it. */
void reference_format(const struct reference *r, char out[REFERENCE_TEXT_MAX])
{
	int n = snprintf(out, REFERENCE_TEXT_MAX, "%s/%s%s%s%s%s", r->host, r->repository,
			 r->tag[0] != '\0' ? ":" : "", r->tag, r->has_digest ? "@" : "",
			 r->has_digest ? digest_text(&r->digest).s : "");

	assert(n > 0 && n < REFERENCE_TEXT_MAX);
}

void reference_format_name(const struct reference *r, char out[REFERENCE_NAME_MAX + 1])
{
	int n = snprintf(out, REFERENCE_NAME_MAX + 1, "%s/%s", r->host, r->repository);

	assert(n > 0 && n <= REFERENCE_NAME_MAX);
}
