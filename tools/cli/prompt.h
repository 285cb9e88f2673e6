/*
 * A question on the terminal, answered with one line.
 *
 * Threads: main only; it is the process's signals that are held back meanwhile.
 */
#ifndef CLI_PROMPT_H
#define CLI_PROMPT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/*
 * Ask on the controlling terminal (not stdin, not stdout) and read a line of less than n bytes
 * into out, its newline taken off; secret: what is typed is not shown. A signal that ends
 * programs (Ctrl-C) puts the terminal back as it was before it ends this one.
 *
 * Returns 0, or
 *   -ENOTTY   there is no terminal
 *   -ENODATA  end of file before a line
 *   -E2BIG    a longer line
 *   other     from open(2), read(2)
 */
int prompt_line(const char *question, bool secret, char *out, size_t n, struct err *err);

#endif
