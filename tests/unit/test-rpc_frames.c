#include <errno.h>

#include "lib/test.h"
#include "rpc/frames.h"

TEST(messages_come_out_whole_however_the_bytes_were_cut)
{
	static const char wire[] = "\0\0\0\0\3abc\0\0\0\0\0\0\0\0\0\2de";
	static const char *const want[] = {"abc", "", "de"};
	const size_t total = sizeof(wire) - 1;

	for (size_t cut = 1; cut <= total; cut++) {
		struct rpc_frames f;
		size_t n_got = 0;

		rpc_frames_init(&f, 10);
		for (size_t at = 0; at < total; at += cut) {
			size_t n = total - at < cut ? total - at : cut, len;
			const uint8_t *m;

			CHECK_EQ(rpc_frames_add(&f, wire + at, n), 0);
			while (rpc_frames_next(&f, &m, &len) > 0) {
				CHECK(n_got < 3);
				CHECK_EQ(len, strlen(want[n_got]));
				CHECK(memcmp(m, want[n_got], len) == 0);
				n_got++;
			}
		}
		CHECK_EQ(n_got, 3);
		CHECK_EQ(rpc_frames_rest(&f), 0);
		rpc_frames_done(&f);
	}
}

TEST(a_header_alone_tells_what_is_refused)
{
	static const struct {
		const char *header;
		int r;
	} table[] = {
		{"\0\0\0\0\12", 0},		/* 10: the limit */
		{"\0\0\0\0\13", -E2BIG},	/* 11 */
		{"\0\377\377\377\377", -E2BIG}, /* 4 GiB - 1 */
		{"\1\0\0\0\0", -EOPNOTSUPP},	/* compressed */
		{"\2\0\0\0\0", -EOPNOTSUPP},	/* no such flag */
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct rpc_frames f;
		const uint8_t *m = NULL;
		size_t len = 77;

		rpc_frames_init(&f, 10);
		CHECK_EQ(rpc_frames_add(&f, table[i].header, 5), 0);
		CHECK_EQ(rpc_frames_next(&f, &m, &len), table[i].r);
		CHECK(m == NULL && len == 77);
		rpc_frames_done(&f);
	}
}

TEST(a_length_that_is_only_announced_takes_no_memory)
{
	struct rpc_frames f;
	const uint8_t *m;
	size_t len;

	rpc_frames_init(&f, 4 << 20);
	CHECK_EQ(rpc_frames_add(&f, "\0\0\77\377\377", 5), 0);
	CHECK_EQ(rpc_frames_next(&f, &m, &len), 0);
	CHECK(f.bytes.cap < 1024);
	rpc_frames_done(&f);
}

TEST_MAIN()
