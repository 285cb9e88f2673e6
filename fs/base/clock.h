/*
 * Time and how people write it. Threads: pure functions.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* CLOCK_MONOTONIC in milliseconds / nanoseconds: for deadlines and intervals. */
uint64_t clock_mono_ms(void);
uint64_t clock_mono_ns(void);
/* CLOCK_REALTIME in nanoseconds since the epoch: for what is stored or shown. */
int64_t clock_wall_ns(void);

/*
 * A Go duration: "300ms", "1m30s", "1.5h", "0"; units ns us µs ms s m h, and here also d (24 h)
 * since people state the age of what they clean up in days. No sign.
 * Returns 0 and nanoseconds in *ret, or -EINVAL (syntax) or -ERANGE.
 */
int clock_parse_duration(const char *s, uint64_t *ret_ns);

/*
 * The age of a thing as the reference's tools print it: "Less than a second", "5 seconds",
 * "About a minute", "12 minutes", "About an hour", "3 hours", "2 days", "3 weeks", ...
 */
void clock_format_age(uint64_t age_ns, char *out, size_t n);

/* RFC 3339 with nanoseconds, UTC ("2017-11-16T12:00:00.5Z"), as containerd's startedat file. */
void clock_format_rfc3339(int64_t wall_ns, char *out, size_t n);
/* Returns 0, or -EINVAL; accepts a numeric zone. */
int clock_parse_rfc3339(const char *s, int64_t *ret_wall_ns);

#endif
