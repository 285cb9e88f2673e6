/*
 * Who we are to a registry: docker's config.json ("auths", "credHelpers", "credsStore"; also as
 * podman writes it, with keys like "quay.io/namespace"), read anew at each question.
 *
 *   credentials_new -> credentials_find(host, repository) ... -> credentials_free
 *
 * Threads: every function from any thread; credentials_find() reads files and runs programs, so
 * never on the network thread.
 */
#ifndef REGISTRY_CREDENTIALS_H
#define REGISTRY_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct credentials;

struct credential {
	char *user, *password; /* NULL: none */
	char *identity_token;  /* an OAuth2 refresh token, or NULL */
	char *bearer;	       /* "registrytoken": to be sent as it is, or NULL */
};

/*
 * file: the config.json, NULL: $REGISTRY_AUTH_FILE, else $DOCKER_CONFIG/config.json, else
 * ~/.docker/config.json. A file that is named by the caller must be there.
 * Returns 0, -EINVAL (it is not) or -ENOMEM.
 */
int credentials_new(const char *file, struct credentials **ret, struct err *err);
struct credentials *credentials_free(struct credentials *c); /* NULL accepted; returns NULL */

/* From now on, and for those under way, credentials_find() returns -ECANCELED. */
void credentials_stop(struct credentials *c);

/*
 * What is filed for host ("docker.io" and "registry-1.docker.io" are one, "index.docker.io/v1").
 * Secrets in *ret are the caller's, end them with credential_done().
 *
 * Returns 0, or
 *   -ENOENT   nothing is filed for it
 *   -EINVAL   the file cannot be understood
 *   other     from reading it, or of helper_run()
 * err names the file or program.
 */
int credentials_find(struct credentials *c, const char *host, const char *repository,
		     struct credential *ret, struct err *err);

/* Where they are kept: for messages and for login. */
const char *credentials_path(const struct credentials *c);

void credential_done(struct credential *c);

/*
 * Whether a key of "auths" stands for all of host: "quay.io", "https://quay.io/v1/", and any name
 * of Docker's registry for each of them; but not "quay.io/namespace".
 */
bool credentials_is_key(const char *key, const char *host);

/*
 * What a config.json of text says of host without asking helpers; *ret_helper: the program to ask
 * first ("" none), at most n bytes with its NUL. Returns as credentials_find().
 */
int credentials_parse(const char *text, size_t len, const char *host, const char *repository,
		      struct credential *ret, char *ret_helper, size_t n, struct err *err);

#endif
