#include "mount/failed_reads.h"

#include <string.h>

#include "base/clock.h"

#define MOMENT_NS \
	300000000ULL /* a busy machine's way from our reply to the kernel's next request */

void failed_reads_init(struct failed_reads *f)
{
	memset(f, 0, sizeof(*f));
	(void)pthread_mutex_init(&f->lock, NULL);
}

void failed_reads_done(struct failed_reads *f)
{
	(void)pthread_mutex_destroy(&f->lock);
}

void failed_reads_note(struct failed_reads *f, uint32_t node, uint64_t offset, size_t size,
		       int result)
{
	(void)pthread_mutex_lock(&f->lock);
	f->reads[f->next] = (struct failed_read){
		.node = node,
		.result = result,
		.offset = offset,
		.end = offset + size,
		.when_ns = clock_mono_ns(),
	};
	f->next = (f->next + 1) % FAILED_READS_MAX;
	(void)pthread_mutex_unlock(&f->lock);
}

int failed_reads_find(struct failed_reads *f, uint32_t node, uint64_t offset, uint64_t opened_ns)
{
	uint64_t now_ns = clock_mono_ns();
	int r = 0;

	(void)pthread_mutex_lock(&f->lock);
	for (size_t i = 0; i < FAILED_READS_MAX && r == 0; i++) {
		const struct failed_read *x = &f->reads[i];

		if (x->result < 0 && x->node == node && x->offset <= offset && offset < x->end &&
		    x->when_ns > opened_ns && now_ns - x->when_ns < MOMENT_NS)
			r = x->result;
	}
	(void)pthread_mutex_unlock(&f->lock);
	return r;
}
