/*
 * What the commands that talk to registries share: their options, and asking once and waiting.
 *
 * Threads: main only.
 */
#ifndef DIST_REMOTE_H
#define DIST_REMOTE_H

#include "base/cleanup.h"
#include "cli/cli.h"
#include "fill/fill.h"
#include "oci/descriptor.h"
#include "oci/reference.h"
#include "registry/client.h"

struct remote {
	struct registry_config config;
	uint64_t deadline_ms; /* monotonic, of the whole command; 0: none */
};

/* For the long options of a command: { REMOTE_OPTIONS, {"json", ...}, {0} } */
/* clang-format off */
#define REMOTE_OPTIONS                                \
	{"creds", required_argument, NULL, 'C'},      \
	{"auth-file", required_argument, NULL, 'A'},  \
	{"hosts-dir", required_argument, NULL, 'H'},  \
	{"timeout", required_argument, NULL, 'W'}
/* clang-format on */

#define REMOTE_LOGIN_HELP                                                                     \
	"  --creds USER[:PASSWORD]  instead of what `dist login` or docker keep\n"            \
	"  --auth-file FILE         docker's config.json (default $REGISTRY_AUTH_FILE, else " \
	"its\n"                                                                               \
	"                           own place)\n"                                             \
	"  --hosts-dir DIRS         of hosts.toml (default /etc/containerd/certs.d and\n"     \
	"                           /etc/docker/certs.d)\n"
#define REMOTE_HELP                                                                            \
	REMOTE_LOGIN_HELP                                                                      \
	"  --timeout DURATION       give up after that (default $CONTAINERD_FETCH_TIMEOUT, 0:" \
	"\n"                                                                                   \
	"                           never)\n"

/* Nothing given, but what $CONTAINERD_FETCH_TIMEOUT says. Returns CLI_OK or CLI_FAILED. */
int remote_init(const struct cli_program *p, struct remote *re);

/* Take option o with optarg, where it is one of REMOTE_OPTIONS. CLI_OK or CLI_FAILED (said). */
int remote_option(const struct cli_program *p, struct remote *re, int o);

/* Milliseconds until the deadline, 1 when that has passed; 0: there is none. */
uint64_t remote_time_left(const struct remote *re);

/* What a fill is to fetch, as d tells; source: "host/repository" or NULL, borrowed as d is. */
struct fill_object remote_fill_object(const struct descriptor *d, const char *source);

/* registry_new() that tells why it failed; returns CLI_OK or CLI_FAILED. */
int remote_open(const struct cli_program *p, const struct remote *re, struct registry **ret);

/*
 * An image name of the command line, and a second word that is its tag or digest (NULL: none);
 * "latest" where neither says. Returns 0 or -EINVAL.
 */
int remote_name(const char *name, const char *object, struct reference *ret, struct err *err);

/* What a request asks for by that: the digest, else the tag. */
struct remote_object {
	char s[REFERENCE_TAG_MAX + DIGEST_TEXT_LEN + 1];
};
struct remote_object remote_object(const struct reference *r);

/*
 * Whether a registry answers us, with the credentials that there are. Blocks, until the deadline
 * at most. Returns 0, -EACCES or as registry_request.done().
 */
int remote_ping(const struct remote *re, struct registry *registry, const char *host,
		struct err *err);

/*
 * Describe what name says, by asking; *ret as registry_request.done() has it. Blocks, until the
 * deadline at most. Returns 0 or as done().
 */
int remote_resolve(const struct remote *re, struct registry *registry, const struct reference *name,
		   struct registry_object *ret, struct err *err);

CLEANUP_DEFINE(struct registry *, registry_free);

#endif
