/*
 * Tables as the reference's tools print them (minimum width 1, tab width 8, padding 1, padded
 * with tabs): cells are separated by as many tabs as it takes to line the columns up.
 *
 *   tabs_init(&t, n_columns) -> tabs_cell() n_columns times a row ... -> tabs_print -> tabs_done
 *
 * Threads: one at a time.
 */
#ifndef BASE_TABS_H
#define BASE_TABS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct tabs {
	struct buf text;   /* the cells, each with a NUL behind it */
	size_t n_columns;  /* of every row */
	size_t n_cells;	   /* added so far */
	size_t widths[16]; /* columns but the last: the widest cell */
};

/* n_columns: 1 to 16. */
void tabs_init(struct tabs *t, size_t n_columns);

/*
 * Add the next cell. What could steer a terminal or break the line (control characters, bytes
 * that are no UTF-8) comes out as \xNN, a backslash as two. Returns 0, -ENOMEM or -E2BIG.
 */
int tabs_cell(struct tabs *t, const char *s);

/* Append whole rows to out: 0, -E2BIG or -ENOMEM; out may hold a part then. */
int tabs_print(const struct tabs *t, struct buf *out);

void tabs_done(struct tabs *t);

/*
 * s as tabs_cell() escapes it, appended to out; *ret_exact (may be NULL): nothing was escaped.
 * Returns 0, -E2BIG or -ENOMEM.
 */
int tabs_escape(const char *s, struct buf *out, bool *ret_exact);

#endif
