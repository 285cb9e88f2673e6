/*
 * Which hosts answer for a registry, in which order and how they are spoken to: containerd's
 * certs.d/<host>/hosts.toml (its docs/hosts.md), Docker's *.crt, *.cert and *.key beside or
 * instead of it, else the registry itself.
 *
 *   hosts_new -> hosts_get(registry) ... host_list_unref -> hosts_free
 *
 * What is read is remembered until one of the files changes. Of each colon separated directory
 * the first of <host>_<port>_, <host>:<port> (or <host>) and _default counts; the first of the
 * directories that has one decides. A hosts.toml that cannot be read is an error: who wrote one
 * did not want to go past it.
 *
 * Threads: one at a time. A list is counted and does not change.
 */
#ifndef REGISTRY_HOSTS_H
#define REGISTRY_HOSTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "registry/url.h"

enum host_caps { HOST_PULL = 1 << 0, HOST_RESOLVE = 1 << 1, HOST_PUSH = 1 << 2 };

struct host_header {
	char *name, *value;
};

/* A host to ask. Strings are the list's. */
struct host {
	char *base; /* "https://registry-1.docker.io/v2", no slash at the end */
	char *name; /* "registry-1.docker.io": host[:port], as credentials are filed */
	struct url_origin origin; /* of base: credentials go nowhere else */
	unsigned int caps;	  /* enum host_caps */
	bool named;		  /* the registry that was asked for; else a mirror, told ?ns= */
	bool skip_verify;
	char **ca_paths; /* PEM files to trust beside the system's */
	size_t n_cas;
	char *ca; /* what is in them */
	size_t ca_len;
	char *client_cert, *client_key; /* PEM files, or NULL */
	struct host_header *headers;	/* sent to origin alone */
	size_t n_headers;
	uint64_t dial_timeout_ms; /* 0: the client's */
};

struct host_list {
	unsigned int refs;
	char *registry; /* as in a reference: the value of ns= */
	struct host *hosts;
	size_t n_hosts;
};

struct hosts;

/* dirs: colon separated, copied. Returns 0 or -ENOMEM. */
int hosts_new(const char *dirs, struct hosts **ret);
struct hosts *hosts_free(struct hosts *h); /* NULL is accepted; returns NULL */

/*
 * The hosts of a registry, at least one, mirrors first; end it with host_list_unref().
 * Returns 0, -EINVAL (a file cannot be understood: err names it and the line; registry is no
 * host), -ENOMEM or from reading the files.
 */
int hosts_get(struct hosts *h, const char *registry, struct host_list **ret, struct err *err);

struct host_list *host_list_ref(struct host_list *l);
struct host_list *host_list_unref(struct host_list *l); /* NULL is accepted; returns NULL */

/*
 * What a hosts.toml means, without reading the files that it names. dir: where it lies, for
 * relative paths. Returns 0, -EINVAL or -ENOMEM.
 */
int hosts_parse(const char *text, size_t len, const char *dir, const char *registry,
		struct host_list **ret, struct err *err);

/* The registry itself, as without any file. Returns 0, -EINVAL or -ENOMEM. */
int hosts_default(const char *registry, struct host_list **ret, struct err *err);

#endif
