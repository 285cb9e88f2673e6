#include "base/digest.h"

#include <errno.h>

#include "base/hex.h"
#include "lib/test.h"

#define HEX "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

TEST(a_digest_has_one_spelling)
{
	static const struct {
		const char *text;
		int r;
	} rows[] = {
		{"sha256:" HEX, 0},
		{"", -EINVAL},
		{":", -EINVAL},
		{"sha256", -EINVAL},
		{"sha256:", -EINVAL},
		{HEX, -EINVAL},
		{":" HEX, -EINVAL},
		{"sha256:" HEX "0", -EINVAL},
		{"sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b982", -EINVAL},
		{"sha256:2CF24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
		 -EINVAL},
		{"sha256:gcf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
		 -EINVAL},
		{" sha256:" HEX, -EOPNOTSUPP},
		{"SHA256:" HEX, -EOPNOTSUPP},
		{"sha512:" HEX HEX, -EOPNOTSUPP},
		{"sha256:" HEX "\n", -EINVAL},
		{"sha256: " HEX, -EINVAL},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct digest d = {{0x5a}};
		struct err err = {0};
		int r = digest_parse(rows[i].text, &d, &err);

		if (r != rows[i].r || (r < 0 && err.msg[0] == '\0'))
			TEST_FAIL("row %zu: %d", i, r);
		CHECK(r == 0 || d.bytes[0] == 0x5a);
		CHECK(r < 0 || strcmp(digest_text(&d).s, rows[i].text) == 0);
	}
}

TEST(a_name_expects_the_digest_it_ends_in)
{
	static const struct {
		const char *ref;
		bool expects;
	} rows[] = {
		{"sha256:" HEX, true},
		{"redis@sha256:" HEX, true},
		{"a@b@sha256:" HEX, true},
		{"@sha256:" HEX, true},
		{"redis:sha256:" HEX, false},
		{"redis@sha256:" HEX "0", false},
		{"redis@", false},
		{"sha256:" HEX "@x", false},
		{"", false},
		{HEX, false},
		{"redis@sha512:" HEX, false},
	};
	struct digest d;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (digest_from_ref(rows[i].ref, &d) != rows[i].expects)
			TEST_FAIL("row %zu", i);
}

TEST(hex_is_lower_case_and_all_or_nothing)
{
	unsigned char out[4] = {9, 9, 9, 9};
	char text[9];

	CHECK_EQ(hex_decode("00ff7f80", out, 4), 0);
	CHECK(memcmp(out, "\x00\xff\x7f\x80", 4) == 0);
	hex_encode(out, 4, text);
	CHECK_STR(text, "00ff7f80");
	CHECK_EQ(hex_decode("0102030g", out, 4), -EINVAL);
	CHECK_EQ(hex_decode("010203FF", out, 4), -EINVAL);
	CHECK_EQ(hex_decode("01", out, 2), -EINVAL); /* the NUL is no digit */
	CHECK(memcmp(out, "\x00\xff\x7f\x80", 4) == 0);
	CHECK_EQ(hex_decode("", out, 0), 0);
	hex_encode(out, 0, text);
	CHECK_STR(text, "");
}

TEST(a_hasher_can_be_looked_into_and_goes_on)
{
	struct hasher *h = NULL;
	struct digest part, whole, want;

	CHECK_EQ(hasher_new(&h), 0);
	hasher_update(h, "hel", 3);
	hasher_peek(h, &part);
	hasher_update(h, "lo", 2);
	hasher_final(h, &whole);
	CHECK_EQ(digest_of("hel", 3, &want), 0);
	CHECK(digest_equal(&part, &want));
	CHECK_EQ(digest_parse_hex(HEX, &want), 0);
	CHECK(digest_equal(&whole, &want));
	hasher_final(h, &whole); /* reset by the first */
	CHECK_EQ(digest_of("", 0, &want), 0);
	CHECK(digest_equal(&whole, &want));
	CHECK(digest_compare(&part, &whole) != 0 && digest_compare(&part, &part) == 0);
	CHECK(hasher_free(h) == NULL);
	CHECK(hasher_free(NULL) == NULL);
}

TEST_MAIN()
