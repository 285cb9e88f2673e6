#include "oci/platform.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "oci/doc.h"

/* Other people's names for GOARCH, and the variant that some of them imply. */
static const struct {
	const char *alias, *arch, *variant;
} aliases[] = {
	{"i386", "386", ""},	  {"i486", "386", ""},	      {"i586", "386", ""},
	{"i686", "386", ""},	  {"x86_64", "amd64", ""},    {"x86-64", "amd64", ""},
	{"aarch64", "arm64", ""}, {"armhf", "arm", "v7"},     {"armel", "arm", "v6"},
	{"armv8l", "arm", "v8"},  {"armv7l", "arm", "v7"},    {"armv6l", "arm", "v6"},
	{"armv5l", "arm", "v5"},  {"ppc64el", "ppc64le", ""},
};

static const char *const known_os[] = {"linux",	  "windows", "darwin",	"freebsd",  "netbsd",
				       "openbsd", "solaris", "illumos", "android",  "aix",
				       "plan9",	  "js",	     "wasip1",	"dragonfly"};

static bool is_known_os(const char *s)
{
	for (size_t i = 0; i < sizeof(known_os) / sizeof(known_os[0]); i++)
		if (strcmp(s, known_os[i]) == 0)
			return true;
	return false;
}

static void to_lower(char *s)
{
	for (; *s != '\0'; s++)
		if (*s >= 'A' && *s <= 'Z')
			*s = (char)(*s - 'A' + 'a');
}

static void set(char *out, size_t n, const char *s)
{
	(void)snprintf(out, n, "%s", s);
}

/* "8" is "v8" where the variant is a number of the architecture. */
static void normalise_variant(struct platform *p)
{
	bool is_arm = strcmp(p->arch, "arm") == 0, is_arm64 = strcmp(p->arch, "arm64") == 0;
	bool is_amd64 = strcmp(p->arch, "amd64") == 0;
	char digit = p->variant[0];

	if ((is_arm || is_arm64) && digit >= '0' && digit <= '9' && p->variant[1] == '\0')
		(void)snprintf(p->variant, sizeof(p->variant), "v%c", digit);
	if (is_arm && p->variant[0] == '\0')
		set(p->variant, sizeof(p->variant), "v7");
	if ((is_arm64 && strcmp(p->variant, "v8") == 0) ||
	    (is_amd64 && strcmp(p->variant, "v1") == 0) || strcmp(p->arch, "386") == 0)
		p->variant[0] = '\0';
}

void platform_normalise(struct platform *p)
{
	to_lower(p->os);
	to_lower(p->arch);
	to_lower(p->variant);
	if (strcmp(p->os, "macos") == 0)
		set(p->os, sizeof(p->os), "darwin");
	for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++) {
		if (strcmp(p->arch, aliases[i].alias) != 0)
			continue;
		set(p->arch, sizeof(p->arch), aliases[i].arch);
		if (p->variant[0] == '\0')
			set(p->variant, sizeof(p->variant), aliases[i].variant);
		break;
	}
	normalise_variant(p);
}

void platform_host(struct platform *ret)
{
	struct utsname u;

	memset(ret, 0, sizeof(*ret));
	set(ret->os, sizeof(ret->os), "linux");
	if (uname(&u) == 0)
		(void)snprintf(ret->arch, sizeof(ret->arch), "%.31s", u.machine);
	platform_normalise(ret);
}

