#include <errno.h>

#include "lib/test.h"
#include "registry/credentials.h"

#define AUTH_MS "\"auth\": \"bWU6c2VjcmV0OngK\"" /* me:secret:x\n */

TEST(what_is_filed_is_found_by_every_name_of_a_host)
{
	static const struct {
		const char *text, *host, *repository, *user, *password, *helper;
	} table[] = {
		{"{\"auths\": {\"quay.io\": {\"auth\": \"bWU6c2VjcmV0\"}}}", "quay.io", "a/b", "me",
		 "secret", ""},
		{"{\"auths\": {\"https://quay.io/v2/\": {\"auth\": \"bWU6c2VjcmV0\"}}}", "quay.io",
		 "a/b", "me", "secret", ""},
		{"{\"auths\": {\"https://index.docker.io/v1/\": {\"auth\": \"bWU6c2VjcmV0\"}}}",
		 "registry-1.docker.io", "library/redis", "me", "secret", ""},
		{"{\"auths\": {\"docker.io\": {\"username\": \"u\", \"password\": \"p:q\"}}}",
		 "registry-1.docker.io", "library/redis", "u", "p:q", ""},
		{"{\"auths\": {\"docker.io/me\": {\"username\": \"u\", \"password\": \"p\"}}}",
		 "registry-1.docker.io", "me/x", "u", "p", ""},
		{"{\"auths\": {\"q\": {\"username\": \"1\", \"password\": \"p\"}, \"q/a\": "
		 "{\"username\": \"2\", \"password\": \"p\"}, \"q/a/b\": {\"username\": \"3\", "
		 "\"password\": \"p\"}}}",
		 "q", "a/c", "2", "p", ""},
		{"{\"auths\": {\"q\": {\"auth\": \"OnA=\"}}}", "q", "a", "", "p", ""},
		{"{\"credsStore\": \"s\", \"credHelpers\": {\"q\": \"h\"}, \"auths\": {\"q\": "
		 "{\"username\": \"u\", \"password\": \"p\"}}}",
		 "q", "a", "u", "p", "h"},
		{"{\"credsStore\": \"s\", \"credHelpers\": {\"q\": \"h\"}, \"auths\": {\"r\": "
		 "{\"username\": \"u\", \"password\": \"p\"}}}",
		 "r", "a", "u", "p", "s"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct credential c = {0};
		struct err err = {0};
		char helper[32], user[16], password[16];

		if (credentials_parse(table[i].text, strlen(table[i].text), table[i].host,
				      table[i].repository, &c, helper, sizeof(helper), &err) != 0)
			TEST_FAIL("%s: %s", table[i].text, err.msg);
		(void)snprintf(user, sizeof(user), "%s", c.user);
		(void)snprintf(password, sizeof(password), "%s", c.password);
		credential_done(&c);
		CHECK_STR(user, table[i].user);
		CHECK_STR(password, table[i].password);
		CHECK_STR(helper, table[i].helper);
	}
}

TEST(what_is_not_filed_or_garbled_is_told)
{
	static const struct {
		const char *text;
		int r;
		const char *words;
	} table[] = {
		{"{}", -ENOENT, "nothing is filed"},
		{"{\"auths\": {}}", -ENOENT, "nothing is filed"},
		{"{\"auths\": {\"quay.io.evil\": {\"auth\": \"bWU6c2VjcmV0\"}}}", -ENOENT,
		 "nothing"},
		{"{\"auths\": {\"quay.io:443\": {\"auth\": \"bWU6c2VjcmV0\"}}}", -ENOENT,
		 "nothing"},
		{"{\"auths\": {\"uay.io\": {\"auth\": \"bWU6c2VjcmV0\"}}}", -ENOENT, "nothing"},
		{"{\"auths\": {\"quay.io\": {}}}", -ENOENT, "nothing is filed"},
		{"{\"auths\": {\"quay.io\": {\"auth\": \"!\"}}}", -EINVAL, "garbled"},
		{"{\"auths\": {\"quay.io\": {\"auth\": \"bWU=\"}}}", -EINVAL, "garbled"},
		{"{\"auths\": {\"quay.io\": {" AUTH_MS "}}}", -EINVAL, "garbled"},
		{"{\"auths\": {\"quay.io\": {\"auth\": \"====\"}}}", -EINVAL, "garbled"},
		{"{\"auths\": {\"quay.io\": {\"username\": \"a\\nb\"}}}", -EINVAL, "garbled"},
		{"[]", -EINVAL, "no JSON object"},
		{"", -EINVAL, "no JSON"},
		{"{\n\n\"auths\":", -EINVAL, "line 3"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct credential c = {0};
		struct err err = {0};
		char helper[32];

		if (credentials_parse(table[i].text, strlen(table[i].text), "quay.io", "a", &c,
				      helper, sizeof(helper), &err) != table[i].r ||
		    strstr(err.msg, table[i].words) == NULL)
			TEST_FAIL("%s: %s", table[i].text, err.msg);
		CHECK(c.user == NULL && c.password == NULL && c.identity_token == NULL);
	}
}

/* What jansson says of an error quotes the text around it. */
TEST(a_secret_in_a_file_that_is_no_json_is_not_told)
{
	static const char *const table[] = {
		"{\"auths\": {\"quay.io\": {\"auth\": \"bWU6c2VjcmV0\" \"email\": \"\"}}}",
		"{\"auths\": {\"quay.io\": {\"auth\" \"bWU6c2VjcmV0\"}}}",
		"{\"auths\": {\"quay.io\": {\"auth\": bWU6c2VjcmV0}}}",
		"{\"auths\": {\"quay.io\": {\"auth\": \"bWU6c2VjcmV0\"}}} x",
		"{\"auths\": {\"quay.io\": {\"auth\": \"bWU6c2VjcmV0",
		"\"bWU6c2VjcmV0\"",
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct credential c = {0};
		struct err err = {0};
		char helper[32];

		CHECK_EQ(credentials_parse(table[i], strlen(table[i]), "quay.io", "a", &c, helper,
					   sizeof(helper), &err),
			 -EINVAL);
		if (strstr(err.msg, "2VjcmV0") != NULL || strstr(err.msg, "line 1") == NULL)
			TEST_FAIL("%s: %s", table[i], err.msg);
	}
}

TEST(a_file_that_is_named_must_be_there)
{
	struct credentials *c = NULL;
	struct err err = {0};

	CHECK_EQ(credentials_new("/nonexistent/auth.json", &c, &err), -EINVAL);
	CHECK(strstr(err.msg, "/nonexistent/auth.json") != NULL && c == NULL);
}

TEST_MAIN()
