#include <errno.h>

#include "lib/test.h"
#include "rpc/status.h"

TEST(a_status_comes_back_from_the_errno_that_it_became)
{
	static const enum rpc_status exact[] = {
		RPC_NOT_FOUND,
		RPC_ALREADY_EXISTS,
		RPC_INVALID_ARGUMENT,
		RPC_PERMISSION_DENIED,
		RPC_FAILED_PRECONDITION,
		RPC_RESOURCE_EXHAUSTED,
		RPC_DEADLINE_EXCEEDED,
		RPC_CANCELLED,
		RPC_UNIMPLEMENTED,
		RPC_UNAVAILABLE,
		RPC_INTERNAL,
		RPC_OK,
	};

	for (size_t i = 0; i < sizeof(exact) / sizeof(exact[0]); i++)
		CHECK_EQ(rpc_status_from_errno(rpc_status_to_errno(exact[i])), exact[i]);
	CHECK_EQ(rpc_status_to_errno(RPC_UNKNOWN), -EREMOTEIO);
	CHECK_EQ(rpc_status_to_errno(4711), -EREMOTEIO);
	CHECK_EQ(rpc_status_from_errno(-EXDEV), RPC_UNKNOWN);
	CHECK_STR(rpc_status_name(5), "NOT_FOUND");
	CHECK_STR(rpc_status_name(99), "UNKNOWN");
}

TEST(a_message_survives_the_header_whatever_its_bytes)
{
	static const struct {
		const char *plain, *wire;
	} table[] = {
		{"", ""},
		{"no such process", "no such process"},
		{"100%", "100%25"},
		{"a\nb", "a%0Ab"},
		{"\xc3\xa4", "%C3%A4"},
		{"%41", "%2541"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		cleanup_buf struct buf wire, plain;

		buf_init(&wire, 100);
		buf_init(&plain, 100);
		CHECK_EQ(rpc_message_encode(table[i].plain, &wire), 0);
		CHECK_STR(wire.data, table[i].wire);
		CHECK_EQ(rpc_message_decode(wire.data, wire.len, &plain), 0);
		CHECK_STR(plain.data, table[i].plain);
	}
}

TEST(a_broken_escape_stays_as_it_is)
{
	static const char *const table[] = {"%", "%4", "%zz", "a%4g", "100%"};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		cleanup_buf struct buf b;

		buf_init(&b, 100);
		CHECK_EQ(rpc_message_decode(table[i], strlen(table[i]), &b), 0);
		CHECK_STR(b.data, table[i]);
	}
}

TEST(a_timeout_is_read_as_the_protocol_says)
{
	static const struct {
		const char *s;
		int r;
		uint64_t ms;
	} table[] = {
		{"1H", 0, 3600000},   {"99999999H", 0, 99999999ULL * 3600000},
		{"2M", 0, 120000},    {"3S", 0, 3000},
		{"250m", 0, 250},     {"1500u", 0, 2},
		{"1n", 0, 1},	      {"0m", 0, 0},
		{"", -EINVAL, 77},    {"5", -EINVAL, 77},
		{"m", -EINVAL, 77},   {"5x", -EINVAL, 77},
		{"-1S", -EINVAL, 77}, {"123456789m", -EINVAL, 77},
		{"1 S", -EINVAL, 77},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		uint64_t ms = 77;

		CHECK_EQ(rpc_timeout_parse(table[i].s, strlen(table[i].s), &ms), table[i].r);
		CHECK_EQ(ms, table[i].ms);
	}
}

TEST(a_timeout_that_was_written_is_read_back)
{
	static const uint64_t table[] = {1, 250, 99999999, 100000000, 1ULL << 40, UINT64_MAX / 2};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char text[16];
		uint64_t ms = 0;

		rpc_timeout_format(table[i], text);
		CHECK_EQ(rpc_timeout_parse(text, strlen(text), &ms), 0);
		/* within its unit, or at the longest that there is */
		CHECK(ms <= table[i] && (table[i] - ms < 3600000 || ms == 99999999ULL * 3600000));
	}
}

TEST_MAIN()
