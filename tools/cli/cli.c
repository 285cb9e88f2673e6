#include "cli/cli.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define MAX_OPTIONS 64 /* of a command, with --help and the end */

static const struct cli_command *current; /* the command that runs, for its help */

/* "delete, del,remove,rm"; returns how long that is. */
static int names_of(const struct cli_command *c, char out[64])
{
	return snprintf(out, 64, "%s%s%s", c->name, c->aliases != NULL ? ", " : "",
			c->aliases != NULL ? c->aliases : "");
}

static void print_program_help(const struct cli_program *p)
{
	char names[64];
	int width = 16;

	for (const struct cli_command *c = p->commands; c->name != NULL; c++)
		if (names_of(c, names) > width)
			width = names_of(c, names);
	printf("usage: %s [--debug] COMMAND [ARG...]\n\n%s\n\nCommands:\n", p->name, p->summary);
	for (const struct cli_command *c = p->commands; c->name != NULL; c++) {
		const char *line = c->summary, *next = strchr(line, '\n');

		(void)names_of(c, names);
		for (; next != NULL; line = next + 1, next = strchr(line, '\n'), names[0] = '\0')
			printf("  %-*s %.*s\n", width, names, (int)(next - line), line);
		printf("  %-*s %s\n", width, names, line);
	}
	printf("\nOptions:\n"
	       "  --debug          tell what is done on stderr\n"
	       "  -h, --help       this help; `%s COMMAND --help` explains a command\n"
	       "  -v, --version    print the version\n",
	       p->name);
}

static void print_command_help(const struct cli_program *p, const struct cli_command *c)
{
	printf("usage: %s %s %s\n\n%s\n", p->name, c->name, c->args, c->summary);
	if (c->options != NULL)
		printf("\nOptions:\n%s", c->options);
}

static bool has_name(const struct cli_command *c, const char *name)
{
	size_t n = strlen(name);
	const char *a = c->aliases;

	if (strcmp(c->name, name) == 0)
		return true;
	while (a != NULL) {
		if (strncmp(a, name, n) == 0 && (a[n] == '\0' || a[n] == ','))
			return true;
		a = strchr(a, ',');
		a = a != NULL ? a + 1 : NULL;
	}
	return false;
}

static const struct cli_command *find_command(const struct cli_program *p, const char *name)
{
	for (const struct cli_command *c = p->commands; c->name != NULL; c++)
		if (has_name(c, name))
			return c;
	return NULL;
}

static int unknown_command(const char *name)
{
	(void)fprintf(stderr, "No help topic for '%s'\n", name);
	return CLI_UNKNOWN_COMMAND;
}

static int help(const struct cli_program *p, const char *name)
{
	const struct cli_command *c;

	if (name == NULL) {
		print_program_help(p);
		return cli_finish(p, CLI_OK);
	}
	c = find_command(p, name);
	if (c == NULL)
		return unknown_command(name);
	print_command_help(p, c);
	return cli_finish(p, CLI_OK);
}

int cli_main(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"debug", no_argument, NULL, 'd'},
					      {"help", no_argument, NULL, 'h'},
					      {"version", no_argument, NULL, 'v'},
					      {0}};
	int o;

	log_init(p->name);
	/* "+": options behind the command's name are the command's. */
	while ((o = getopt_long(argc, argv, "+hv", longs, NULL)) != -1) { /* NOLINT */
		switch (o) {
		case 'd':
			log_set_level(LOG_LEVEL_DEBUG);
			break;
		case 'h':
			return help(p, NULL);
		case 'v':
			printf("%s version %s\n", p->name, CONTENTFS_VERSION);
			return cli_finish(p, CLI_OK);
		default:
			return CLI_FAILED; /* getopt_long has said why */
		}
	}
	argc -= optind;
	argv += optind;
	if (argc == 0)
		return help(p, NULL);
	if (strcmp(argv[0], "help") == 0 || strcmp(argv[0], "h") == 0)
		return help(p, argc > 1 ? argv[1] : NULL);
	current = find_command(p, argv[0]);
	if (current == NULL)
		return unknown_command(argv[0]);
	optind = 0; /* glibc: start over, for the command's own options */
	return cli_finish(p, current->run(p, argc, argv));
}

int cli_getopt(const struct cli_program *p, int argc, char **argv, const char *shorts,
	       const struct option *longs, int *ret_status)
{
	struct option all[MAX_OPTIONS] = {{"help", no_argument, NULL, 'h'}};
	char spec[64];
	size_t n = 0;
	int o;

	while (longs[n].name != NULL)
		n++;
	assert(n + 2 <= MAX_OPTIONS);
	memcpy(all + 1, longs, n * sizeof(*longs));
	(void)snprintf(spec, sizeof(spec), "+h%s", shorts);
	o = getopt_long(argc, argv, spec, all, NULL); /* NOLINT(concurrency-mt-unsafe) */
	if (o == 'h') {
		print_command_help(p, current);
		*ret_status = CLI_OK;
		return CLI_STOP;
	}
	if (o == '?' || o == ':') {
		(void)fprintf(stderr, "usage: %s %s %s\n", p->name, current->name, current->args);
		*ret_status = CLI_FAILED;
		return CLI_STOP;
	}
	return o;
}

int cli_fail(const struct cli_program *p, const char *what, const struct err *err, int r)
{
	if (what != NULL)
		(void)fprintf(stderr, "%s: %s: %s\n", p->name, what, err_text(err, r));
	else
		(void)fprintf(stderr, "%s: %s\n", p->name, err_text(err, r));
	return CLI_FAILED;
}

int cli_usage_error(const struct cli_program *p, const char *fmt, ...)
{
	va_list ap;

	(void)fprintf(stderr, "%s: ", p->name);
	va_start(ap, fmt);
	(void)vfprintf(stderr, fmt, ap);
	va_end(ap);
	(void)fputc('\n', stderr);
	return CLI_FAILED;
}

int cli_finish(const struct cli_program *p, int status)
{
	if (fflush(stdout) == 0 && ferror(stdout) == 0)
		return status;
	(void)fprintf(stderr, "%s: write to standard output: %s\n", p->name, err_describe(errno));
	return status != CLI_OK ? status : CLI_FAILED;
}
