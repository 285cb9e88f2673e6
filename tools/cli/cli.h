/*
 * What the programs with subcommands share: dispatch, help, exit statuses, option parsing.
 *
 * Exit statuses: 0 success, 1 a command failed or was called wrongly, 3 unknown command. Results go
 * to stdout, errors to stderr as "<program>: <message>", one line each.
 *
 * Threads: main only.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { CLI_OK = 0, CLI_FAILED = 1, CLI_UNKNOWN_COMMAND = 3 };

struct cli_program;

struct cli_command {
	const char *name;
	const char *aliases; /* "del" or "del,rm", or NULL */
	const char *args;    /* "[options] DIGEST..." */
	const char *summary; /* one line, or more */
	const char *options; /* help text of its options, lines, or NULL */
	/* argv[0] is the command's name. Returns an exit status. */
	int (*run)(const struct cli_program *p, int argc, char **argv);
};

struct cli_program {
	const char *name;
	const char *summary;
	const struct cli_command *commands; /* ended by a NULL name, in order of help */
};

/* Parses --debug --help --version and the command, runs it; the program's exit status. */
int cli_main(const struct cli_program *p, int argc, char **argv);

/*
 * Next option of a command: getopt_long(3) that stops at the first non-option, with -h/--help
 * handled here. Returns the option's val, -1 at the end (optind is the first argument), or CLI_STOP
 * when the command must end with *ret_status (help was asked, or an unknown flag was explained).
 */
enum { CLI_STOP = -2 };
int cli_getopt(const struct cli_program *p, int argc, char **argv, const char *shorts,
	       const struct option *longs, int *ret_status);

/* "<program>: <what>: <why>" on stderr; returns CLI_FAILED. what may be NULL. */
int cli_fail(const struct cli_program *p, const char *what, const struct err *err, int r);

/* "<program>: ..." on stderr; returns CLI_FAILED. */
int cli_usage_error(const struct cli_program *p, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * Flush stdout; CLI_FAILED with a message where that fails (a full disk, a closed pipe), so that
 * no command exits 0 having printed half its answer.
 */
int cli_finish(const struct cli_program *p, int status);

#endif
