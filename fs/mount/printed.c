#include "mount/printed.h"

#define FUSE_USE_VERSION 312

#include <fcntl.h>
#include <fuse_log.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"

/*
 * libfuse ends its threads by pthread_cancel() where they read, which is also where they report a
 * failed read: one that ends within stdio or syslog(3) would keep their lock for ever.
 */
__attribute__((format(printf, 2, 0))) static void to_log(enum fuse_log_level level, const char *fmt,
							 va_list ap)
{
	char text[1024];
	size_t len;
	int state;

	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	len = strlen(text);
	while (len > 0 && text[len - 1] == '\n')
		text[--len] = '\0';
	if (level <= FUSE_LOG_ERR)
		log_err("fuse", "%s", text);
	else if (level == FUSE_LOG_WARNING)
		log_warn("fuse", "%s", text);
	else if (level < FUSE_LOG_DEBUG)
		log_info("fuse", "%s", text);
	else
		log_debug("fuse", "%s", text);
	(void)pthread_setcancelstate(state, NULL);
}

void printed_begin(struct printed *p)
{
	cleanup_fd int text_fd = memfd_create("stderr", MFD_CLOEXEC);
	cleanup_fd int stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);

	p->stderr_fd = p->text_fd = -1;
	fuse_set_log_func(NULL);
	(void)fflush(stderr);
	if (text_fd < 0 || stderr_fd < 0 || dup2(text_fd, STDERR_FILENO) < 0)
		return;
	p->stderr_fd = steal_fd(stderr_fd);
	p->text_fd = steal_fd(text_fd);
}

/* Give stderr back, and what was printed: its length. */
static size_t end(struct printed *p, char *text, size_t n)
{
	ssize_t got;

	fuse_set_log_func(to_log);
	if (p->stderr_fd < 0)
		return 0;
	(void)fflush(stderr);
	(void)dup2(p->stderr_fd, STDERR_FILENO);
	got = fd_pread_full(p->text_fd, text, n, 0);
	(void)close(p->stderr_fd);
	(void)close(p->text_fd);
	return got < 0 ? 0 : (size_t)got;
}

void printed_pass(struct printed *p)
{
	char text[4096];

	(void)fd_write_full(STDERR_FILENO, text, end(p, text, sizeof(text)));
}

void printed_fail(struct printed *p, char *out, size_t n)
{
	char text[4096];
	const char *line;
	size_t len = end(p, text, sizeof(text) - 1);

	while (len > 0 && text[len - 1] == '\n')
		len--;
	text[len] = '\0';
	line = strrchr(text, '\n');
	(void)snprintf(out, n, "%s", line != NULL ? line + 1 : text);
}
