#include "mount/ref_name.h"

#include <errno.h>

#include "lib/test.h"

TEST(a_ref_has_one_name_and_the_name_leads_back)
{
	static const struct {
		const char *ref, *name;
	} rows[] = {
		{"redis", "redis"},
		{"docker.io/library/redis", "docker.io%2Flibrary%2Fredis"},
		{"a//b/", "a%2F%2Fb%2F"},
		{"100%", "100%"},
		{"%41", "%41"},
		{"%2", "%2"},
		{"%2F", "%252F"},
		{"%2f", "%252f"},
		{"%25", "%2525"},
		{"%%25", "%%2525"},
		{"\xff\n", "\xff\n"},
		{"...", "..."},
	};
	char name[REF_NAME_MAX + 1], ref[300];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK(!ref_name_is_hashed(rows[i].ref));
		ref_name_encode(rows[i].ref, name);
		CHECK_STR(name, rows[i].name);
		CHECK_EQ(ref_name_decode(name, ref, sizeof(ref)), 0);
		CHECK_STR(ref, rows[i].ref);
	}
}

TEST(names_that_users_type_lead_to_the_same_ref)
{
	char ref[16];

	CHECK_EQ(ref_name_decode("a%2fb", ref, sizeof(ref)), 0);
	CHECK_STR(ref, "a/b");
	CHECK_EQ(ref_name_decode("%25", ref, sizeof(ref)), 0);
	CHECK_STR(ref, "%");
	CHECK_EQ(ref_name_decode("%", ref, sizeof(ref)), 0);
	CHECK_STR(ref, "%");
	CHECK_EQ(ref_name_decode("", ref, sizeof(ref)), -EINVAL);
	CHECK_EQ(ref_name_decode("123456789012345", ref, sizeof(ref)), 0);
	CHECK_EQ(ref_name_decode("1234567890123456", ref, sizeof(ref)), -ENAMETOOLONG);
	CHECK_EQ(ref_name_decode("%2F%2F%2F", ref, 4), 0);
	CHECK_EQ(ref_name_decode("%2F%2F%2F%2F", ref, 4), -ENAMETOOLONG);
}

TEST(what_fits_no_name_is_named_by_its_hash)
{
	char ref[600], name[REF_NAME_MAX + 1];

	memset(ref, 'n', sizeof(ref));
	ref[255] = '\0';
	CHECK(!ref_name_is_hashed(ref));
	ref_name_encode(ref, name);
	CHECK_STR(name, ref);
	ref[254] = '/'; /* takes three */
	CHECK(ref_name_is_hashed(ref));
	ref_name_encode(ref, name);
	CHECK_EQ(strspn(name, "0123456789abcdef"), 64);
	CHECK_EQ(strlen(name), 64);
	ref_name_encode("..", name);
	CHECK_STR(name, "5ec1f7e700f37c3d0b2981d04855fc34b94aaa15457b05ca571817442d228f81");
	CHECK(ref_name_is_hashed(".") && ref_name_is_hashed("..") && ref_name_is_hashed(""));
}

TEST_MAIN()
