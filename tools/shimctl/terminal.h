/*
 * Our own terminal in raw mode, and back again on every way out that a process can see: return,
 * exit(3), and the signals by which a program of ours crashes. (Ending signals arrive by the
 * signalfd of attach.c.)
 *
 *   terminal_raw -> ... -> terminal_restore
 *
 * There is one terminal in a process, so this has state of its own. Threads: main only.
 */
#ifndef SHIMCTL_TERMINAL_H
#define SHIMCTL_TERMINAL_H

#include <stdint.h>

#include "base/err.h"

/* Put the terminal at fd into raw mode. May be called again, after somebody else changed it. */
int terminal_raw(int fd, struct err *err);
/* As it was before the first terminal_raw(); nothing where there was none. */
void terminal_restore(void);

/* Columns and rows. Returns 0 or -ENOTTY. */
int terminal_size(int fd, uint32_t *ret_width, uint32_t *ret_height);

#endif
