/*
 * What goes into Authorization: tokens and user names, for each host and scope, remembered until
 * they expire or are refused, and asked for once however many requests wait.
 *
 *   auth_known -> request -> 401 -> auth_answer -> done(authorization) -> request again
 *
 * Bearer: POST with a refresh token (OAuth2), GET with a password or anonymous, as docker does;
 * POST with a password where no GET is served. Credentials that cannot be had (no helper, a garbled
 * file) do not keep public things from being read: the reason is told once anonymous is refused.
 *
 * Threads: the network thread.
 */
#ifndef REGISTRY_AUTH_H
#define REGISTRY_AUTH_H

#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "registry/challenge.h"
#include "registry/hosts.h"

struct auth;
struct registry;

/* The asker's, its node initialised. */
struct auth_wait {
	struct list node;
	/*
	 * 0 and the value of Authorization, valid during the call; or -EACCES, -EIO (the token
	 * server fails; retry_after_ms is what it said), -ETIMEDOUT, -EPROTO, -ENOMEM.
	 */
	void (*done)(struct auth_wait *w, int r, const char *authorization, uint64_t retry_after_ms,
		     const struct err *err);
};

int auth_new(struct registry *r, struct auth **ret);
/* No worker may be running any more. NULL is accepted; returns NULL. */
struct auth *auth_free(struct auth *a);

/* What to send to h for scope without being asked: NULL when nothing is known (any more). */
const char *auth_known(struct auth *a, const struct host *h, const char *scope);

/*
 * Answer h's challenge.
 *
 * @hosts, h    the host that asked; counted while it is needed
 * @repository  for credentials filed by repository
 * @scope       what we are after: "repository:library/redis:pull"; more than one with blanks
 * @refused     the authorization that h has just refused, or NULL
 *
 * Returns 0, w->done() is called later; 1, auth_known() has another one already; or -ENOMEM.
 */
int auth_answer(struct auth *a, struct host_list *hosts, const struct host *h,
		const char *repository, const char *scope, const struct challenge *c,
		const char *refused, struct auth_wait *w, struct err *err);

/* w->done() will not be called. */
void auth_wait_cancel(struct auth_wait *w);

#endif
