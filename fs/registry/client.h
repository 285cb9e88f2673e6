/*
 * A client of OCI registries (distribution spec 1.1) and of Docker's: one network thread, one
 * connection pool, tokens cached per scope, hosts and mirrors as containerd's certs.d describes.
 *
 *   registry_new -> registry_start(request) ... done(request) -> registry_free
 *
 * A request is one logical read: of a tag or digest's description, of a manifest, of a range of a
 * blob. It answers challenges, follows redirects (credentials never leave the host that they are
 * meant for), retries what is worth it with jitter and Retry-After, goes on behind the last
 * byte that arrived when a connection breaks, and takes the next host of the list where one is
 * silent for stall_ms or has nothing. What its callbacks see is therefore simple: head() once,
 * data() in order and without gaps or repeats, done() once.
 *
 * It verifies nothing but what the protocol says (lengths, Content-Range, the digest of a whole
 * manifest): the digest of a blob is for whoever has all of its bytes.
 *
 * Threads: every function from any thread. head() and data() are called on the network thread and
 * must not wait for anybody; done() too. No lock is held during a callback, which may start
 * and cancel requests.
 */
#ifndef REGISTRY_CLIENT_H
#define REGISTRY_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/digest.h"
#include "base/err.h"
#include "base/list.h"

struct registry;

struct registry_config { /* zero, NULL: the default in brackets; strings are copied */
	/* certs.d directories, colon separated [/etc/containerd/certs.d:/etc/docker/certs.d] */
	const char *hosts_dir;
	/* docker's config.json [$REGISTRY_AUTH_FILE, $DOCKER_CONFIG/config.json,
	 * ~/.docker/config.json] */
	const char *auth_file;
	/* "USER:PASSWORD" (or "USER", password empty) for every registry that a request names
	 * [none] */
	const char *credentials;
	uint64_t connect_ms;	      /* [10 s] */
	uint64_t stall_ms;	      /* no byte for so long: next host [10 s] */
	uint64_t deadline_ms;	      /* of a request that states none [5 min without progress] */
	unsigned int max_connections; /* to one host at once [16] */
	unsigned int max_attempts;    /* at one host, for one request [6] */
	bool debug;		      /* headers (less secrets) to the debug log */
};

/*
 * Returns 0, -EINVAL (auth_file, hosts_dir: said in err) or -ENOMEM. The network thread begins with
 * the first request.
 */
int registry_new(const struct registry_config *c, struct registry **ret, struct err *err);

/* Requests under way end with -ECANCELED, then the thread. NULL is accepted; returns NULL. */
struct registry *registry_free(struct registry *r);

/* What is known of an object once a host has answered. */
struct registry_object {
	struct digest digest; /* of a blob or manifest asked for by digest: that one */
	bool has_digest;      /* false: nobody said (head() of a tag); true whenever done() is 0 */
	bool has_size;
	uint64_t size;	     /* of the whole object, whatever range was asked for */
	char mediatype[128]; /* Content-Type less its parameters, "" when there was none */
	char host[256];	     /* who answered, "host[:port]" */
};

enum registry_op {
	REGISTRY_RESOLVE, /* HEAD, else GET, of a manifest: no data(), object is the answer */
	REGISTRY_STAT,	  /* HEAD of a blob, and of a manifest of that digest where there is none */
	REGISTRY_MANIFEST, /* GET of a manifest, at most 4 MiB; checked against its digest */
	REGISTRY_BLOB,	   /* GET of bytes of a blob */
	REGISTRY_ANY,	   /* GET of a digest: a blob, else the manifest of that digest */
	REGISTRY_PING,	   /* GET of /v2/, of the registry itself and no mirror: do we get in? No
			    * data(), object is only who answered; repository and object are "" */
};

/*
 * A request: the asker owns it, embeds it, and keeps it until done() has been called, which is
 * the last time that the client touches it. Strings are borrowed until then.
 */
struct registry_request {
	enum registry_op op;
	const char *host;	/* as in a reference: "docker.io", "localhost:5000" */
	const char *repository; /* "library/redis" */
	const char *object;	/* a tag, or "sha256:<hex>"; a blob has a digest */
	const char *mediatype;	/* for Accept; NULL: whatever manifests there are */
	uint64_t offset;	/* BLOB, ANY: first byte wanted */
	uint64_t length;	/* bytes wanted; 0: to the end */
	uint64_t size;		/* of the whole object, where the asker knows it; 0: he does not.
				 * A host that says another is taken for broken: the next one */
	const char *avoid;	/* hosts (registry_object.host, blank between them) that gave wrong
				 * bytes before and are not asked; NULL: none */
	uint64_t deadline_ms;	/* clock_mono_ms() when it must have ended; 0: the client's rule */
	uint64_t max_bytes_per_s; /* 0: as fast as it comes */

	/* Once, before the first data(); may be NULL. Not 0: the request ends with that. */
	int (*head)(struct registry_request *q, const struct registry_object *o);
	/*
	 * n bytes from offset of the object on. -EAGAIN: not now; the same bytes come again after
	 * registry_resume(). Else not 0: the request ends with that.
	 */
	int (*data)(struct registry_request *q, uint64_t offset, const void *p, size_t n);
	/*
	 * A host has failed, and another one, or the same again, may do better: to be told to
	 * people who ask meanwhile. As often as that happens; may be NULL.
	 */
	void (*trouble)(struct registry_request *q, const struct err *err);
	/*
	 * 0, or
	 *   -ENOENT     no host has it            -EACCES     none lets us (err->detail: status)
	 *   -ETIMEDOUT  the deadline passed       -EPROTO     replies that break the protocol
	 *   -EBADMSG    a manifest's bytes contradict its digest
	 *   -EIO        none answered: unreachable, reset, 5xx to the end; none left to ask
	 *   -EINVAL     host, repository or object are none, or hosts.toml is garbled
	 *   -E2BIG      a manifest over 4 MiB     -ECANCELED  registry_cancel(), registry_free()
	 *   other       what head() or data() returned
	 * err names the host, and what was asked of it. o: as for head(), NULL where none answered.
	 */
	void (*done)(struct registry_request *q, int r, const struct registry_object *o,
		     const struct err *err);
	void *arg; /* the asker's */

	void *impl; /* the client's */
	struct list node;
};

/* Callbacks may come before this returns. */
void registry_start(struct registry *r, struct registry_request *q);

/* done(-ECANCELED) comes soon, unless it has been called or is being called. */
void registry_cancel(struct registry *r, struct registry_request *q);

/* After data() returned -EAGAIN: offer it again. Harmless at any other time before done(). */
void registry_resume(struct registry *r, struct registry_request *q);

/* Counters since registry_new(); for status and tests. */
struct registry_stats {
	uint64_t requests;	/* of askers */
	uint64_t http_requests; /* on the wire, with those for tokens */
	uint64_t retries, failovers, tokens;
	uint64_t bytes_in;
	unsigned int active;
};
void registry_stats(struct registry *r, struct registry_stats *ret);

#endif
