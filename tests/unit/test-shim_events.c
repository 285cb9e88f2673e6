#include "shim/events.h"

#include <errno.h>

#include "lib/test.h"

struct taker {
	struct subscriber s;
	uint64_t numbers[8192];
	size_t n, room;
};

static int take(struct subscriber *s, uint64_t number, const struct event *e)
{
	struct taker *t = list_entry(s, struct taker, s);

	if (t->n == t->room)
		return -EAGAIN;
	if (e->pid != (int32_t)(number + 1000))
		return -EPIPE; /* another event than the one with this number */
	t->numbers[t->n++] = number;
	return 0;
}

static void add(struct events *v, uint64_t upto)
{
	while (v->next <= upto)
		events_add(v,
			   &(struct task_event){.type = TASK_EXIT, .pid = (pid_t)(v->next + 1000)});
}

static bool has(const struct taker *t, uint64_t from, uint64_t to)
{
	if (t->n != to - from + 1)
		return false;
	for (size_t i = 0; i < t->n; i++)
		if (t->numbers[i] != from + i)
			return false;
	return true;
}

TEST(every_subscriber_gets_every_event_in_order_whenever_it_comes)
{
	static struct taker early, late, behind;
	struct events v;

	early.s.send = late.s.send = behind.s.send = take;
	early.room = late.room = behind.room = 8192;
	events_init(&v);
	events_subscribe(&v, &early.s, 0);
	add(&v, 150);
	events_subscribe(&v, &late.s, 0);
	events_subscribe(&v, &behind.s, 100);
	add(&v, 300);
	CHECK(has(&early, 1, 300));
	CHECK(has(&late, 1, 300));
	CHECK(has(&behind, 101, 300));
	events_unsubscribe(&late.s);
	add(&v, 301);
	CHECK(has(&late, 1, 300));
	events_unsubscribe(&early.s);
	events_unsubscribe(&behind.s);
	events_unsubscribe(&behind.s);
	events_done(&v);
}

TEST(a_slow_subscriber_delays_nobody_and_goes_on_where_it_was)
{
	static struct taker slow, fast;
	struct events v;

	slow.s.send = fast.s.send = take;
	slow.room = 5;
	fast.room = 8192;
	events_init(&v);
	events_subscribe(&v, &slow.s, 0);
	events_subscribe(&v, &fast.s, 0);
	add(&v, 40);
	CHECK(has(&fast, 1, 40));
	CHECK(has(&slow, 1, 5));
	slow.room = 30;
	events_pump(&v, &slow.s);
	CHECK(has(&slow, 1, 30));
	slow.room = 8192;
	add(&v, 41);
	CHECK(has(&slow, 1, 41));
	events_done(&v);
}

TEST(the_last_events_are_remembered_and_a_gap_shows_in_the_numbers)
{
	static struct taker t;
	struct events v;

	t.s.send = take;
	t.room = 8192;
	events_init(&v);
	add(&v, EVENTS_MAX + 1000);
	events_subscribe(&v, &t.s, 10);
	CHECK(has(&t, 1001, EVENTS_MAX + 1000));
	CHECK_EQ(v.cap, EVENTS_MAX);
	events_done(&v);
}

TEST(numbers_go_on_behind_a_restart)
{
	static struct taker t;
	struct events v;

	t.s.send = take;
	t.room = 8192;
	events_init(&v);
	add(&v, 10);
	events_restart(&v, 5); /* not backwards */
	CHECK_EQ(v.next, 11);
	events_restart(&v, 200);
	events_subscribe(&v, &t.s, 0);
	add(&v, 201);
	CHECK(has(&t, 200, 201));
	events_done(&v);
}

TEST(a_subscriber_may_wait_for_a_number_to_come)
{
	static struct taker t;
	struct events v;

	t.s.send = take;
	t.room = 8192;
	events_init(&v);
	add(&v, 3);
	events_subscribe(&v, &t.s, 8);
	CHECK_EQ(t.n, 0);
	add(&v, 10);
	CHECK(has(&t, 9, 10));
	events_done(&v);
}

TEST_MAIN()
