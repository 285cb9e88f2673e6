#include "mount/blob_table.h"

#include <pthread.h>

#include "base/cleanup.h"
#include "lib/test.h"

CLEANUP_DEFINE(struct blob_table *, blob_table_free);

static struct digest number(uint32_t i)
{
	struct digest d = {{0}};

	memcpy(d.bytes, &i, sizeof(i));
	memcpy(d.bytes + DIGEST_BYTES - sizeof(i), &i, sizeof(i));
	return d;
}

TEST(a_digest_has_a_node_while_pending_and_another_when_complete)
{
	cleanup(blob_table_freep) struct blob_table *t = NULL;
	struct digest d = number(7), got;
	uint32_t pending_node, node;
	bool pending;

	CHECK_EQ(blob_table_new(&t), 0);
	CHECK(!blob_table_has(t, &d, false));
	pending_node = blob_table_ref(t, &d, true);
	node = blob_table_ref(t, &d, false);
	CHECK(pending_node != 0 && node != 0 && node != pending_node);
	CHECK_EQ(blob_table_ref(t, &d, false), node);
	CHECK(blob_table_get(t, pending_node, &got, &pending) && pending);
	CHECK(blob_table_get(t, node, &got, &pending) && !pending && digest_equal(&got, &d));
	CHECK_EQ(blob_table_count(t), 2);
	blob_table_forget(t, node, 1);
	CHECK(blob_table_has(t, &d, false));
	blob_table_forget(t, node, 1);
	CHECK(!blob_table_has(t, &d, false) && blob_table_has(t, &d, true));
	CHECK(!blob_table_get(t, node, &got, &pending));
	CHECK(!blob_table_get(t, 0, &got, &pending) &&
	      !blob_table_get(t, UINT32_MAX, &got, &pending));
	blob_table_forget(t, 0, 1);
	blob_table_forget(t, UINT32_MAX, 1);
	blob_table_forget(t, node, 1);
	CHECK_EQ(blob_table_count(t), 1);
	CHECK(blob_table_free(NULL) == NULL);
}

TEST(a_hundred_thousand_are_found_again_and_their_places_reused)
{
	enum { N = 100000 };
	static uint32_t nodes[N];
	cleanup(blob_table_freep) struct blob_table *t = NULL;
	uint32_t highest = 0;

	CHECK_EQ(blob_table_new(&t), 0);
	for (int round = 0; round < 2; round++) {
		for (uint32_t i = 0; i < N; i++) {
			struct digest d = number(i * 2654435761U);

			nodes[i] = blob_table_ref(t, &d, false);
			highest = round == 0 && nodes[i] > highest ? nodes[i] : highest;
			CHECK(nodes[i] != 0 && nodes[i] <= highest);
		}
		CHECK_EQ(blob_table_count(t), N);
		for (uint32_t i = 0; i < N; i++) {
			struct digest d = number(i * 2654435761U), got;
			bool pending;

			CHECK(blob_table_get(t, nodes[i], &got, &pending) &&
			      digest_equal(&got, &d));
			blob_table_forget(t, nodes[i], UINT64_MAX);
		}
		CHECK_EQ(blob_table_count(t), 0);
	}
}

struct shared {
	struct blob_table *t;
	uint32_t seed;
};

static void *churn(void *arg)
{
	struct shared s = *(struct shared *)arg;

	for (int i = 0; i < 20000; i++) {
		struct digest d, got;
		uint32_t node;
		bool pending;

		s.seed = s.seed * 1664525U + 1013904223U;
		d = number((s.seed >> 16) % 64);
		node = blob_table_ref(s.t, &d, (s.seed & 1) != 0);
		if (node == 0 || !blob_table_get(s.t, node, &got, &pending) ||
		    !digest_equal(&got, &d))
			return arg;
		blob_table_forget(s.t, node, 1);
	}
	return NULL;
}

TEST(threads_that_look_up_and_forget_leave_nothing)
{
	cleanup(blob_table_freep) struct blob_table *t = NULL;
	struct shared shared[4];
	pthread_t threads[4];
	void *wrong = NULL, *r;

	CHECK_EQ(blob_table_new(&t), 0);
	for (uint32_t i = 0; i < 4; i++) {
		shared[i] = (struct shared){.t = t, .seed = i};
		CHECK_EQ(pthread_create(&threads[i], NULL, churn, &shared[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		(void)pthread_join(threads[i], &r);
		wrong = r != NULL ? r : wrong;
	}
	CHECK(wrong == NULL);
	CHECK_EQ(blob_table_count(t), 0);
}

TEST_MAIN()
