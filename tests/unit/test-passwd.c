#include "oci/passwd.h"

#include <errno.h>

#include "lib/test.h"

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "# a remark\n"
			     "broken\n"
			     "noid:x::\n"
			     "negative:x:-1:0::/:\n"
			     "redis:x:999:998:Redis:/var/lib/redis:/bin/false\n"
			     "1000:x:7:8::/seven:\n"
			     "app:x:1000:1000::/home/app:/bin/sh\n"
			     "short:x:5:6:\n"
			     "last:x:6:6::/last:"; /* no newline */

static const char group[] = "root:x:0:app\n"
			    "redis:x:998:redis\n"
			    "audio:x:29:app,redis,other\n"
			    "audio2:x:29:app\n"
			    "video:x:44:apples,app\n"
			    "empty:x:45:\n"
			    "many:x:99999999999:app\n"
			    "nomembers:x:46";

static int resolve(const char *user, struct process_user *u, struct err *err)
{
	return passwd_resolve(user, passwd, strlen(passwd), group, strlen(group), u, err);
}

TEST(users_are_found_by_name_and_by_number)
{
	static const struct {
		const char *user;
		unsigned int uid, gid;
		const char *home, *groups;
	} table[] = {
		{"", 0, 0, "/root", ""},
		{"root", 0, 0, "/root", ""},
		{"0", 0, 0, "/root", ""},
		{"redis", 999, 998, "/var/lib/redis", "29 "},
		{"999", 999, 998, "/var/lib/redis", "29 "},
		{"app", 1000, 1000, "/home/app", "0 29 44 "},
		{"1000", 7, 8, "/seven", ""}, /* a name first */
		{"4242", 4242, 0, "", ""},
		{"app:audio", 1000, 29, "/home/app", ""},
		{"app:5", 1000, 5, "/home/app", ""},
		{"4242:4343", 4242, 4343, "", ""},
		{"4242:nomembers", 4242, 46, "", ""},
		{"last", 6, 6, "/last", ""},
		{"4294967294", 4294967294U, 0, "", ""},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct process_user u;
		char groups[128] = "";

		CHECK_EQ(resolve(table[i].user, &u, NULL), 0);
		CHECK_EQ(u.uid, table[i].uid);
		CHECK_EQ(u.gid, table[i].gid);
		CHECK_STR(u.home, table[i].home);
		for (size_t k = 0; k < u.n_groups; k++)
			(void)snprintf(groups + strlen(groups), sizeof(groups) - strlen(groups),
				       "%u ", u.groups[k]);
		CHECK_STR(groups, table[i].groups);
	}
}

TEST(what_the_database_lacks_is_named)
{
	static const struct {
		const char *user;
		int r;
	} table[] = {
		{"nobody", -ENOENT},
		{"app:nogroup", -ENOENT},
		{"broken", -ENOENT},
		{"noid", -ENOENT},
		{"negative", -ENOENT},
		{"short", -ENOENT},
		{":", -EINVAL},
		{"app:", -EINVAL},
		{":audio", -EINVAL},
		{"4294967295", -EINVAL},
		{"app:many", -ENOENT},
		{"a:99999999999", -ENOENT},
		{"1:99999999999", -EINVAL},
		{"-1", -ENOENT},
		{"app\n", -ENOENT},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct process_user u = {.uid = 77};
		struct err err = {0};

		if (resolve(table[i].user, &u, &err) != table[i].r)
			TEST_FAIL("%s: %s", table[i].user, err.msg);
		CHECK_EQ(u.uid, 77);
		CHECK(err.msg[0] != '\0');
	}
}

TEST(without_a_database_numbers_stand_for_themselves)
{
	struct process_user u;

	CHECK_EQ(passwd_resolve("", "", 0, "", 0, &u, NULL), 0);
	CHECK_EQ(u.uid, 0);
	CHECK_EQ(passwd_resolve("5:6", NULL, 0, NULL, 0, &u, NULL), 0);
	CHECK_EQ(u.gid, 6);
	CHECK_EQ(passwd_resolve("root", "", 0, "", 0, &u, NULL), -ENOENT);
}

TEST_MAIN()
