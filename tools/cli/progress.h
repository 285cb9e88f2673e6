/*
 * A line on stderr that tells how far a copy is: drawn over itself while stderr is a terminal,
 * and nothing at all otherwise.
 *
 *   progress_init(&p, "redis", total) -> progress_update(&p, done) ... -> progress_done(&p)
 *
 * Threads: one at a time.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *name; /* kept */
	uint64_t total;	  /* bytes; 0: unknown */
	uint64_t start_ms, drawn_ms;
	bool on;    /* stderr is a terminal */
	bool drawn; /* something stands on the line */
};

void progress_init(struct progress *p, const char *name, uint64_t total);

/* Cheap: draws ten times a second at most. */
void progress_update(struct progress *p, uint64_t done);

/* Wipe the line. May be called twice. */
void progress_done(struct progress *p);

/* "[====    ]  40%  1.2 MB / 3 MB  8 MB/s  ", for who draws by himself; 0, -E2BIG or -ENOMEM. */
struct buf;
int progress_format(uint64_t done, uint64_t total, uint64_t ms, struct buf *line);

#endif
