/* Fields, extended headers, maps and lists of a tar archive; whole archives: apply-layer.py. */
#include "unpack/tar.h"

#include <errno.h>

#include "lib/test.h"
#include "unpack/acl.h"
#include "unpack/tar_fields.h"

TEST(numbers_are_octal_or_base_256)
{
	static const struct {
		const char *field;
		size_t n;
		int r;
		int64_t value;
	} table[] = {
		{"0000644\0", 8, 0, 0644},
		{"   644 \0", 8, 0, 0644},
		{"\0\0\0\0\0\0\0\0", 8, 0, 0},
		{"        ", 8, 0, 0},
		{"77777777", 8, 0, 077777777},
		{"777777777777", 12, 0, 0777777777777},
		{"64 4    ", 8, -EINVAL, 0},
		{"0000648\0", 8, -EINVAL, 0},
		{"-1      ", 8, -EINVAL, 0},
		{"\x80\0\0\0\0\0\x01\0", 8, 0, 256},
		{"\xff\xff\xff\xff\xff\xff\xff\xff", 8, 0, -1},
		{"\xff\xff\xff\xff\xff\xff\xff\xfe", 8, 0, -2},
		{"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff", 12, 0, INT64_MAX},
		{"\x80\0\0\0\x80\0\0\0\0\0\0\0", 12, -ERANGE, 0},
		{"\xff\xff\xff\xff\x80\0\0\0\0\0\0\0", 12, 0, INT64_MIN},
		{"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 12, -ERANGE, 0},
		{"\x80\x01\0\0\0\0\0\0\0\0\0\0", 12, -ERANGE, 0},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		int64_t v = 12345;

		CHECK_EQ(tar_number((const uint8_t *)table[i].field, table[i].n, &v), table[i].r);
		CHECK_EQ(v, table[i].r == 0 ? table[i].value : 12345);
	}
}

static int parse(struct pax *p, struct tar_sparse *sparse, const char *text, size_t n)
{
	pax_reset(p);
	if (buf_add(&p->raw, text, n) < 0)
		return -ENOMEM;
	return pax_parse(p, sparse, NULL);
}

#define PARSE(text) parse(&p, &sparse, text, sizeof(text) - 1)

TEST(pax_records_are_parsed_whole_or_refused)
{
	static const char *const bad[] = {
		"x",
		"9 a=b",
		"6 a=b\n6",
		"7 a=b\n",
		"5 a=b\n",
		"6 =bc\n",
		"4 a\n",
		"999999999999999999999 a=b\n",
		"06 a=bx",
		" 6 a=b\n",
		"-6 a=b\n",
		"13 mtime=1x\n",
		"11 mtime=\n1",
		"10 size=-1\n",
		"13 uid=1e300\n",
		"30 size=99999999999999999999\n",
	};
	struct tar_sparse sparse;
	struct pax p;

	tar_sparse_init(&sparse);
	pax_init(&p, 4096);
	CHECK_EQ(PARSE("11 path=a\n9 path=b\n"), -EBADMSG);
	CHECK_EQ(PARSE("11 path=a\0\n"), -EBADMSG); /* two readings of one name */
	CHECK_EQ(PARSE("10 path=ab\n"), -EBADMSG);
	CHECK_EQ(PARSE("10 path=a\n"), 0);
	CHECK_EQ(PARSE("9 path=a\n9 path=b\n"), 0);
	CHECK_STR(p.path, "b");
	CHECK_EQ(PARSE("9 path=a\n8 path=\n"), 0);
	CHECK_STR(p.path, "a");
	CHECK_EQ(PARSE(""), 0);
	CHECK(p.path == NULL);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK_EQ(parse(&p, &sparse, bad[i], strlen(bad[i])), -EBADMSG);
	pax_done(&p);
	tar_sparse_done(&sparse);
}

TEST(pax_times_have_signs_and_nanoseconds)
{
	struct tar_sparse sparse;
	struct pax p;

	tar_sparse_init(&sparse);
	pax_init(&p, 4096);
	CHECK_EQ(PARSE("26 mtime=12.3456789019999\n"), 0);
	CHECK_EQ(p.mtime.tv_sec, 12);
	CHECK_EQ(p.mtime.tv_nsec, 345678901);
	CHECK_EQ(PARSE("14 mtime=-1.25\n"), -EBADMSG);
	CHECK_EQ(PARSE("15 mtime=-1.25\n"), 0);
	CHECK_EQ(p.mtime.tv_sec, -2);
	CHECK_EQ(p.mtime.tv_nsec, 750000000);
	CHECK_EQ(PARSE("28 mtime=9223372036854775808\n"), -EBADMSG);
	CHECK_EQ(PARSE("29 mtime=9223372036854775808\n"), -EBADMSG);
	pax_done(&p);
	tar_sparse_done(&sparse);
}

TEST(extended_attributes_hold_any_bytes)
{
	struct tar_sparse sparse;
	struct pax p;

	tar_sparse_init(&sparse);
	pax_init(&p, 4096);
	CHECK_EQ(PARSE("27 SCHILY.xattr.user.a=\0=\n\n"), 0);
	CHECK_EQ(p.n_xattrs, 1);
	CHECK_STR(p.xattrs[0].name, "user.a");
	CHECK_EQ(p.xattrs[0].len, 3);
	CHECK(memcmp(p.xattrs[0].value, "\0=\n", 3) == 0);
	CHECK_EQ(PARSE("35 LIBARCHIVE.xattr.user.%61%=AAE=\n"), 0);
	CHECK_EQ(p.xattrs[0].len, 2);
	CHECK_EQ(PARSE("34 LIBARCHIVE.xattr.user.%61%=AAE\n"), 0);
	CHECK_STR(p.xattrs[0].name, "user.a%");
	CHECK_EQ(p.xattrs[0].len, 2);
	CHECK_EQ(PARSE("29 LIBARCHIVE.xattr.user.a=*\n"), -EBADMSG);
	pax_done(&p);
	tar_sparse_done(&sparse);
}

TEST(maps_of_sparse_files_are_checked_against_sizes)
{
	static const struct {
		const char *list;
		uint64_t size, data;
		int add, check;
	} table[] = {
		{"", 100, 0, 0, 0},
		{"0,10", 10, 10, 0, 0},
		{"5,5,10,0", 10, 5, 0, 0},
		{"0,10,5,5", 20, 15, 0, -EBADMSG},
		{"0,10", 9, 10, 0, -EBADMSG},
		{"0,10", 10, 9, 0, -EBADMSG},
		{"18446744073709551615,2", UINT64_MAX, 2, 0, -EBADMSG},
		{"0,1,", 10, 1, 0, 0},
		{"0", 10, 0, -EBADMSG, -EBADMSG},
		{",0", 10, 0, -EBADMSG, 0},
		{"0,x", 10, 0, -EBADMSG, -EBADMSG},
		{"18446744073709551616,0", 10, 0, -EBADMSG, 0},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct tar_sparse s;

		tar_sparse_init(&s);
		CHECK_EQ(tar_sparse_add_list(&s, table[i].list, NULL), table[i].add);
		CHECK_EQ(tar_sparse_check(&s, table[i].size, table[i].data, NULL), table[i].check);
		tar_sparse_done(&s);
	}
}

TEST(access_control_lists_become_the_value_that_the_kernel_wants)
{
	static const struct {
		const char *text;
		int r;
	} table[] = {
		{"user::rwx,group::r-x,other::---", 4 + 3 * 8},
		{"u::rwx\ng::r-x\nm::rwx\nu:5:r\no::-\n", 4 + 5 * 8},
		{"user::rwx, group::r-x #effective:r--\nother::r", 4 + 3 * 8},
		{"user:lisa:rw-:1000", 4 + 8},
		{"user:lisa:rw-", -ENOENT},
		{"user:4294967295:rw-", -EINVAL},
		{"user:99999999999:rw-", -ENOENT},
		{"", -EINVAL},
		{"user", -EINVAL},
		{"user::rwz", -EINVAL},
		{"nobody::rwx", -EINVAL},
		{"user:1:r:2:3", -EINVAL},
	};
	static char many[ACL_MAX_ENTRIES * 12];
	static uint8_t out[ACL_MAX_BYTES];

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		CHECK_EQ(acl_from_text(table[i].text, out), table[i].r);
	CHECK_EQ(acl_from_text("other::x,user:2:w,user::r,user:1:-", out), 4 + 4 * 8);
	CHECK(memcmp(out, "\2\0\0\0\1\0\4\0\xff\xff\xff\xff\2\0\0\0\1\0\0\0\2\0\2\0\2\0\0\0", 28) ==
	      0);
	for (int i = 0; i <= ACL_MAX_ENTRIES; i++)
		memcpy(many + 7 * i, "u:1:rw,", 8);
	CHECK_EQ(acl_from_text(many, out), -E2BIG);
}

TEST_MAIN()
