#include "shim/json.h"

#include <errno.h>

#include "lib/test.h"

static const struct {
	const char *text, *value;
	long r;
} finds[] = {
	{"{\"k\":\"v\"}", "v", 9},
	{" { \"a\" : {\"k\":\"no\",\"b\":[1,{\"k\":[]}]} , \"k\" : \"v\" } ", "v", 51},
	{"{\"k\":\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "a\"\\/\b\f\n\r\t", 25},
	{"{\"k\":\"\\u00e4\\u20ac\\ud83d\\ude00\"}", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 32},
	{"{\"k\":\"\\ud83d!\\u0000\"}", "\xef\xbf\xbd!\xef\xbf\xbd", 21},
	{"{\"k\":\"first\",\"k\":\"second\"}", "first", 26},
	{"{\"k\":1}", "", -ENOENT},
	{"{\"other\":\"\"}", "", -ENOENT},
	{"{}", "", -ENOENT},
	{"", "", -EBADMSG},
	{"{", "", -EBADMSG},
	{"[\"k\",\"v\"]", "", -EBADMSG},
	{"{\"k\":\"v\"", "", -EBADMSG},
	{"{\"k\":\"v\",}", "", -EBADMSG},
	{"{\"k\" \"v\"}", "", -EBADMSG},
	{"{\"k\":}", "", -EBADMSG},
	{"{\"k\":\"\\x\"}", "", -EBADMSG},
	{"{\"k\":\"\\u12\"}", "", -EBADMSG},
	{"{\"k\":\"new\nline\"}", "", -EBADMSG},
	{"{\"a\":[[[[,\"k\":\"v\"}", "", -EBADMSG},
};

TEST(a_string_member_is_found_and_what_is_no_object_is_refused)
{
	char out[64];

	for (size_t i = 0; i < sizeof(finds) / sizeof(finds[0]); i++) {
		long r = json_find_string(finds[i].text, strlen(finds[i].text), "k", out,
					  sizeof(out));

		/* A trailing space is not of the object. */
		if ((r < 0 || finds[i].r < 0) ? r != finds[i].r : r > (long)strlen(finds[i].text))
			TEST_FAIL("%s gave %ld", finds[i].text, r);
		if (strcmp(out, finds[i].value) != 0)
			TEST_FAIL("%s gave \"%s\"", finds[i].text, out);
	}
}

TEST(every_prefix_of_an_object_is_refused)
{
	static const char text[] = "{\"a\":[1,{\"b\":null}],\"k\":\"\\u00e4v\",\"z\":true}";
	char out[16];

	for (size_t n = 0; n < sizeof(text) - 1; n++)
		CHECK_EQ(json_find_string(text, n, "k", out, sizeof(out)), -EBADMSG);
	CHECK(json_find_string(text, sizeof(text) - 1, "k", out, sizeof(out)) > 0);
}

TEST(a_value_is_cut_between_characters)
{
	char out[5];

	CHECK(json_find_string("{\"k\":\"abcdefgh\"}", 16, "k", out, sizeof(out)) > 0);
	CHECK_STR(out, "abcd");
	CHECK(json_find_string("{\"k\":\"abc\\u00e4x\"}", 18, "k", out, sizeof(out)) > 0);
	CHECK_STR(out, "abc");
}

TEST(depth_is_no_matter)
{
	enum { DEPTH = 100000 };
	static char text[2 * DEPTH + 32];
	char out[8];
	size_t n = 0;

	n += (size_t)sprintf(text, "{\"a\":");
	memset(text + n, '[', DEPTH);
	memset(text + n + DEPTH, ']', DEPTH);
	n += 2 * DEPTH;
	n += (size_t)sprintf(text + n, ",\"k\":\"v\"}");
	CHECK_EQ(json_find_string(text, n, "k", out, sizeof(out)), (long)n);
	CHECK_STR(out, "v");
}

static const struct {
	const char *log, *reason;
	int r;
} logs[] = {
	{"{\"level\":\"error\",\"msg\":\"why\"}\n", "why", 0},
	{"{\"level\":\"error\",\"msg\":\"first\"}\n{\"level\":\"error\",\"msg\":\"last\"}\n",
	 "last", 0},
	{"{\"level\":\"error\",\"msg\":\"why\"}\n{\"level\":\"info\",\"msg\":\"later\"}\n", "why",
	 0},
	{"{\"level\":\"warning\",\"msg\":\"well\"}\n{\"level\":\"info\",\"msg\":\"so\"}\n", "so",
	 0},
	{"{\"level\":\"fatal\",\"msg\":\"why\"}\nrubbish\n{\"level\":\"error\",\"ms", "why", 0},
	{"cut off\"}\n{\"msg\":\"no level\"}", "no level", 0},
	{"", "", -ENOENT},
	{"\n\n\n", "", -ENOENT},
	{"nothing\n{}\n{\"level\":\"error\"}", "", -ENOENT},
};

TEST(the_reason_is_the_last_error_of_a_log)
{
	char out[64];

	for (size_t i = 0; i < sizeof(logs) / sizeof(logs[0]); i++) {
		int r = json_log_reason(logs[i].log, strlen(logs[i].log), out, sizeof(out));

		if (r != logs[i].r || strcmp(out, logs[i].reason) != 0)
			TEST_FAIL("log %zu gave %d \"%s\"", i, r, out);
	}
}

TEST(strings_are_written_so_that_they_are_read_the_same)
{
	static const char *const strings[] = {"", "plain", "\"\\/\b\f\n\r\t\x01\x1f\x7f",
					      "\xc3\xa4\xf0\x9f\x98\x80"};
	static const char *const bad[] = {"\xff", "\xc0\x80", "\xed\xa0\x80", "x\xe2\x82", "\x80"};
	cleanup_buf struct buf b;
	char out[64];

	buf_init(&b, 1024);
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
		b.len = 0;
		CHECK_EQ(buf_puts(&b, "{\"k\":"), 0);
		CHECK_EQ(json_add_string(&b, strings[i]), 0);
		CHECK_EQ(buf_puts(&b, "}"), 0);
		CHECK_EQ(json_find_string(b.data, b.len, "k", out, sizeof(out)), (long)b.len);
		CHECK_STR(out, strings[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_EQ(json_add_string(&b, bad[i]), -EINVAL);
}

TEST_MAIN()
