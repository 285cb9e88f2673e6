/*
 * The one log of a program: lines "level component text" on stderr, or in syslog once a
 * daemon is in the background.
 *
 *   log_init("contentfs") -> log_set_level() -> log_warn("fill", ...) from any thread
 *
 * Only edges log (main, daemon, service); layers below return errors and log at debug level
 * only. User-given text goes in double quotes, secrets never. Control characters are replaced.
 *
 * Levels: err a request failed, warn we went on, info lifecycle, debug one line per operation.
 * $LOG (err, warn, info, debug) sets the level before the command line does.
 *
 * Threads: any; a line is written by one write(2).
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* ident: static string, the program's name; reads $LOG. Default level: info. */
void log_init(const char *ident);
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

/* From here on write to syslog (facility daemon) instead of stderr. */
void log_to_syslog(void);

void log_msg(enum log_level level, const char *component, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_err(component, ...) log_msg(LOG_LEVEL_ERR, component, __VA_ARGS__)
#define log_warn(component, ...) log_msg(LOG_LEVEL_WARN, component, __VA_ARGS__)
#define log_info(component, ...) log_msg(LOG_LEVEL_INFO, component, __VA_ARGS__)
#define log_debug(component, ...) log_msg(LOG_LEVEL_DEBUG, component, __VA_ARGS__)

#endif
