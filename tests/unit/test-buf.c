#include "base/buf.h"

#include <errno.h>
#include <stdint.h>

#include "lib/test.h"

TEST(a_buffer_never_passes_its_limit_and_is_unchanged_when_it_would)
{
	cleanup_buf struct buf b;

	buf_init(&b, 10);
	CHECK_STR(b.data, "");
	CHECK_EQ(buf_add(&b, "", 0), 0);
	CHECK_EQ(buf_puts(&b, "12345"), 0);
	CHECK_EQ(buf_printf(&b, "%d", 678), 0);
	CHECK_EQ(buf_puts(&b, "90x"), -E2BIG);
	CHECK_EQ(buf_printf(&b, "%s", "90x"), -E2BIG);
	CHECK_EQ(buf_add(&b, "x", SIZE_MAX), -E2BIG);
	CHECK_EQ(buf_reserve(&b, 3), -E2BIG);
	CHECK_STR(b.data, "12345678");
	CHECK_EQ(b.len, 8);
	CHECK_EQ(buf_puts(&b, "90"), 0);
	CHECK_EQ(buf_puts(&b, ""), 0);
	CHECK_EQ(buf_puts(&b, "x"), -E2BIG);
	CHECK_STR(b.data, "1234567890");
}

TEST(bytes_are_consumed_from_the_front_and_handed_over_whole)
{
	struct buf b;
	char *p;

	buf_init(&b, 1 << 20);
	p = buf_steal(&b);
	CHECK(p != NULL && p[0] == '\0');
	free(p);
	for (int i = 0; i < 1000; i++)
		CHECK_EQ(buf_printf(&b, "%04d", i), 0);
	buf_consume(&b, 0);
	buf_consume(&b, 4 * 990);
	CHECK_EQ(b.len, 40);
	CHECK_STR(b.data, "0990099109920993099409950996099709980999");
	CHECK_EQ(buf_add(&b, "\0x", 2), 0);
	CHECK_EQ(b.len, 42);
	p = buf_steal(&b);
	CHECK(memcmp(p + 40, "\0x", 3) == 0);
	free(p);
	CHECK_EQ(b.len, 0);
	CHECK_STR(b.data, "");
	buf_done(&b);
	buf_done(&b);
}

TEST_MAIN()
