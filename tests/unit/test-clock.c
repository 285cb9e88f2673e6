#include "base/clock.h"

#include <errno.h>

#include "lib/test.h"

#define S 1000000000ULL

TEST(durations_are_go_s_and_days)
{
	static const struct {
		const char *text;
		int r;
		uint64_t ns;
	} rows[] = {
		{"0", 0, 0},
		{"300ms", 0, 300000000},
		{"1m30s", 0, 90 * S},
		{"1.5h", 0, 5400 * S},
		{"7d", 0, 7 * 86400 * S},
		{"2us3ns", 0, 2003},
		{"2\302\265s", 0, 2000},
		{".5s", 0, S / 2},
		{"1.s", 0, S},
		{"0s", 0, 0},
		{"584y", -EINVAL, 0},
		{"", -EINVAL, 0},
		{"5", -EINVAL, 0},
		{"s", -EINVAL, 0},
		{".s", -EINVAL, 0},
		{"-1s", -EINVAL, 0},
		{"1s ", -EINVAL, 0},
		{" 1s", -EINVAL, 0},
		{"1h2", -EINVAL, 0},
		{"99999999999999999999s", -ERANGE, 0},
		{"9999999d", -ERANGE, 0},
		{"213503d213503d", -ERANGE, 0},
		{"0.0000000001s", 0, 0},
		{"0.9999999999999s", 0, S - 1},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t ns = 77;
		int r = clock_parse_duration(rows[i].text, &ns);

		if (r != rows[i].r || ns != (r < 0 ? 77 : rows[i].ns))
			TEST_FAIL("\"%s\": %d, %llu", rows[i].text, r, (unsigned long long)ns);
	}
}

TEST(ages_are_told_as_the_reference_tells_them)
{
	static const struct {
		uint64_t s;
		const char *text;
	} rows[] = {
		{0, "Less than a second"},
		{1, "1 seconds"},
		{59, "59 seconds"},
		{60, "About a minute"},
		{119, "About a minute"},
		{120, "2 minutes"},
		{3599, "59 minutes"},
		{3600, "About an hour"},
		{7199, "About an hour"},
		{7200, "2 hours"},
		{172799, "47 hours"},
		{172800, "2 days"},
		{1209599, "13 days"},
		{1209600, "2 weeks"},
		{7775999, "12 weeks"},
		{7776000, "3 months"},
		{63071999, "24 months"},
		{63072000, "2 years"},
		{18446744073ULL, "584 years"},
	};
	char text[64], small[5];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		clock_format_age(rows[i].s * S, text, sizeof(text));
		CHECK_STR(text, rows[i].text);
	}
	clock_format_age(S - 1, text, sizeof(text));
	CHECK_STR(text, "Less than a second");
	clock_format_age(5 * S, small, sizeof(small));
	CHECK_STR(small, "5 se");
}

TEST(times_are_rfc_3339_and_there_and_back_is_the_same)
{
	static const struct {
		const char *text;
		int r;
		int64_t ns;
	} rows[] = {
		{"1970-01-01T00:00:00Z", 0, 0},
		{"2017-01-27T12:34:56.5Z", 0, 1485520496500000000},
		{"2017-01-27T12:34:56.123456789Z\n", 0, 1485520496123456789},
		{"2017-01-27T12:34:56.1234567899Z", 0, 1485520496123456789},
		{"2017-01-27T14:34:56+02:00", 0, 1485520496000000000},
		{"2017-01-27T07:04:56-05:30", 0, 1485520496000000000},
		{"2017-01-27t12:34:56z", 0, 1485520496000000000},
		{"2016-12-31T23:59:60Z", 0, 1483228800000000000},
		{"1969-12-31T23:59:59Z", 0, -1000000000},
		{"", -EINVAL, 0},
		{"2017", -EINVAL, 0},
		{"2017-01-27T12:34:56", -EINVAL, 0},
		{"2017-13-27T12:34:56Z", -EINVAL, 0},
		{"2017-00-27T12:34:56Z", -EINVAL, 0},
		{"2017-01-32T12:34:56Z", -EINVAL, 0},
		{"2017-01-27T24:34:56Z", -EINVAL, 0},
		{"2017-01-27T12:60:56Z", -EINVAL, 0},
		{"2017-01-27T12:34:56Zx", -EINVAL, 0},
		{"2017-01-27T12:34:56+2:00", -EINVAL, 0},
		{"2017-01-27T12:34:56+25:00", -EINVAL, 0},
	};
	char text[64];
	int64_t ns, again;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int r;

		ns = 77;
		r = clock_parse_rfc3339(rows[i].text, &ns);
		if (r != rows[i].r || ns != (r < 0 ? 77 : rows[i].ns))
			TEST_FAIL("\"%s\": %d, %lld", rows[i].text, r, (long long)ns);
		if (r < 0)
			continue;
		clock_format_rfc3339(ns, text, sizeof(text));
		CHECK_EQ(clock_parse_rfc3339(text, &again), 0);
		CHECK_EQ(again, ns);
	}
	clock_format_rfc3339(-1, text, sizeof(text));
	CHECK_STR(text, "1969-12-31T23:59:59.999999999Z");
	CHECK(clock_mono_ns() <= clock_mono_ns() && clock_wall_ns() > 0);
}

TEST_MAIN()
