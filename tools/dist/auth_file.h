/*
 * The file in which docker, and we, keep who logged in where: config.json of the Docker CLI, or
 * what $REGISTRY_AUTH_FILE names.
 *
 * What stands in it is auth_text.h's. A change is a new file, 0600, renamed over the old one (or
 * what it is a link to).
 *
 * Threads: any; of two changes at once the later one wins.
 */
#ifndef DIST_AUTH_FILE_H
#define DIST_AUTH_FILE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/*
 * Where it is: given (may be NULL), $REGISTRY_AUTH_FILE, $DOCKER_CONFIG/config.json,
 * ~/.docker/config.json, the first there is. Returns 0, -ENOENT (no home), -ENAMETOOLONG.
 */
int auth_file_path(const char *given, char *out, size_t n, struct err *err);

/* What stands for a registry in it: "https://index.docker.io/v1/" for docker.io. */
const char *auth_file_key(const char *host);

/*
 * The credential helper that the file wants for key: "pass" for docker-credential-pass; "" where
 * it wants none. Returns 0, -EBADMSG (no JSON object, a name that is none) or from reading.
 */
int auth_file_helper(const char *path, const char *key, char *out, size_t n, struct err *err);

/* Enter user and password for key, making the file and its directory (0700) where need be. */
int auth_file_set(const char *path, const char *key, const char *user, const char *password,
		  struct err *err);

/*
 * Take out whatever is filed for host, under any name of it; *ret_found: it was there. A file that
 * does not exist is success.
 */
int auth_file_remove(const char *path, const char *host, bool *ret_found, struct err *err);

#endif
