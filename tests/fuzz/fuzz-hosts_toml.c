/*
 * hosts.toml: what is accepted has a last host that answers, no secret-bearing origin without a
 * scheme, and no header that could break out of its line. The files it names are not read.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "registry/hosts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct host *h)
{
	assert(h->base != NULL && h->name != NULL && h->name[0] != '\0');
	assert(strncmp(h->origin.s, "http://", 7) == 0 || strncmp(h->origin.s, "https://", 8) == 0);
	assert(h->caps != 0 &&
	       (h->caps & ~(unsigned int)(HOST_PULL | HOST_RESOLVE | HOST_PUSH)) == 0);
	for (size_t i = 0; i < h->n_headers; i++) {
		assert(strpbrk(h->headers[i].name, "\r\n: ") == NULL);
		assert(strpbrk(h->headers[i].value, "\r\n") == NULL);
	}
	assert((h->client_cert == NULL) == (h->client_key == NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const registries[] = {"docker.io", "localhost:5000", "registry.test"};
	struct host_list *l = NULL;
	struct err err = {0};
	int r = hosts_parse((const char *)data, size, "/etc/certs.d/x", registries[size % 3], &l,
			    &err);

	if (r < 0) {
		assert(l == NULL && err.code == -r && err.msg[0] != '\0');
		return 0;
	}
	assert(l->n_hosts > 0);
	for (size_t i = 0; i < l->n_hosts; i++)
		check(&l->hosts[i]);
	host_list_unref(l);
	return 0;
}
