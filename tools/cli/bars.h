/*
 * Several copies at once, a line of stderr each, drawn over themselves while stderr is a terminal;
 * what is finished stands above them as plain lines, which are all there is otherwise.
 *
 *   bars_init -> bars_draw / bars_say ... -> bars_done
 *
 * Threads: one at a time.
 */
#ifndef CLI_BARS_H
#define CLI_BARS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bar {
	char name[96];
	uint64_t done, total; /* bytes; total 0: unknown */
	uint64_t start_ms;    /* clock_mono_ms() */
};

struct bars {
	bool on;	    /* stderr is a terminal */
	unsigned int drawn; /* lines that stand there now */
	uint64_t drawn_ms;
};

void bars_init(struct bars *b);

/* Draw these in place of those before; ten times a second at most, as many as there are rows for.
 */
void bars_draw(struct bars *b, const struct bar *bars, size_t n);

/* A line to stay, terminal or not. What could steer a terminal in it is escaped. */
void bars_say(struct bars *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Wipe what was drawn. May be called twice. */
void bars_done(struct bars *b);

#endif
