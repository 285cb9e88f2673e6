#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "lib/test.h"
#include "registry/challenge.h"
#include "registry/fields.h"
#include "registry/token_reply.h"
#include "registry/url.h"

TEST(a_content_range_says_what_rfc_9110_lets_it_say)
{
	static const struct {
		const char *text;
		struct content_range want;
	} table[] = {
		{"bytes 0-99/200", {true, 0, 99, true, 200}},
		{"bytes 0-0/1", {true, 0, 0, true, 1}},
		{"Bytes  5-9/* ", {true, 5, 9, false, 0}},
		{"bytes */1000", {false, 0, 0, true, 1000}},
		{"bytes */0", {false, 0, 0, true, 0}},
		{"bytes 9223372036854775806-9223372036854775806/9223372036854775807",
		 {true, INT64_MAX - 1, INT64_MAX - 1, true, INT64_MAX}},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct content_range c;

		CHECK_EQ(content_range_parse(table[i].text, &c), 0);
		CHECK_EQ(c.has_range, table[i].want.has_range);
		CHECK_EQ(c.first, table[i].want.first);
		CHECK_EQ(c.last, table[i].want.last);
		CHECK_EQ(c.has_total, table[i].want.has_total);
		CHECK_EQ(c.total, table[i].want.total);
	}
}

TEST(what_is_no_content_range_leaves_the_result_alone)
{
	static const char *const table[] = {
		"",
		"bytes",
		"bytes ",
		"bytes 0-99",
		"0-99/200",
		"items 0-99/200",
		"bytes 99-0/200",
		"bytes 0-200/200",
		"bytes -1-5/9",
		"bytes 0-/9",
		"bytes 0-5/",
		"bytes */*",
		"bytes 0-5/9x",
		"bytes 0-5/9 9",
		"bytes 0-18446744073709551616/*",
		"bytes a-b/c",
		"bytes 9223372036854775808-9223372036854775809/*",
		"bytes=0-5/9",
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct content_range c = {.first = 77};

		if (content_range_parse(table[i], &c) != -EINVAL || c.first != 77)
			TEST_FAIL("taken: \"%s\"", table[i]);
	}
}

TEST(an_uploads_range_ends_before_the_next_byte)
{
	static const struct {
		const char *text;
		int r;
		uint64_t next;
	} table[] = {
		{"0-1023", 0, 1024}, {"bytes=0-9", 0, 10}, {"0-0", 0, 0},    {" 0-5 ", 0, 6},
		{"1-5", -EINVAL, 0}, {"0", -EINVAL, 0},	   {"", -EINVAL, 0}, {"0-x", -EINVAL, 0},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		uint64_t next = 0;

		CHECK_EQ(upload_range_parse(table[i].text, &next), table[i].r);
		CHECK_EQ(next, table[i].next);
	}
}

TEST(retry_after_is_seconds_or_a_date)
{
	char date[64];
	time_t t = time(NULL) + 100;
	struct tm tm;

	(void)gmtime_r(&t, &tm);
	(void)strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	CHECK_EQ(retry_after_parse_ms("0"), 0);
	CHECK_EQ(retry_after_parse_ms("120"), 120000);
	CHECK_EQ(retry_after_parse_ms(" 7 "), 7000);
	CHECK_EQ(retry_after_parse_ms("soon"), 0);
	CHECK_EQ(retry_after_parse_ms(""), 0);
	CHECK_EQ(retry_after_parse_ms("-5"), 0);
	CHECK_EQ(retry_after_parse_ms("Fri, 31 Dec 1999 23:59:59 GMT"), 0);
	CHECK_EQ(retry_after_parse_ms("99999999999999"), (uint64_t)UINT32_MAX * 1000);
	CHECK(retry_after_parse_ms(date) > 90000 && retry_after_parse_ms(date) <= 100000);
}

TEST(a_media_type_loses_its_parameters)
{
	char out[16];

	mediatype_parse(" Text/HTML; charset=utf-8", out, sizeof(out));
	CHECK_STR(out, "text/html");
	mediatype_parse("a/very-long-one-that-does-not-fit", out, sizeof(out));
	CHECK_STR(out, "");
}

TEST(the_best_challenge_is_answered)
{
	static const struct {
		const char *text;
		int r;
		enum challenge_scheme scheme;
		const char *realm, *service, *scope;
	} table[] = {
		{"Bearer realm=\"https://a/t\",service=\"s\",scope=\"repository:x:pull,push\"", 0,
		 CHALLENGE_BEARER, "https://a/t", "s", "repository:x:pull,push"},
		{"bearer realm=https://a/t, scope = \"a b\"", 0, CHALLENGE_BEARER, "https://a/t",
		 "", "a b"},
		{"Basic realm=\"x\", Bearer realm=\"y\"", 0, CHALLENGE_BEARER, "y", "", ""},
		{"Bearer realm=\"y\", Basic realm=\"x\"", 0, CHALLENGE_BEARER, "y", "", ""},
		{"Negotiate abc==, Basic realm=\"a\\\"b\"", 0, CHALLENGE_BASIC, "a\"b", "", ""},
		{"Basic", 0, CHALLENGE_BASIC, "", "", ""},
		{" , Basic ,", 0, CHALLENGE_BASIC, "", "", ""},
		{"Digest realm=\"a, Basic\", nonce=x", 0, CHALLENGE_NONE, "", "", ""},
		{"Bearer service=\"s\"", 0, CHALLENGE_NONE, "", "", ""},
		{"Bearer realm=\"cut", -EINVAL, CHALLENGE_NONE, "", "", ""},
		{"Basic realm=\"a\", Bearer realm=\"", -EINVAL, CHALLENGE_BASIC, "a", "", ""},
		{"", 0, CHALLENGE_NONE, "", "", ""},
		{"\x01", -EINVAL, CHALLENGE_NONE, "", "", ""},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		static struct challenge c;

		memset(&c, 0, sizeof(c));
		if (challenge_parse(table[i].text, &c) != table[i].r || c.scheme != table[i].scheme)
			TEST_FAIL("wrong: %s", table[i].text);
		CHECK_STR(c.realm, table[i].realm);
		CHECK_STR(c.service, table[i].service);
		CHECK_STR(c.scope, table[i].scope);
	}
}

