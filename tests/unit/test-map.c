#include "base/map.h"

#include <stdint.h>

#include "lib/test.h"

TEST(a_value_is_found_by_an_equal_key_and_not_after_removal)
{
	struct map m;
	char a[] = "ref-a", same[] = "ref-a";

	map_init(&m);
	CHECK(map_get(&m, "x", 1) == NULL);
	CHECK(map_del(&m, "x", 1) == NULL);
	CHECK_EQ(map_put(&m, a, sizeof(a), a), 0);
	CHECK(map_get(&m, same, sizeof(same)) == a);
	CHECK(map_get(&m, same, sizeof(same) - 1) == NULL);
	CHECK(map_del(&m, same, sizeof(same)) == a);
	CHECK(map_get(&m, same, sizeof(same)) == NULL);
	CHECK_EQ(m.n_used, 0);
	map_done(&m);
}

/* Against a plain array as the model: adds, replaces and removals in a fixed random order. */
TEST(ten_thousand_random_steps_agree_with_a_model)
{
	enum { N = 512 };
	static uint32_t keys[N];
	static void *model[N];
	static int values[8];
	struct map m;
	uint32_t seed = 12345;
	size_t used = 0, seen = 0, pos = 0;

	map_init(&m);
	for (uint32_t i = 0; i < N; i++)
		keys[i] = i * 2654435761U;
	for (int step = 0; step < 10000; step++) {
		size_t k;

		seed = seed * 1664525U + 1013904223U;
		k = (seed >> 8) % N;
		if ((seed >> 28) < 9) {
			void *v = &values[(seed >> 20) % 8];

			CHECK_EQ(map_put(&m, &keys[k], sizeof(keys[k]), v), 0);
			used += model[k] == NULL;
			model[k] = v;
		} else {
			CHECK(map_del(&m, &keys[k], sizeof(keys[k])) == model[k]);
			used -= model[k] != NULL;
			model[k] = NULL;
		}
		CHECK(map_get(&m, &keys[k], sizeof(keys[k])) == model[k]);
	}
	CHECK_EQ(m.n_used, used);
	for (size_t k = 0; k < N; k++)
		CHECK(map_get(&m, &keys[k], sizeof(keys[k])) == model[k]);
	while (map_next(&m, &pos) != NULL)
		seen++;
	CHECK_EQ(seen, used);
	map_done(&m);
}

TEST_MAIN()
