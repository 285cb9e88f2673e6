#include "oci/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "oci/doc.h"

CLEANUP_DEFINE(struct manifest *, manifest_free);

static bool has(const json_t *o, const char *key)
{
	return json_object_get(o, key) != NULL; /* null too: some reader takes it */
}

/* Docker's schema 1 has its layers in fsLayers, by digest alone, and no sizes. */
static int check_schema(const json_t *o, struct err *err)
{
	const json_t *version = json_object_get(o, "schemaVersion");

	if (json_integer_value(version) == 1)
		return err_set(err, EOPNOTSUPP, "schema 1 manifests are not supported");
	if (version != NULL && json_integer_value(version) != 2)
		return err_set(err, EBADMSG, "\"schemaVersion\" is not 2");
	if (has(o, "fsLayers"))
		return err_set(err, EBADMSG, "\"fsLayers\" in a manifest of schema 2");
	return 0;
}

static int find_kind(const json_t *o, struct manifest *m, struct err *err)
{
	bool is_image = has(o, "layers") || has(o, "config"), is_index = has(o, "manifests");

	if (is_image && is_index)
		return err_set(err, EBADMSG,
			       "ambiguous: has \"manifests\" and \"layers\" or \"config\"");
	if (!is_image && !is_index)
		return err_set(err, EBADMSG, "neither an image manifest nor an index");
	m->kind = is_index ? MANIFEST_INDEX : MANIFEST_IMAGE;
	return 0;
}

/* After the entries, for Docker's config tells Docker's manifest where nobody states it. */
static int find_mediatype(const json_t *o, struct manifest *m, struct err *err)
{
	const char *recognised = m->kind == MANIFEST_INDEX ? MEDIATYPE_OCI_INDEX
				 : strcmp(m->config.mediatype, MEDIATYPE_DOCKER_CONFIG) == 0
					 ? MEDIATYPE_DOCKER_MANIFEST
					 : MEDIATYPE_OCI_MANIFEST;
	int r = doc_copy_string(o, "mediaType", m->mediatype, sizeof(m->mediatype), err);

	if (r < 0)
		return r;
	if (m->mediatype[0] == '\0')
		(void)snprintf(m->mediatype, sizeof(m->mediatype), "%s", recognised);
	if (!mediatype_is_valid(m->mediatype))
		return err_set(err, EBADMSG, "invalid media type \"%s\"", m->mediatype);
	if (m->kind == MANIFEST_INDEX ? !mediatype_is_index(m->mediatype)
				      : !mediatype_is_manifest(m->mediatype))
		return err_set(err, EBADMSG, "says it is \"%s\", but its members do not",
			       m->mediatype);
	return 0;
}

static int take_entries(const json_t *o, const char *key, struct manifest *m, struct err *err)
{
	json_t *array;
	int r = doc_array(o, key, MANIFEST_ENTRIES_MAX, &array, err);

	if (r < 0 || json_array_size(array) == 0)
		return r;
	m->entries = calloc(json_array_size(array), sizeof(*m->entries));
	if (m->entries == NULL)
		return err_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < json_array_size(array); i++) {
		r = descriptor_from_json(json_array_get(array, i), &m->entries[i], err);
		if (r < 0)
			return err_wrap(err, r, "%s[%zu]", key, i);
		m->n_entries++;
	}
	return 0;
}

static int take_descriptor(const json_t *o, const char *key, struct descriptor *ret,
			   struct err *err)
{
	int r = descriptor_from_json(doc_get(o, key), ret, err);

	return r < 0 ? err_wrap(err, r, "%s", key) : 0;
}

static int take_members(struct manifest *m, struct err *err)
{
	int r = check_schema(m->doc, err);

	if (r == 0)
		r = find_kind(m->doc, m, err);
	if (r == 0 && m->kind == MANIFEST_IMAGE)
		r = take_descriptor(m->doc, "config", &m->config, err);
	if (r == 0)
		r = take_entries(m->doc, m->kind == MANIFEST_INDEX ? "manifests" : "layers", m,
				 err);
	if (r == 0)
		r = find_mediatype(m->doc, m, err);
	m->has_subject = doc_get(m->doc, "subject") != NULL;
	if (r == 0 && m->has_subject)
		r = take_descriptor(m->doc, "subject", &m->subject, err);
	return r;
}

int manifest_parse(const void *buf, size_t len, struct manifest **ret, struct err *err)
{
	cleanup(manifest_freep) struct manifest *m = calloc(1, sizeof(*m));
	int r;

	if (m == NULL)
		return err_set(err, ENOMEM, "out of memory");
	r = doc_load(buf, len, MANIFEST_MAX_BYTES, &m->doc, err);
	if (r == 0)
		r = take_members(m, err);
	if (r < 0)
		return err_wrap(err, r, "manifest");
	*ret = steal_ptr(m);
	return 0;
}

struct manifest *manifest_free(struct manifest *m)
{
	if (m == NULL)
		return NULL;
	free(m->entries);
	json_decref(m->doc);
	free(m);
	return NULL;
}

const struct descriptor *manifest_select(const struct manifest *m, const struct platform *want)
{
	const struct descriptor *best = NULL, *unnamed = NULL;
	int best_rank = -1;

	for (size_t i = 0; m->kind == MANIFEST_INDEX && i < m->n_entries; i++) {
		const struct descriptor *d = &m->entries[i];
		int rank = platform_rank(want, &d->platform);

		if (!mediatype_is_manifest(d->mediatype) && !mediatype_is_index(d->mediatype))
			continue;
		if (d->platform.os[0] == '\0') {
			if (unnamed == NULL)
				unnamed = d;
		} else if (rank >= 0 && (best == NULL || rank < best_rank)) {
			best = d;
			best_rank = rank;
		}
	}
	return best != NULL ? best : unnamed;
}
