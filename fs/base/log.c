#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

static const char *const level_names[] = {"err", "warn", "info", "debug"};
static const int level_priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};

static atomic_int current_level = LOG_LEVEL_INFO;
static atomic_bool use_syslog;
static const char *program = "contentfs"; /* set once, before threads */

void log_init(const char *ident)
{
	const char *s = getenv("LOG"); /* NOLINT(concurrency-mt-unsafe): before threads */

	program = ident;
	for (int i = 0; s != NULL && i < 4; i++)
		if (strcmp(s, level_names[i]) == 0)
			atomic_store(&current_level, i);
}

void log_set_level(enum log_level level)
{
	atomic_store(&current_level, (int)level);
}

bool log_enabled(enum log_level level)
{
	return (int)level <= atomic_load(&current_level);
}

void log_to_syslog(void)
{
	openlog(program, LOG_PID | LOG_NDELAY, LOG_DAEMON);
	atomic_store(&use_syslog, true);
}

void log_msg(enum log_level level, const char *component, const char *fmt, ...)
{
	int saved_errno = errno;
	char line[1024];
	va_list ap;
	int n, m;

	if (!log_enabled(level))
		return;
	n = snprintf(line, sizeof(line), "%s %s ", level_names[level], component);
	if (n < 0 || (size_t)n >= sizeof(line) - 2)
		return;
	va_start(ap, fmt);
	m = vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, ap);
	va_end(ap);
	if (m < 0)
		return;
	for (char *p = line; *p != '\0'; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	if (atomic_load(&use_syslog)) {
		syslog(level_priorities[level], "%s", line);
	} else {
		size_t len = strlen(line);

		line[len++] = '\n';
		/* One write, so that lines of several threads or processes do not mix. */
		if (write(STDERR_FILENO, line, len) < 0)
			errno = 0; /* a log that cannot be written must not fail the work */
	}
	errno = saved_errno;
}
