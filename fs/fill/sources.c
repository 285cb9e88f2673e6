/* Registries and repositories by name. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fill/private.h"

struct source *source_find_locked(struct fill *f, const char *name, struct err *err)
{
	struct reference ref;
	struct source *s;
	char full[REFERENCE_NAME_MAX + 1];

	for (s = f->all_sources; s != NULL; s = s->next)
		if (strcmp(s->name, name) == 0)
			return s;
	if (reference_parse_source(name, &ref, err) < 0)
		return NULL;
	reference_format_name(&ref, full);
	for (s = f->all_sources; s != NULL; s = s->next)
		if (strcmp(s->name, full) == 0)
			return s;
	s = calloc(1, sizeof(*s));
	if (s == NULL) {
		(void)err_set(err, ENOMEM, "out of memory");
		return NULL;
	}
	memcpy(s->name, full, sizeof(s->name));
	s->ref = ref;
	s->next = f->all_sources;
	f->all_sources = s;
	return s;
}
