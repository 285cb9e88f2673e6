#include "oci/reference.h"

#include <errno.h>

#include "lib/test.h"

#define HEX "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define B10 "aaaaaaaaaa"
#define B60 B10 B10 B10 B10 B10 B10
#define B120 B60 B60
#define B240 B120 B120

TEST(names_as_people_type_them_come_out_in_full)
{
	static const struct {
		const char *text, *full;
	} table[] = {
		{"redis", "docker.io/library/redis"},
		{"redis:6", "docker.io/library/redis:6"},
		{"library/redis", "docker.io/library/redis"},
		{"someone/app", "docker.io/someone/app"},
		{"docker.io/redis", "docker.io/library/redis"},
		{"docker.io/library/redis:6", "docker.io/library/redis:6"},
		{"index.docker.io/redis", "docker.io/library/redis"},
		{"registry-1.docker.io/library/redis", "registry-1.docker.io/library/redis"},
		{"localhost/a", "localhost/a"},
		{"localhost:5000", "docker.io/library/localhost:5000"}, /* a tag: no "/" */
		{"localhost:5000/a", "localhost:5000/a"},
		{"localhost:5000/a/b@sha256:" HEX, "localhost:5000/a/b@sha256:" HEX},
		{"127.0.0.1:5000/a:v1", "127.0.0.1:5000/a:v1"},
		{"[::1]:5000/a:v1", "[::1]:5000/a:v1"},
		{"[fe80::1]/a", "[fe80::1]/a"},
		{"Host/a", "Host/a"},
		{"h.example/a/b/c/d:T_1.x-y", "h.example/a/b/c/d:T_1.x-y"},
		{"h.example/a:v1@sha256:" HEX, "h.example/a:v1@sha256:" HEX},
		{"a.b_c__d---e", "docker.io/library/a.b_c__d---e"},
		{"a/b.c", "docker.io/a/b.c"},
		{"h.example/" B240, "h.example/" B240},
		{"a:" B120, "docker.io/library/a:" B120},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct reference r, again;
		char full[REFERENCE_TEXT_MAX];
		struct err err = {0};

		CHECK_EQ(reference_parse(table[i].text, &r, &err), 0);
		reference_format(&r, full);
		CHECK_STR(full, table[i].full);
		CHECK_EQ(reference_parse(full, &again, NULL), 0);
		CHECK_STR(again.host, r.host);
		CHECK_STR(again.repository, r.repository);
		CHECK_STR(again.tag, r.tag);
		CHECK_EQ(again.has_digest, r.has_digest);
	}
}

TEST(what_is_no_name_is_refused_and_leaves_the_result_alone)
{
	static const struct {
		const char *text;
		int code;
		const char *why;
	} table[] = {
		{"", EINVAL, "empty"},
		{"Redis", EINVAL, "lower case"},
		{"h.example/Redis", EINVAL, "lower case"},
		{"h.example", 0, ""}, /* a repository of docker.io */
		{"h.example/", EINVAL, "no repository"},
		{"/a", EINVAL, "no repository"},
		{"a//b", EINVAL, "no repository"},
		{"a/", EINVAL, "no repository"},
		{"-a", EINVAL, "no repository"},
		{"a-", EINVAL, "no repository"},
		{"a..b", EINVAL, "no repository"},
		{"a___b", EINVAL, "no repository"},
		{"a/../b", EINVAL, "no repository"},
		{"a b", EINVAL, "no repository"},
		{"a\nb", EINVAL, "no repository"},
		{"a?b=c", EINVAL, "no repository"},
		{"a:", EINVAL, "no tag"},
		{"a:-x", EINVAL, "no tag"},
		{"a:x/y", EINVAL, "no host"},
		{"a:x:y", EINVAL, "no tag"},
		{"a:" B120 B10, EINVAL, "tag longer"},
		{"http://a/b", EINVAL, "scheme"},
		{"host.:5000/a", EINVAL, "no host"},
		{"-host.x/a", EINVAL, "no host"},
		{"h.x:port/a", EINVAL, "no host"},
		{"h.x:/a", EINVAL, "no host"},
		{"h.x:123456/a", EINVAL, "no host"},
		{"u@h.x/a", EINVAL, "digest"},
		{"[::1/a", EINVAL, "no host"},
		{"h.example/" B240 B10, EINVAL, "longer than 255"},
		{B240 B10 ".x/a/" B60, EINVAL, "longer than 255"},
		{B240 B240 B240, EINVAL, "longer"},
		{HEX, EINVAL, "sha256:"},
		{"a@", EINVAL, "digest"},
		{"a@sha256:12", EINVAL, "length"},
		{"a@sha512:" HEX HEX, EOPNOTSUPP, "sha512"},
		{"a@sha256:" HEX "@sha256:" HEX, EINVAL, "length"},
		{"@sha256:" HEX, EINVAL, "no repository"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct reference r = {.host = "untouched"};
		struct err err = {0};

		CHECK_EQ(reference_parse(table[i].text, &r, &err), -table[i].code);
		if (table[i].code == 0)
			continue;
		CHECK_STR(r.host, "untouched");
		if (strstr(err.msg, table[i].why) == NULL)
			TEST_FAIL("\"%s\": \"%s\" does not say %s", table[i].text, err.msg,
				  table[i].why);
	}
}

TEST(a_source_has_a_host_and_nothing_behind_the_repository)
{
	static const struct {
		const char *text;
		int r;
		const char *name;
	} table[] = {
		{"localhost:5000/a/b", 0, "localhost:5000/a/b"},
		{"docker.io/library/redis", 0, "docker.io/library/redis"},
		{"docker.io/redis", 0, "docker.io/library/redis"},
		{"redis", -EINVAL, ""},
		{"library/redis", -EINVAL, ""},
		{"docker.iox", -EINVAL, ""},
		{"h.example/a:v1", -EINVAL, ""},
		{"h.example/a@sha256:" HEX, -EINVAL, ""},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct reference r;
		char name[REFERENCE_NAME_MAX + 1] = "";

		CHECK_EQ(reference_parse_source(table[i].text, &r, NULL), table[i].r);
		if (table[i].r == 0)
			reference_format_name(&r, name);
		CHECK_STR(name, table[i].name);
	}
}

TEST(latest_is_meant_where_neither_tag_nor_digest_is_given)
{
	struct reference r;

	CHECK_EQ(reference_parse("redis", &r, NULL), 0);
	CHECK_STR(r.tag, "");
	reference_set_default_tag(&r);
	CHECK_STR(r.tag, "latest");
	CHECK_EQ(reference_parse("redis:6", &r, NULL), 0);
	reference_set_default_tag(&r);
	CHECK_STR(r.tag, "6");
	CHECK_EQ(reference_parse("redis@sha256:" HEX, &r, NULL), 0);
	reference_set_default_tag(&r);
	CHECK_STR(r.tag, "");
}

TEST_MAIN()
