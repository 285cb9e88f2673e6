#include "shim/events.h"

#include <stdlib.h>

enum { FIRST_CAP = 64 };

void events_init(struct events *v)
{
	*v = (struct events){.first = 1, .next = 1};
	list_init(&v->subscribers);
}

void events_done(struct events *v)
{
	free(v->ring);
	v->ring = NULL;
	v->cap = 0;
	v->first = v->next;
}

const struct event *events_get(const struct events *v, uint64_t number)
{
	return &v->ring[number % v->cap];
}

static void grow(struct events *v)
{
	size_t cap = v->cap > 0 ? v->cap * 2 : FIRST_CAP;
	struct event *ring;

	if (v->next - v->first < v->cap || v->cap == EVENTS_MAX)
		return;
	ring = calloc(cap, sizeof(*ring));
	if (ring == NULL)
		return;
	for (uint64_t k = v->first; v->cap > 0 && k < v->next; k++)
		ring[k % cap] = v->ring[k % v->cap];
	free(v->ring);
	v->ring = ring;
	v->cap = cap;
}

void events_pump(struct events *v, struct subscriber *s)
{
	if (s->next < v->first)
		s->next = v->first;
	while (s->next < v->next) {
		if (s->send(s, s->next, events_get(v, s->next)) < 0)
			return;
		s->next++;
	}
}

void events_add(struct events *v, const struct task_event *e)
{
	grow(v);
	if (v->cap == 0) {
		v->first = ++v->next;
		return;
	}
	if (v->next - v->first == v->cap)
		v->first++;
	v->ring[v->next % v->cap] = (struct event){
		.at_ns = e->at_ns,
		.pid = e->pid,
		.status = (uint16_t)e->status,
		.type = (uint8_t)e->type,
		.lost = e->lost,
	};
	v->next++;
	list_for_each_safe (n, &v->subscribers)
		events_pump(v, list_entry(n, struct subscriber, node));
}

void events_restart(struct events *v, uint64_t next)
{
	if (next > v->next)
		v->next = next;
	v->first = v->next;
}

void events_subscribe(struct events *v, struct subscriber *s, uint64_t after)
{
	s->next = after + 1 > v->first ? after + 1 : v->first;
	list_add_tail(&v->subscribers, &s->node);
	events_pump(v, s);
}

void events_unsubscribe(struct subscriber *s)
{
	list_del(&s->node);
}
