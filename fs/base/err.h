/*
 * What went wrong, in words: caller storage, no allocation, nothing to free.
 *
 * A function that can fail returns a negative errno; where a person will read about it, it
 * takes a trailing `struct err *`, which may be NULL ("only the code, please"). Messages are one
 * line and read outside in: "ingest redis@sha256:..: digest mismatch". Control characters in
 * interpolated text (refs, names from a peer) are replaced, so that a message stays one line
 * and cannot steer a terminal.
 *
 * Threads: a struct err belongs to one thread at a time.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

struct err {
	int code;      /* positive errno; equals minus the return value */
	int detail;    /* protocol status, e.g. HTTP 401; 0 when there is none */
	char msg[480]; /* one line, no newline, always NUL-terminated */
};

/* Set the message; returns -code. */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same, with ": <description of code>" appended; returns -code. */
int err_errno(struct err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Put "<context>: " in front of what is there, whatever its code was, or of the description of -r;
 * returns r. err->code becomes -r. So err must have been set by what failed, or be zero.
 */
int err_wrap(struct err *err, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/*
 * The message, or the description of -r where none was set or that one is of another failure (its
 * code tells). Static or err's storage.
 */
const char *err_text(const struct err *err, int r);

/* Description of a positive errno, thread-safe, never NULL. */
const char *err_describe(int code);

#endif
