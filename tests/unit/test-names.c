#include "unpack/names.h"

#include <errno.h>

#include "lib/test.h"

TEST(names_are_cleaned_as_text_and_stay_within_the_root)
{
	static const struct {
		const char *name, *path, *base;
		size_t parent_len;
		int dotdot;
	} table[] = {
		{"", "", "", 0, 0},
		{".", "", "", 0, 0},
		{"/", "", "", 0, 0},
		{"..", "", "", 0, 1},
		{"../../x", "x", "x", 0, 1},
		{"a", "a", "a", 0, 0},
		{"./a/", "a", "a", 0, 0},
		{"/a//b/./c/", "a/b/c", "c", 3, 0},
		{"a/../b", "b", "b", 0, 1},
		{"a/b/../../c/d", "c/d", "d", 1, 1},
		{"a/b/..", "a", "a", 0, 1},
		{"...", "...", "...", 0, 0},
		{"a/..b/c.", "a/..b/c.", "c.", 5, 0},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct clean_name n;

		CHECK_EQ(clean_name(table[i].name, &n, NULL), 0);
		CHECK_STR(n.path, table[i].path);
		CHECK_STR(n.base, table[i].base);
		CHECK_EQ(n.parent_len, table[i].parent_len);
		CHECK_EQ(n.had_dotdot, table[i].dotdot);
	}
}

TEST(a_name_longer_than_a_path_can_be_is_refused)
{
	static char name[3 * PATH_MAX];
	struct clean_name n;

	memset(name, 'x', PATH_MAX - 2);
	CHECK_EQ(clean_name(name, &n, NULL), 0);
	CHECK_EQ(strlen(n.path), PATH_MAX - 2);
	name[PATH_MAX - 2] = 'x';
	name[PATH_MAX - 1] = 'x';
	CHECK_EQ(clean_name(name, &n, NULL), -ENAMETOOLONG);
	for (size_t i = 0; i + 1 < sizeof(name); i++)
		name[i] = i % 2 ? '/' : 'y';
	CHECK_EQ(clean_name(name, &n, NULL), -ENAMETOOLONG);
}

TEST(whiteouts_are_told_from_names_and_from_attacks)
{
	static const struct {
		const char *name;
		enum whiteout kind;
		const char *hidden;
	} table[] = {
		{"a", WHITEOUT_NONE, NULL},
		{".wh", WHITEOUT_NONE, NULL},
		{"a.wh.b", WHITEOUT_NONE, NULL},
		{".wh.etc/somefile", WHITEOUT_NONE, NULL},
		{"d/.wh.a", WHITEOUT_NAME, "a"},
		{".wh..a", WHITEOUT_NAME, ".a"},
		{".wh....", WHITEOUT_NAME, "..."},
		{"d/.wh.a/", WHITEOUT_NAME, "a"},
		{".wh..wh..opq", WHITEOUT_OPAQUE, NULL},
		{"d/.wh..wh..opq", WHITEOUT_OPAQUE, NULL},
		{".wh..wh.plnk", WHITEOUT_META, NULL},
		{".wh..wh.plnk/1.2", WHITEOUT_META, NULL},
		{".wh..wh.orph/.wh..", WHITEOUT_META, NULL},
		{"d/.wh..wh.aufs", WHITEOUT_META, NULL},
		{".wh.", WHITEOUT_BAD, NULL},
		{".wh..", WHITEOUT_BAD, NULL},
		{".wh...", WHITEOUT_BAD, NULL},
		{"d/.wh...", WHITEOUT_BAD, NULL},
		{"d/x/../.wh..", WHITEOUT_BAD, NULL},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const char *hidden = NULL;
		struct clean_name n;

		CHECK_EQ(clean_name(table[i].name, &n, NULL), 0);
		CHECK_EQ(whiteout_of(&n, &hidden), table[i].kind);
		CHECK_EQ(hidden != NULL, table[i].hidden != NULL);
		if (hidden != NULL)
			CHECK_STR(hidden, table[i].hidden);
	}
}

TEST_MAIN()
