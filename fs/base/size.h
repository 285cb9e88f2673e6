/*
 * Byte sizes as people write and read them. Threads: pure functions.
 */
#ifndef BASE_SIZE_H
#define BASE_SIZE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Decimal units, four significant digits, a space before the unit: "5 B", "4.096 kB", "1.5 MB",
 * as the reference's tools print them.
 */
void size_format(uint64_t bytes, char *out, size_t n);

/*
 * "123", "10k", "10kB", "1.5G", "2GiB": k M G T P are powers of 1000, Ki Mi Gi Ti Pi of 1024;
 * a trailing B is optional, case of the unit does not matter.
 * Returns 0, -EINVAL or -ERANGE.
 */
int size_parse(const char *s, uint64_t *ret);

/* Decimal digits alone, all of s; 0, -EINVAL or -ERANGE. */
int size_parse_plain(const char *s, uint64_t *ret);

#endif
