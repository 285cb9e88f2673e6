/*
 * The command line of contentfs.
 *
 * Threads: main only. Strings point into argv.
 */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONFIG_SOURCES_MAX 32

struct config {
	enum { CONFIG_MOUNT, CONFIG_STATUS, CONFIG_HELP, CONFIG_VERSION } action;
	const char *root;
	const char *mountpoint;
	const char *sources[CONFIG_SOURCES_MAX]; /* HOST/REPOSITORY, in order */
	size_t n_sources;
	uint64_t read_timeout_ms; /* a read of a remote blob fails after it */
	uint64_t host_timeout_ms; /* a host that is silent for so long is given up; 0: 10 s */
	uint64_t background_bps;  /* bytes per second of fills that nobody waits for; 0: no cap */
	uint64_t cache_bytes;	  /* of what was fetched, and may go again; 0: no limit */
	uint64_t cache_grace_ns;  /* what was used in it stays */
	const char *hosts_dir;	  /* NULL: the registry client's own, like the next two */
	const char *auth_file;
	const char *credentials;
	bool foreground;
	bool debug;
	bool passthrough;
	bool verify_at_eof;
	bool read_only;
	char options[1024]; /* for libfuse, comma separated */
};

/* Returns 0, or -EINVAL after one line on stderr. */
int config_parse(int argc, char **argv, struct config *ret);

/* The text of --help on stdout. */
void config_print_help(void);

#endif
