/* Why fills failed, for user.error and /active; forgotten when the next one succeeds. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "fill/private.h"

#define FAILURES_MAX 256

static struct failure *find(const struct fill *f, const struct digest *d)
{
	list_for_each (n, &f->failures) {
		struct failure *x = list_entry(n, struct failure, node);

		if (digest_equal(&x->digest, d))
			return x;
	}
	return NULL;
}

static void drop(struct fill *f, struct failure *x)
{
	list_del(&x->node);
	f->n_failures--;
	free(x);
}

void failure_forget_locked(struct fill *f, const struct digest *d)
{
	struct failure *x = find(f, d);

	if (x != NULL)
		drop(f, x);
}

void failure_note_locked(struct fill *f, const struct digest *d, uint64_t local, uint64_t size,
			 const char *text, const char *avoid)
{
	struct failure *x;

	failure_forget_locked(f, d);
	if (f->n_failures == FAILURES_MAX)
		drop(f, list_entry(f->failures.next, struct failure, node));
	x = calloc(1, sizeof(*x));
	if (x == NULL)
		return; /* it was told to those who waited */
	x->digest = *d;
	x->local = local;
	x->size = size;
	x->when_ns = clock_wall_ns();
	(void)snprintf(x->text, sizeof(x->text), "%.*s", (int)sizeof(x->text) - 1, text);
	(void)snprintf(x->avoid, sizeof(x->avoid), "%s", avoid);
	list_add_tail(&f->failures, &x->node);
	f->n_failures++;
}

const struct failure *failure_get_locked(const struct fill *f, const struct digest *d)
{
	return find(f, d);
}
