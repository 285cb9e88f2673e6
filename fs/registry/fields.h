/*
 * Header fields of HTTP replies whose values are more than text. Threads: pure functions.
 */
#ifndef REGISTRY_FIELDS_H
#define REGISTRY_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* RFC 9110 section 14.4: "bytes 0-99/200", with "*" for a total not known, or for no range. */
struct content_range {
	bool has_range; /* false: the range asked for cannot be satisfied */
	uint64_t first, last;
	bool has_total;
	uint64_t total;
};

/* Returns 0 or -EINVAL (also last < first, last >= total, numbers over 2^63). */
int content_range_parse(const char *s, struct content_range *ret);

/*
 * The Range of an upload's reply (OCI distribution spec, "Pushing a blob in chunks"): "0-1023";
 * docker's registry also writes "0-0" for none. Returns 0 and the offset of the next byte, or
 * -EINVAL.
 */
int upload_range_parse(const char *s, uint64_t *ret_next);

/* RFC 9110 section 10.2.3: seconds, or a date. Milliseconds from now; 0 when it says nothing. */
uint64_t retry_after_parse_ms(const char *s);

/* A Content-Type less its parameters and in lower case; "" when it does not fit. */
void mediatype_parse(const char *s, char *out, size_t n);

#endif
