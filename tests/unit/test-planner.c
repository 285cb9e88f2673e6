/* planner: which bytes are asked for next. */
#include "base/cleanup.h"
#include "fill/planner.h"
#include "lib/test.h"

#define MiB CHUNK_BYTES
#define SIZE (8 * MiB + 500)

CLEANUP_DEFINE(struct chunkmap *, chunkmap_free);

static const struct {
	const char *what;
	struct span here[3];   /* beginnings of chunks that are here */
	struct span flying[2]; /* asked for */
	uint64_t from, to, max;
	struct span want; /* 0, 0: nothing */
} cases[] = {
	{"from the beginning", {{0}}, {{0}}, 0, SIZE, MiB, {0, MiB}},
	{"as much as may be", {{0}}, {{0}}, 0, SIZE, 3 * MiB, {0, 3 * MiB}},
	{"whole chunks", {{0}}, {{0}}, MiB + 5, MiB + 6, 1, {MiB, 2 * MiB}},
	{"to the end of the blob", {{0}}, {{0}}, 8 * MiB, SIZE, MiB, {8 * MiB, SIZE}},
	{"no further than that", {{0}}, {{0}}, 7 * MiB, UINT64_MAX, 64 * MiB, {7 * MiB, SIZE}},
	{"behind what is here", {{0, 2 * MiB}}, {{0}}, 0, SIZE, MiB, {2 * MiB, 3 * MiB}},
	{"the rest of a chunk", {{0, MiB + 9}}, {{0}}, 0, SIZE, MiB, {MiB + 9, 3 * MiB}},
	{"up to what is here",
	 {{0, MiB}, {2 * MiB, 3 * MiB}},
	 {{0}},
	 0,
	 SIZE,
	 9 * MiB,
	 {MiB, 2 * MiB}},
	{"up to a part of a chunk", {{MiB, MiB + 7}}, {{0}}, 0, SIZE, 9 * MiB, {0, MiB}},
	{"up to what is asked for", {{0}}, {{2 * MiB, 3 * MiB}}, 0, SIZE, 9 * MiB, {0, 2 * MiB}},
	{"behind what is asked for", {{0, 10}}, {{10, MiB}}, 0, SIZE, MiB, {MiB, 2 * MiB}},
	{"nothing in a range that is asked for", {{0}}, {{0, 4 * MiB}}, MiB, 2 * MiB, MiB, {0, 0}},
	{"nothing in a range that is here", {{0, 3 * MiB}}, {{0}}, MiB, 2 * MiB, MiB, {0, 0}},
	{"nothing behind the end", {{0}}, {{0}}, SIZE, SIZE + 1, MiB, {0, 0}},
	{"nothing of nothing", {{0}}, {{0}}, MiB, MiB, MiB, {0, 0}},
};

static void have(struct chunkmap *m, struct span s)
{
	for (uint64_t i = s.start / MiB; i * MiB < s.end; i++)
		chunkmap_note(m, i, s.end - i * MiB < MiB ? s.end - i * MiB : MiB, 0);
}

TEST(the_first_gap_is_asked_for)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		cleanup(chunkmap_freep) struct chunkmap *m = NULL;
		struct span got = {0};
		bool any;

		CHECK_EQ(chunkmap_create(-1, SIZE, &m), 0);
		for (size_t k = 0; k < 3; k++)
			if (cases[i].here[k].end > 0)
				have(m, cases[i].here[k]);
		any = planner_next(m, cases[i].flying, 2, cases[i].from, cases[i].to, cases[i].max,
				   &got);
		printf("# %s\n", cases[i].what);
		CHECK_EQ(any, cases[i].want.end > 0);
		CHECK_EQ(got.start, cases[i].want.start);
		CHECK_EQ(got.end, cases[i].want.end);
	}
}

TEST(requests_grow_and_shrink_towards_the_end)
{
	CHECK_EQ(planner_length(0, 1000 * MiB, 4, 0), MiB);
	CHECK_EQ(planner_length(MiB, 1000 * MiB, 4, 0), 2 * MiB);
	CHECK_EQ(planner_length(16 * MiB, 1000 * MiB, 4, 0), 16 * MiB);
	CHECK_EQ(planner_length(16 * MiB, 8 * MiB, 4, 0), 2 * MiB);
	CHECK_EQ(planner_length(16 * MiB, 10, 4, 0), MiB);
	CHECK_EQ(planner_length(16 * MiB, 1000 * MiB, 4, 5 * MiB), 16 * MiB);
	CHECK_EQ(planner_length(16 * MiB, 1000 * MiB, 4, 48 * MiB), 24 * MiB);
	CHECK_EQ(planner_length(64 * MiB, 1000 * MiB, 4, 1000 * MiB), 64 * MiB);
	CHECK_EQ(planner_length(64 * MiB, 100 * MiB, 4, 1000 * MiB), 25 * MiB);
}

TEST(few_connections_do_where_one_brings_enough)
{
	CHECK_EQ(planner_connections(6, 0), 2);
	CHECK_EQ(planner_connections(6, 1), 6);
	CHECK_EQ(planner_connections(6, 90 * MiB), 6);
	CHECK_EQ(planner_connections(6, 130 * MiB), 2);
	CHECK_EQ(planner_connections(1, 0), 1);
}

TEST_MAIN()
