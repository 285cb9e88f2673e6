/* Configs of images. Every string that comes out is read to its end. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "oci/chainid.h"
#include "oci/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t read_all(const struct image_strings *l)
{
	size_t n = 0;

	for (size_t i = 0; i < l->n; i++)
		n += strlen(l->s[i]);
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image_config *c = NULL;
	struct digest chain;
	struct err err;
	size_t n;

	if (image_config_parse(data, size, &c, &err) < 0)
		return 0;
	n = strlen(c->user) + strlen(c->working_dir) + strlen(c->stop_signal) + strlen(c->created);
	n += read_all(&c->entrypoint) + read_all(&c->cmd) + read_all(&c->env);
	n += read_all(&c->volumes) + read_all(&c->exposed_ports);
	n += read_all(&c->label_keys) + read_all(&c->label_values);
	for (size_t i = 0; i < c->n_history; i++)
		n += strlen(c->history[i].created_by) + strlen(c->history[i].comment);
	assert(n <= size * 3);
	assert(c->label_keys.n == c->label_values.n);
	(void)chainid_of(c->diff_ids, c->n_diff_ids, &chain);
	image_config_free(c);
	return 0;
}
