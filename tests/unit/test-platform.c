#include "oci/platform.h"

#include <errno.h>

#include "lib/test.h"

TEST(other_peoples_names_are_normalised)
{
	static const struct {
		const char *text, *out;
	} table[] = {
		{"linux/amd64", "linux/amd64"},	      {"linux/x86_64", "linux/amd64"},
		{"Linux/AMD64", "linux/amd64"},	      {"linux/amd64/v1", "linux/amd64"},
		{"linux/amd64/v3", "linux/amd64/v3"}, {"linux/aarch64", "linux/arm64"},
		{"linux/arm64/v8", "linux/arm64"},    {"linux/arm64/8", "linux/arm64"},
		{"linux/arm64/v9", "linux/arm64/v9"}, {"linux/arm", "linux/arm/v7"},
		{"linux/arm/6", "linux/arm/v6"},      {"linux/armhf", "linux/arm/v7"},
		{"linux/armel", "linux/arm/v6"},      {"linux/i386", "linux/386"},
		{"macos/arm64", "darwin/arm64"},      {"linux/riscv64", "linux/riscv64"},
		{"windows/amd64", "windows/amd64"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct platform p;
		char text[PLATFORM_TEXT_MAX];

		CHECK_EQ(platform_parse(table[i].text, &p, NULL), 0);
		platform_format(&p, text);
		CHECK_STR(text, table[i].out);
	}
}

TEST(one_word_takes_the_other_from_the_host)
{
	struct platform host, p;

	platform_host(&host);
	CHECK_STR(host.os, "linux");
	CHECK(host.arch[0] != '\0');
	CHECK_EQ(platform_parse("linux", &p, NULL), 0);
	CHECK_STR(p.arch, host.arch);
	CHECK_EQ(platform_parse("s390x", &p, NULL), 0);
	CHECK_STR(p.os, "linux");
	CHECK_STR(p.arch, "s390x");
	CHECK_STR(p.variant, "");
}

TEST(what_is_no_platform_is_refused)
{
	static const char *const table[] = {
		"",
		"/",
		"linux/",
		"/amd64",
		"linux//v8",
		"a/b/c/d",
		"linux/am d64",
		"linux/a\n",
		"a/b/c/",
		"linux/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct platform p = {.os = "untouched"};

		CHECK_EQ(platform_parse(table[i], &p, NULL), -EINVAL);
		CHECK_STR(p.os, "untouched");
	}
}

TEST(a_machine_runs_its_own_best_then_what_is_older)
{
	static const struct {
		const char *want, *have;
		int rank;
	} table[] = {
		{"linux/amd64", "linux/amd64", 0},     {"linux/amd64", "linux/386", 100},
		{"linux/amd64", "linux/amd64/v2", -1}, {"linux/amd64/v3", "linux/amd64/v2", 1},
		{"linux/amd64/v3", "linux/amd64", 2},  {"linux/amd64", "windows/amd64", -1},
		{"linux/386", "linux/amd64", -1},      {"linux/arm/v7", "linux/arm/v6", 1},
		{"linux/arm/v6", "linux/arm/v7", -1},  {"linux/arm64", "linux/arm64/v8", 0},
		{"linux/arm64", "linux/arm/v7", 101},  {"linux/arm64", "linux/arm64/v9", -1},
		{"linux/riscv64", "linux/riscv64", 0}, {"linux/s390x", "linux/ppc64le", -1},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct platform want, have;

		CHECK_EQ(platform_parse(table[i].want, &want, NULL), 0);
		CHECK_EQ(platform_parse(table[i].have, &have, NULL), 0);
		if (platform_rank(&want, &have) != table[i].rank)
			TEST_FAIL("%s on %s: %d", table[i].have, table[i].want,
				  platform_rank(&want, &have));
	}
}

TEST_MAIN()
