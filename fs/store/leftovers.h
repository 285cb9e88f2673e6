/*
 * Temporary files that kill -9 or power loss left of the small ones: labels, lists, index.json.
 * Those of ingests lie in their directories: ingest_sweep().
 *
 * Threads: any.
 */
#ifndef STORE_LEFTOVERS_H
#define STORE_LEFTOVERS_H

#include <stdbool.h>
#include <stdint.h>

#include "store/layout.h"

/*
 * Remove those that were written before before_ns (wall clock), and a minute ago at least: nobody
 * needs that long for one. With dry_run only tell. fn gets the path below the root of each, before
 * it goes; it returns 0 to go on, any other value ends the walk and is returned.
 *
 * Returns 0, -EROFS (a read-only store; not for dry_run) or from the file system.
 */
int leftovers_sweep(struct store *s, int64_t before_ns, bool dry_run,
		    int (*fn)(void *arg, const char *path), void *arg);

#endif
