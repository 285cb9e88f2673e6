#include "dist/remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "registry/call.h"

static int set_deadline(const struct cli_program *p, struct remote *re, const char *timeout)
{
	uint64_t ns;

	if (clock_parse_duration(timeout, &ns) < 0)
		return cli_usage_error(p, "invalid timeout \"%.100s\": want e.g. 30s, 1m30s",
				       timeout);
	re->deadline_ms = ns > 0 ? clock_mono_ms() + (ns + 999999) / 1000000 : 0;
	return CLI_OK;
}

int remote_init(const struct cli_program *p, struct remote *re)
{
	const char *timeout =
		getenv("CONTAINERD_FETCH_TIMEOUT"); /* NOLINT(concurrency-mt-unsafe) */

	*re = (struct remote){.config.debug = log_enabled(LOG_LEVEL_DEBUG)};
	return timeout != NULL && timeout[0] != '\0' ? set_deadline(p, re, timeout) : CLI_OK;
}

int remote_option(const struct cli_program *p, struct remote *re, int o)
{
	switch (o) {
	case 'C':
		re->config.credentials = optarg;
		return CLI_OK;
	case 'A':
		re->config.auth_file = optarg;
		return CLI_OK;
	case 'H':
		re->config.hosts_dir = optarg;
		return CLI_OK;
	case 'W':
		return set_deadline(p, re, optarg);
	default:
		return CLI_OK;
	}
}

uint64_t remote_time_left(const struct remote *re)
{
	uint64_t now = clock_mono_ms();

	if (re->deadline_ms == 0)
		return 0;
	return re->deadline_ms > now ? re->deadline_ms - now : 1;
}

struct fill_object remote_fill_object(const struct descriptor *d, const char *source)
{
	return (struct fill_object){
		.digest = d->digest,
		.has_size = d->size > 0,
		.size = d->size,
		.source = source,
		.mediatype = d->mediatype[0] != '\0' ? d->mediatype : NULL,
	};
}

int remote_open(const struct cli_program *p, const struct remote *re, struct registry **ret)
{
	struct err err = {0};
	int r = registry_new(&re->config, ret, &err);

	return r < 0 ? cli_fail(p, NULL, &err, r) : CLI_OK;
}

int remote_name(const char *name, const char *object, struct reference *ret, struct err *err)
{
	char text[2 * REFERENCE_TEXT_MAX];
	struct reference plain;
	int r = reference_parse(name, &plain, err);

	if (r < 0)
		return r;
	if (object == NULL) {
		reference_set_default_tag(&plain);
		*ret = plain;
		return 0;
	}
	if (plain.has_digest || plain.tag[0] != '\0')
		return err_set(err, EINVAL,
			       "\"%.200s\" says already which image, what is \"%.100s\"?", name,
			       object);
	if (snprintf(text, sizeof(text), "%s%c%s", name, strchr(object, ':') != NULL ? '@' : ':',
		     object) >= (int)sizeof(text))
		return err_set(err, EINVAL, "\"%.100s...\" is too long for a tag or digest",
			       object);
	return reference_parse(text, ret, err);
}

struct remote_object remote_object(const struct reference *r)
{
	struct remote_object o;

	(void)snprintf(o.s, sizeof(o.s), "%s", r->has_digest ? digest_text(&r->digest).s : r->tag);
	return o;
}

int remote_resolve(const struct remote *re, struct registry *registry, const struct reference *name,
		   struct registry_object *ret, struct err *err)
{
	struct remote_object object = remote_object(name);
	const struct registry_name what = {
		.host = name->host,
		.repository = name->repository,
		.object = object.s,
		.deadline_ms = re->deadline_ms,
	};

	return registry_describe(registry, REGISTRY_RESOLVE, &what, ret, err);
}

int remote_ping(const struct remote *re, struct registry *registry, const char *host,
		struct err *err)
{
	const struct registry_name what = {
		.host = host,
		.repository = "",
		.object = "",
		.deadline_ms = re->deadline_ms,
	};
	struct registry_object o;

	return registry_describe(registry, REGISTRY_PING, &what, &o, err);
}
