/*
 * The table of what is on its way: `dist active` and the file /active of the mount.
 *
 *   active_table_init -> active_table_add_store, active_table_add ... -> active_table_print
 *                     -> active_table_done
 *
 * Plain: REF SIZE AGE, as the reference prints it. Wide: REF SIZE TOTAL AGE STATE, where STATE is
 * "writing" (somebody holds it), "idle", "failed: <reason>", or what the caller of
 * active_table_add() says ("filling"). Rows come out in order of their refs. Control characters,
 * bytes that are not UTF-8 and backslashes of a ref are printed as \xNN.
 *
 * Threads: one at a time.
 */
#ifndef STORE_ACTIVE_TABLE_H
#define STORE_ACTIVE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "store/ingest.h"
#include "store/layout.h"

struct active_row {
	char *ref;
	char *state;
	uint64_t size;
	uint64_t total;	 /* 0: unknown, printed as "-" */
	int64_t when_ns; /* wall clock; AGE is the time since */
};

struct active_table {
	struct active_row *rows;
	size_t n_rows;
	size_t n_given; /* of them, by active_table_add() before active_table_add_store() */
	size_t cap_rows;
	bool wide;
};

void active_table_init(struct active_table *t, bool wide);

/* Add a row; text is copied. Returns 0 or -ENOMEM. */
int active_table_add(struct active_table *t, const char *ref, uint64_t size, uint64_t total,
		     int64_t when_ns, const char *state);

/*
 * Add a row for each ingest of s, unless a row with its ref has been added before, whose caller
 * knows more of it. Returns 0, -ENOMEM or from the file system.
 */
int active_table_add_store(struct active_table *t, struct store *s);

/* Append header and rows to out. Returns 0, -E2BIG (out's limit) or -ENOMEM. */
int active_table_print(struct active_table *t, struct buf *out);

void active_table_done(struct active_table *t);

/* All of the above for a store alone. */
int active_table_render(struct store *s, bool wide, struct buf *out);

/* "writing", "idle" or "failed: ..." into out. */
void active_table_state(const struct ingest_status *st, char *out, size_t n);

#endif
