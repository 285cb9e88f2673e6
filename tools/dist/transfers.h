/*
 * Moving the blobs of an image, several at once, with what people want to see of it: a bar for
 * each that is under way, a line for each that is done.
 *
 *   struct transfers t = {.objects = ..., .move = ...}; transfers_run(&t, &err)
 *
 * Threads: transfers_run() by main; move() is called from several threads at once, and
 * transfer_progress() from the one that its transfer is moved in.
 */
#ifndef DIST_TRANSFERS_H
#define DIST_TRANSFERS_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/bars.h"
#include "dist/objects.h"

#define TRANSFERS_PARALLEL 4 /* unless --parallel says otherwise */
#define TRANSFERS_MAX 64

struct transfer; /* of one object */

struct transfers {
	const struct objects *objects; /* manifests are passed over */
	unsigned int parallel;	       /* 1 to TRANSFERS_MAX */
	bool quiet;		       /* neither bars nor lines */
	struct bars *bars;
	/* Move one; *ret_how: a word for its line ("fetched"), static. 0 or a negative errno. */
	int (*move)(void *arg, const struct descriptor *d, struct transfer *x, const char **ret_how,
		    struct err *err);
	void *arg;
};

/* So many bytes are moved. Returns 0, or -ECANCELED: another has failed, so give up. */
int transfer_progress(struct transfer *x, uint64_t done);

/* All of them. Returns 0, or the first failure, whose message names the object. */
int transfers_run(const struct transfers *t, struct err *err);

#endif