static bool is_word(const char *s)
{
	if (s[0] == '\0')
		return false;
	for (; *s != '\0'; s++)
		if (!((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
		      (*s >= '0' && *s <= '9') || *s == '_' || *s == '.' || *s == '-'))
			return false;
	return true;
}

int platform_parse(const char *text, struct platform *ret, struct err *err)
{
	char copy[PLATFORM_TEXT_MAX], *parts[3] = {NULL}, *rest = copy;
	struct platform p = {0};
	size_t n = 0;

	if (strlen(text) >= sizeof(copy))
		return err_set(err, EINVAL, "platform \"%.100s...\" is too long", text);
	set(copy, sizeof(copy), text);
	while (rest != NULL && n < 3)
		parts[n++] = strsep(&rest, "/");
	for (size_t i = 0; i < n; i++)
		if (!is_word(parts[i]) || strlen(parts[i]) >= sizeof(p.os) || rest != NULL)
			return err_set(err, EINVAL,
				       "invalid platform \"%s\": want OS/ARCH or OS/ARCH/VARIANT",
				       text);
	if (n == 1) {
		platform_host(&p);
		to_lower(parts[0]);
		if (is_known_os(parts[0])) {
			set(p.os, sizeof(p.os), parts[0]);
		} else {
			set(p.arch, sizeof(p.arch), parts[0]);
			p.variant[0] = '\0';
		}
	} else {
		set(p.os, sizeof(p.os), parts[0]);
		set(p.arch, sizeof(p.arch), parts[1]);
		set(p.variant, sizeof(p.variant), n == 3 ? parts[2] : "");
	}
	platform_normalise(&p);
	*ret = p;
	return 0;
}

int platform_from_json(const json_t *o, struct platform *ret, struct err *err)
{
	struct platform p = {0};
	int r = doc_copy_string(o, "os", p.os, sizeof(p.os), err);

	if (r == 0)
		r = doc_copy_string(o, "architecture", p.arch, sizeof(p.arch), err);
	if (r == 0)
		r = doc_copy_string(o, "variant", p.variant, sizeof(p.variant), err);
	if (r == 0)
		r = doc_copy_string(o, "os.version", p.os_version, sizeof(p.os_version), err);
	if (r < 0)
		return r;
	platform_normalise(&p);
	*ret = p;
	return 0;
}

void platform_format(const struct platform *p, char out[PLATFORM_TEXT_MAX])
{
	if (p->os[0] == '\0')
		set(out, PLATFORM_TEXT_MAX, "unknown");
	else
		(void)snprintf(out, PLATFORM_TEXT_MAX, "%s/%s%s%s", p->os, p->arch,
			       p->variant[0] != '\0' ? "/" : "", p->variant);
}

/* The number of a variant "v5", what is left out counting as standard; -1: it has none. */
static int variant_number(const char *variant, int standard)
{
	if (variant[0] == '\0')
		return standard;
	if (variant[0] != 'v' || variant[1] < '0' || variant[1] > '9' || variant[2] != '\0')
		return -1;
	return variant[1] - '0';
}

/* Within one architecture, an older variant runs on a newer machine. */
static int rank_variant(const struct platform *want, const char *variant, int standard)
{
	int w = variant_number(want->variant, standard), h = variant_number(variant, standard);

	if (w < 0 || h < 0)
		return strcmp(want->variant, variant) == 0 ? 0 : -1;
	return h <= w ? w - h : -1;
}

int platform_rank(const struct platform *want, const struct platform *have)
{
	bool same = strcmp(want->arch, have->arch) == 0;
	int h;

	if (strcmp(want->os, have->os) != 0)
		return -1;
	if (want->os_version[0] != '\0' && strcmp(want->os_version, have->os_version) != 0)
		return -1;
	if (same && strcmp(want->arch, "arm64") == 0)
		return rank_variant(want, have->variant, 8);
	if (same && strcmp(want->arch, "arm") == 0)
		return rank_variant(want, have->variant, 7);
	if (same)
		return rank_variant(want, have->variant, 1);
	if (strcmp(want->arch, "amd64") == 0 && strcmp(have->arch, "386") == 0)
		return 100;
	h = variant_number(have->variant, 7);
	if (strcmp(want->arch, "arm64") == 0 && strcmp(have->arch, "arm") == 0 && h >= 5 && h <= 8)
		return 100 + 8 - h;
	return -1;
}
