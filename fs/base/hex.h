/*
 * Lower-case hexadecimal. Threads: pure functions.
 */
#ifndef BASE_HEX_H
#define BASE_HEX_H

#include <stddef.h>

/* Writes 2*n digits and a NUL to out. */
void hex_encode(const void *bytes, size_t n, char *out);

/*
 * Decode exactly 2*n lower-case digits from s, which need not be terminated behind them.
 * Returns 0, or -EINVAL for any other character (upper case too: digests are compared as
 * text by other tools, so one spelling alone is legal), out untouched.
 */
int hex_decode(const char *s, void *out, size_t n);

#endif
