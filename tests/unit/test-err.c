#include "base/err.h"

#include <errno.h>

#include "lib/test.h"

TEST(a_message_reads_outside_in_and_keeps_code_and_detail)
{
	struct err err;

	CHECK_EQ(err_set(&err, EBADMSG, "digest %s", "mismatch"), -EBADMSG);
	err.detail = 401;
	CHECK_EQ(err_wrap(&err, -EBADMSG, "layer %d", 3), -EBADMSG);
	CHECK_EQ(err_wrap(&err, -EBADMSG, "mount"), -EBADMSG);
	CHECK_STR(err.msg, "mount: layer 3: digest mismatch");
	CHECK_EQ(err.code, EBADMSG);
	CHECK_EQ(err.detail, 401);
	CHECK_EQ(err_errno(&err, ENOENT, "open \"%s\"", "x"), -ENOENT);
	CHECK_STR(err.msg, "open \"x\": No such file or directory");
	CHECK_EQ(err.detail, 0);
}

TEST(words_outlive_that_their_code_is_translated)
{
	struct err err = {.code = EBADMSG, .detail = 404, .msg = "digest mismatch"};

	CHECK_EQ(err_wrap(&err, -EIO, "read"), -EIO);
	CHECK_STR(err.msg, "read: digest mismatch");
	CHECK_EQ(err.code, EIO);
	CHECK_EQ(err.detail, 404);
	err = (struct err){0}; /* none were set */
	CHECK_EQ(err_wrap(&err, -EIO, "read"), -EIO);
	CHECK_STR(err.msg, "read: Input/output error");
}

TEST(without_storage_the_code_passes)
{
	CHECK_EQ(err_set(NULL, EIO, "x"), -EIO);
	CHECK_EQ(err_errno(NULL, EIO, "x"), -EIO);
	CHECK_EQ(err_wrap(NULL, -EIO, "x"), -EIO);
	CHECK_STR(err_text(NULL, -EIO), "Input/output error");
	CHECK_STR(err_text(&(struct err){.code = ENOENT, .msg = "other"}, -EIO),
		  "Input/output error");
	CHECK_STR(err_describe(99999), "Unknown error");
}

TEST(a_message_is_one_line_whatever_is_put_in)
{
	struct err err;
	char huge[2000];

	memset(huge, 'h', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	(void)err_set(&err, EIO, "%s", "a\nb\033c\177d\303\274");
	CHECK_STR(err.msg, "a?b?c?d\303\274");
	(void)err_set(&err, EIO, "%s", huge);
	CHECK_EQ(strlen(err.msg), sizeof(err.msg) - 1);
	(void)err_errno(&err, EIO, "%s", huge);
	CHECK_EQ(strlen(err.msg), sizeof(err.msg) - 1);
	(void)err_wrap(&err, -EIO, "%s", huge);
	CHECK_EQ(strlen(err.msg), sizeof(err.msg) - 1);
}

TEST_MAIN()
