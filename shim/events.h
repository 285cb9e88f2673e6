/*
 * The events of a container: numbered 1, 2, 3 ..., the last EVENTS_MAX of them remembered, each
 * told to every subscriber in order.
 *
 *   events_init -> events_add ... -> events_done
 *   events_subscribe -> send() for all that are remembered, then as they come -> events_unsubscribe
 *
 * A subscriber that cannot take more says so and is skipped until events_pump(); the others do not
 * notice. Threads: none.
 */
#ifndef SHIM_EVENTS_H
#define SHIM_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "shim/task.h"

enum { EVENTS_MAX = 4096 };

struct event { /* small: there are many */
	int64_t at_ns;
	int32_t pid;
	uint16_t status;
	uint8_t type;
	bool lost;
};

struct events {
	struct event *ring; /* event number k is at k % cap */
	size_t cap;	    /* a power of two, grows up to EVENTS_MAX */
	uint64_t first;	    /* number of the oldest that is remembered */
	uint64_t next;	    /* number of the next one */
	struct list subscribers;
};

struct subscriber {
	struct list node;
	uint64_t next; /* number of the event to be sent next */
	/* Returns 0, -EAGAIN (not now), or another negative errno: it is gone. */
	int (*send)(struct subscriber *s, uint64_t number, const struct event *e);
};

void events_init(struct events *v);
void events_done(struct events *v);

/* Without memory the oldest events are forgotten earlier. */
void events_add(struct events *v, const struct task_event *e);
/* Forget what is remembered; the next event has this number, unless that is lower than it would be.
 */
void events_restart(struct events *v, uint64_t next);

/* Begin behind number after (0: with the oldest). s stays the caller's. */
void events_subscribe(struct events *v, struct subscriber *s, uint64_t after);
/* May be called twice. */
void events_unsubscribe(struct subscriber *s);
/* s may be able to take more. */
void events_pump(struct events *v, struct subscriber *s);

const struct event *events_get(const struct events *v, uint64_t number);

#endif
