/*
 * The limit of open descriptors: a shim with many execs needs more than it is started with, what
 * it starts shall have what it was started with.
 *
 * Threads: none.
 */
#ifndef SHIM_LIMITS_H
#define SHIM_LIMITS_H

/* As many as we may have; remembers how it was. */
void limits_raise(void);
/* Back for a moment: what is open stays open. */
void limits_lower(void);

#endif
