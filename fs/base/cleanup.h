/*
 * Release on every return path, and hand over what must outlive the scope.
 *
 *   cleanup_free char *s = NULL;         free()d at the end of the scope
 *   cleanup_fd int fd = -1;              close()d when >= 0
 *   cleanup(thing_freep) struct thing *t = NULL;
 *   return steal_ptr(s);                 the caller owns it now
 *
 * errno survives the release. Declare such variables initialised, in the order that makes
 * reverse release right. Threads: none of these touch anything but their argument.
 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define cleanup(fn) __attribute__((__cleanup__(fn)))
#define cleanup_free cleanup(cleanup_freep)
#define cleanup_fd cleanup(cleanup_closep)
#define cleanup_dir cleanup(cleanup_closedirp)
#define cleanup_file cleanup(cleanup_fclosep)

/* Defines fnp(), the cleanup function of a pointer type whose ending function is fn(). */
#define CLEANUP_DEFINE(type, fn)                                  \
	static inline __attribute__((unused)) void fn##p(         \
		type *p) /* NOLINT(bugprone-macro-parentheses) */ \
	{                                                         \
		int saved_errno = errno;                          \
		if (*p != NULL)                                   \
			(void)fn(*p);                             \
		errno = saved_errno;                              \
	}                                                         \
	struct cleanup_semicolon

static inline void cleanup_freep(void *p)
{
	free(*(void **)p); /* free() keeps errno since glibc 2.33 */
}

static inline void cleanup_closep(const int *fd)
{
	int saved_errno = errno;

	if (*fd >= 0)
		(void)close(*fd);
	errno = saved_errno;
}

static inline void cleanup_closedirp(DIR **dir)
{
	int saved_errno = errno;

	if (*dir != NULL)
		(void)closedir(*dir);
	errno = saved_errno;
}

static inline void cleanup_fclosep(FILE **f)
{
	int saved_errno = errno;

	if (*f != NULL)
		(void)fclose(*f);
	errno = saved_errno;
}

#define steal_ptr(p)                         \
	__extension__({                      \
		__typeof__(p) stolen_ = (p); \
		(p) = NULL;                  \
		stolen_;                     \
	})

#define steal_fd(fd)                \
	__extension__({             \
		int stolen_ = (fd); \
		(fd) = -1;          \
		stolen_;            \
	})

#endif
