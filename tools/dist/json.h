/*
 * What the --json of the listing commands shares. Every document is one array or object and a
 * newline.
 *
 * Threads: main only.
 */
#ifndef DIST_JSON_H
#define DIST_JSON_H

#include <jansson.h>
#include <stdint.h>

#include "cli/cli.h"

/*
 * Set key to text of any bytes: as it is where it is UTF-8, else with what is not as \xNN, and the
 * exact bytes in hex under "<key>_hex". Returns 0 or -ENOMEM.
 */
int json_out_text(json_t *o, const char *key, const char *text);

/* RFC 3339. */
int json_out_time(json_t *o, const char *key, int64_t wall_ns);

/* "sha256:<hex>" */
struct digest;
int json_out_digest(json_t *o, const char *key, const struct digest *d);

int json_out_size(json_t *o, const char *key, uint64_t n);

/* Print v and release it; NULL is "out of memory". Returns an exit status. */
int json_out_print(const struct cli_program *p, json_t *v);

#endif
