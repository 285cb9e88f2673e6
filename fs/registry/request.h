/*
 * One logical read on its way through hosts, challenges, retries: the client's side of a struct
 * registry_request.
 *
 *   request_new (any thread) -> request_begin -> [host, exchange, reply]... -> request_end
 *
 * request.c chooses hosts and moments, request_reply.c says what a reply means. Threads: the
 * network thread, but for request_new() and the fields that say otherwise.
 */
#ifndef REGISTRY_REQUEST_H
#define REGISTRY_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "registry/auth.h"
#include "registry/exchange.h"
#include "registry/private.h"

enum request_form { FORM_BLOB, FORM_MANIFEST };

/* How one host of the list has done so far. */
struct turn {
	bool out;	    /* not to be asked again */
	bool tried;	    /* in this round */
	unsigned int fails; /* in a row, without progress */
	uint64_t not_before_ms;
};

struct request {
	struct registry *r;
	struct registry_request *q;
	struct list node;    /* in r->incoming (r->lock), then in r->requests */
	struct list touched; /* protected by r->lock, like the next two */
	bool cancelled, resumed;

	struct digest digest; /* that object names, when is_digest */
	bool is_digest;
	char *scope; /* "repository:library/redis:pull" */

	/* whom */
	struct host_list *hosts;
	struct turn *turns; /* of each */
	size_t at;	    /* whose turn it is */
	unsigned int round;
	struct timer wake;     /* the next round */
	struct timer deadline; /* looks whether it has come */
	uint64_t progress_ms;  /* when there last was any */

	/* what: by which path, how */
	enum request_form forms[2];
	unsigned int n_forms, form;
	bool get; /* HEAD was no good here */

	/* the exchange under way */
	struct exchange x;
	char *url, *authorization;
	struct auth_wait auth_wait;
	unsigned int n_refused; /* authorizations in a row */

	/* what has come of it */
	struct registry_object object;
	bool has_object;	/* a host has answered */
	bool announced;		/* head() was called */
	bool has_end;		/* end is final; else the object may turn out shorter */
	uint64_t pos, end;	/* next byte to deliver; where to stop, 0: not known yet */
	uint64_t skip;		/* bytes of this reply before pos */
	uint64_t reply_end;	/* where this reply ends, UINT64_MAX: nobody said */
	uint64_t attempt_bytes; /* delivered in this exchange */
	struct buf whole;	/* a manifest */
	bool delivering;	/* whole is complete and good */
	bool asker_ended;	/* by what head() or data() returned */
	bool is_broken;		/* the reply: err has the words */

	struct err err; /* of the last failure */
	int last;
	bool has_verdict; /* the registry itself has refused: verdict, verdict_err */
	int verdict;
	struct err verdict_err;
};

/* NULL: no memory. */
struct request *request_new(struct registry *r, struct registry_request *q);

void request_begin(struct request *rq);
void request_cancel(struct request *rq);
void request_resume(struct request *rq);

/* done(r), then rq is gone. */
void request_end(struct request *rq, int r, const struct err *err);

/* The host whose turn it is. */
const struct host *request_host(const struct request *rq);

/* Ask the host whose turn it is (again). */
void request_ask(struct request *rq);

/* This host will not do: the next. err says why. */
void request_failed_for_good(struct request *rq, int r, const struct err *err);

/* This host may do later, the next perhaps now. at_once: try the same first. */
void request_failed_for_now(struct request *rq, int r, const struct err *err, bool at_once,
			    uint64_t retry_after_ms);

/* -- request_reply.c */

/* Callbacks of rq->x. */
int request_on_head(struct exchange *x);
int request_on_data(struct exchange *x, const void *p, size_t n);
void request_on_done(struct exchange *x, int r, const struct err *err);

/* Hand out what is held back, as far as the asker takes it. */
void request_deliver(struct request *rq);

#endif
