#include "base/size.h"

#include <errno.h>

#include "lib/test.h"

TEST(sizes_are_printed_as_the_reference_prints_them)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} rows[] = {
		{0, "0 B"},
		{5, "5 B"},
		{999, "999 B"},
		{1000, "1 kB"},
		{4096, "4.096 kB"},
		{1500000, "1.5 MB"},
		{1234567, "1.235 MB"},
		{999999, "1000 kB"},
		{1000000000, "1 GB"},
		{UINT64_MAX, "18.45 EB"},
	};
	char text[32];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		size_format(rows[i].bytes, text, sizeof(text));
		CHECK_STR(text, rows[i].text);
	}
}

TEST(sizes_are_read_with_their_units)
{
	static const struct {
		const char *text;
		int r;
		uint64_t bytes;
	} rows[] = {
		{"0", 0, 0},
		{"123", 0, 123},
		{"10k", 0, 10000},
		{"10kB", 0, 10000},
		{"10KB", 0, 10000},
		{"1.5G", 0, 1500000000},
		{"2GiB", 0, 2ULL << 30},
		{"2gi", 0, 2ULL << 30},
		{"1 MB", 0, 1000000},
		{"1Ki", 0, 1024},
		{"5b", 0, 5},
		{".5k", 0, 500},
		{"18446744073709551615", 0, UINT64_MAX},
		{"18446744073709551616", -ERANGE, 0},
		{"18447P", -ERANGE, 0},
		{"", -EINVAL, 0},
		{"k", -EINVAL, 0},
		{".", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"+1", -EINVAL, 0},
		{"1x", -EINVAL, 0},
		{"1kk", -EINVAL, 0},
		{"1kBB", -EINVAL, 0},
		{"1e3", -EINVAL, 0},
		{"0x10", -EINVAL, 0},
		{"1i", -EINVAL, 0},
	};
	uint64_t plain;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t bytes = 77;
		int r = size_parse(rows[i].text, &bytes);

		if (r != rows[i].r || bytes != (r < 0 ? 77 : rows[i].bytes))
			TEST_FAIL("\"%s\": %d, %llu", rows[i].text, r, (unsigned long long)bytes);
	}
	CHECK_EQ(size_parse_plain("18446744073709551615", &plain), 0);
	CHECK(plain == UINT64_MAX);
	CHECK_EQ(size_parse_plain("18446744073709551616", &plain), -ERANGE);
	CHECK_EQ(size_parse_plain("1k", &plain), -EINVAL);
	CHECK_EQ(size_parse_plain("", &plain), -EINVAL);
	CHECK(plain == UINT64_MAX);
}

TEST_MAIN()