TEST(a_realm_that_does_not_fit_is_no_challenge)
{
	static struct challenge c;
	static char text[4000];

	(void)snprintf(text, sizeof(text), "Bearer realm=\"https://%03000d/\"", 0);
	CHECK_EQ(challenge_parse(text, &c), 0);
	CHECK_EQ(c.scheme, CHALLENGE_NONE);
}

TEST(an_origin_has_its_scheme_and_its_port)
{
	static const struct {
		const char *url, *want;
	} table[] = {
		{"https://Registry.Test/v2/x?y", "https://registry.test:443"},
		{"http://localhost:5000", "http://localhost:5000"},
		{"http://[::1]:5000/", "http://[::1]:5000"},
		{"HTTP://a", "http://a:80"},
		{"ftp://a/", NULL},
		{"https://u:p@a/", NULL},
		{"a/b", NULL},
		{"", NULL},
		{"https://a:99999/", NULL},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct url_origin o = {""};

		if ((url_origin(table[i].url, &o) == 0) != (table[i].want != NULL))
			TEST_FAIL("wrong: \"%s\"", table[i].url);
		if (table[i].want != NULL)
			CHECK_STR(o.s, table[i].want);
	}
}

TEST(a_location_leads_from_where_we_are)
{
	static const struct {
		const char *base, *location, *want;
	} table[] = {
		{"https://a/v2/x", "/y?z=1", "https://a/y?z=1"},
		{"https://a/v2/x", "y", "https://a/v2/y"},
		{"https://a/v2/x", "//b/y", "https://b/y"},
		{"https://a/v2/x", "http://b:1/y#f", "http://b:1/y"},
		{"https://a/v2/x?old", "?new", "https://a/v2/x?new"},
		{"https://a/v2/x", "/a b", "https://a/a%20b"},
		{"https://a/v2/x", "file:///etc/passwd", NULL},
		{"https://a/v2/x", "https://u@b/", NULL},
		{"https://a/v2/x", "//u:p@b/", NULL},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char *next = NULL;
		int r = url_join(table[i].base, table[i].location, &next);
		char got[64];

		(void)snprintf(got, sizeof(got), "%s", next != NULL ? next : "");
		free(next);
		CHECK_EQ(r, table[i].want != NULL ? 0 : -EINVAL);
		CHECK_STR(got, table[i].want != NULL ? table[i].want : "");
	}
}

TEST(messages_show_no_query)
{
	char out[64];

	url_show("https://a/b?X-Amz-Signature=secret", out, sizeof(out));
	CHECK_STR(out, "https://a/b?...");
	CHECK(url_is_loopback("localhost:5000") && url_is_loopback("127.1.2.3") &&
	      url_is_loopback("[::1]:1") && url_is_loopback("LOCALHOST"));
	CHECK(!url_is_loopback("localhost.example") && !url_is_loopback("127.0.0.1.example") &&
	      !url_is_loopback("10.0.0.1"));
}

TEST(a_token_reply_holds_a_token)
{
	static const struct {
		const char *text, *token;
		uint64_t life_ms;
	} table[] = {
		{"{\"token\": \"a\"}", "a", 60000},
		{"{\"access_token\": \"b\", \"expires_in\": 300}", "b", 300000},
		{"{\"token\": \"a\", \"access_token\": \"b\", \"expires_in\": 0}", "a", 60000},
		{"{\"token\": \"\", \"access_token\": \"b\", \"expires_in\": -5}", "b", 60000},
		{"{\"token\": \"a\", \"expires_in\": 1e99}", "a", 86400000},
		{"{\"token\": \"a b\"}", NULL, 0},
		{"{\"token\": \"a\\r\\nX: y\"}", NULL, 0},
		{"{\"token\": 5}", NULL, 0},
		{"[]", NULL, 0},
		{"", NULL, 0},
		{"{\"token\": \"a\"", NULL, 0},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char *token = NULL, got[16];
		uint64_t life_ms = 0;
		int r = token_reply_parse(table[i].text, strlen(table[i].text), &token, &life_ms,
					  NULL);

		(void)snprintf(got, sizeof(got), "%s", token != NULL ? token : "");
		free(token);
		CHECK_EQ(r, table[i].token != NULL ? 0 : -EPROTO);
		CHECK_STR(got, table[i].token != NULL ? table[i].token : "");
		CHECK_EQ(life_ms, table[i].life_ms);
	}
}

TEST_MAIN()
