#include "base/tabs.h"

#include <errno.h>

#include "lib/test.h"

TEST(columns_line_up_by_tabs_as_the_reference_s_do)
{
	static const struct {
		const char *cells[6];
		const char *text;
	} rows[] = {
		{{"REF", "SIZE", "x", "5 B"}, "REF\tSIZE\nx\t5 B\n"},
		{{"REF", "SIZE", "1234567", "5 B"}, "REF\tSIZE\n1234567\t5 B\n"},
		{{"REF", "SIZE", "12345678", "5 B"}, "REF\t\tSIZE\n12345678\t5 B\n"},
		{{"", "", "123456789012345", "x"}, "\t\t\n123456789012345\tx\n"},
		{{"\303\274\303\274\303\274", "x", "1234567", "y"},
		 "\303\274\303\274\303\274\tx\n1234567\ty\n"},
		{{"a", "b", "incomplete row"}, "a\t\tb\n"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cleanup_buf struct buf out;
		struct tabs t;

		buf_init(&out, 1000);
		tabs_init(&t, 2);
		for (size_t k = 0; rows[i].cells[k] != NULL; k++)
			CHECK_EQ(tabs_cell(&t, rows[i].cells[k]), 0);
		CHECK_EQ(tabs_print(&t, &out), 0);
		tabs_done(&t);
		CHECK_STR(out.data, rows[i].text);
	}
}

TEST(what_could_steer_a_terminal_is_escaped)
{
	static const struct {
		const char *in, *out;
	} rows[] = {
		{"plain \303\274\342\230\203\360\237\230\200",
		 "plain \303\274\342\230\203\360\237\230\200"},
		{"\t\n\r", "\\x09\\x0a\\x0d"},
		{"\033[2J", "\\x1b[2J"},
		{"\177", "\\x7f"},
		{"a\\b", "a\\\\b"},
		{"\xff\xfe", "\\xff\\xfe"},
		{"\302\200", "\\xc2\\x80"},		      /* C1 */
		{"\300\257", "\\xc0\\xaf"},		      /* overlong */
		{"\355\240\200", "\\xed\\xa0\\x80"},	      /* a surrogate */
		{"\364\220\200\200", "\\xf4\\x90\\x80\\x80"}, /* past the last */
		{"\342\230", "\\xe2\\x98"},		      /* cut */
		{"", ""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		cleanup_buf struct buf out;
		bool exact;

		buf_init(&out, 1000);
		CHECK_EQ(tabs_escape(rows[i].in, &out, &exact), 0);
		CHECK_STR(out.data, rows[i].out);
		CHECK_EQ(exact, strcmp(rows[i].in, rows[i].out) == 0);
	}
}

TEST(a_table_that_is_too_large_for_its_buffer_says_so)
{
	cleanup_buf struct buf out;
	struct tabs t;

	buf_init(&out, 5);
	tabs_init(&t, 2);
	CHECK_EQ(tabs_cell(&t, "12345"), 0);
	CHECK_EQ(tabs_cell(&t, "6"), 0);
	CHECK_EQ(tabs_print(&t, &out), -E2BIG);
	tabs_done(&t);
}

TEST_MAIN()
