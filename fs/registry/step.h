/*
 * One HTTP request of a push, with its authorization and what is worth another try, for a thread
 * that waits.
 *
 *   fill in what is asked; step_run -> status, location ... -> step_done
 *
 * Threads: step_run() from any but the network thread; registry_free() not while one runs.
 */
#ifndef REGISTRY_STEP_H
#define REGISTRY_STEP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "registry/auth.h"
#include "registry/exchange.h"

struct step {
	/* What is asked; strings are borrowed. */
	const char *host, *repository;
	const char *from; /* another repository that must be readable too, or NULL */
	enum exchange_method method;
	const char *path; /* behind ".../v2/<repository>/"; or NULL, then url: a location */
	const char *url;
	const char *content_type;  /* of the body, or NULL */
	const char *content_range; /* or NULL */
	const void *body;	   /* body_len bytes, or body_fd from body_offset on */
	int body_fd;
	uint64_t body_offset, body_len;
	bool once; /* a failure is the caller's to go on from: no other try */

	/* What was answered, when step_run() returned 0. */
	int status;
	char *location; /* absolute, or NULL; the step's */
	char upload_range[64];
	char digest[128];
	uint64_t chunk_min; /* OCI-Chunk-Min-Length, 0: none */
	char what[300];	    /* "PUT https://..." for messages */
	char reason[160];   /* what an error reply says, or "" */

	/* Ours. */
	struct registry *r;
	struct post post;
	struct exchange x;
	struct auth_wait auth_wait;
	struct timer again;
	struct host_list *hosts;
	const struct host *to;
	char *built_url, *scope, *authorization;
	unsigned int n_refused, n_fails;
	pthread_mutex_t lock;
	pthread_cond_t ended_cond;
	bool ended; /* protected by lock, like the next two */
	int result;
	struct err err;
};

void step_init(struct step *s, const char *host, const char *repository);
void step_done(struct step *s);

/*
 * Run it; again after another, too. Returns 0 and a status that is neither 401 nor 429 nor
 * 5xx; or -EACCES, -EIO, -ETIMEDOUT, -EPROTO, -EINVAL, -ENOMEM.
 */
int step_run(struct registry *r, struct step *s, struct err *err);

/* The error that an unexpected status is: -EACCES, -ENOENT, -E2BIG, -EOPNOTSUPP, -EINVAL. */
int step_refused(const struct step *s, struct err *err);

#endif
