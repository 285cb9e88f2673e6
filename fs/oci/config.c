#include "oci/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "oci/doc.h"

CLEANUP_DEFINE(struct image_config *, image_config_free);

static int make_room(struct image_strings *l, size_t n, struct err *err)
{
	l->s = calloc(n + 1, sizeof(*l->s));
	return l->s == NULL ? err_set(err, ENOMEM, "out of memory") : 0;
}

/* Without a NUL inside: jansson refuses "\u0000". */
static int add(struct image_strings *l, const json_t *v, const char *key, struct err *err)
{
	if (!json_is_string(v))
		return err_set(err, EBADMSG, "\"%s\" holds what is no string", key);
	if (json_string_length(v) > IMAGE_CONFIG_TEXT_MAX)
		return err_set(err, E2BIG, "\"%s\" holds a string longer than %zu bytes", key,
			       IMAGE_CONFIG_TEXT_MAX);
	l->s[l->n++] = json_string_value(v);
	return 0;
}

static int take_strings(const json_t *o, const char *key, struct image_strings *l, struct err *err)
{
	json_t *array;
	int r = doc_array(o, key, IMAGE_CONFIG_LIST_MAX, &array, err);

	if (r == 0)
		r = make_room(l, json_array_size(array), err);
	for (size_t i = 0; i < json_array_size(array) && r == 0; i++)
		r = add(l, json_array_get(array, i), key, err);
	return r;
}

/* The keys of an object and, unless values is NULL, its values, which are strings then. */
static int take_map(const json_t *o, const char *key, struct image_strings *keys,
		    struct image_strings *values, struct err *err)
{
	json_t *map;
	int r = doc_object(o, key, &map, err);

	if (r == 0 && json_object_size(map) > IMAGE_CONFIG_LIST_MAX)
		r = err_set(err, E2BIG, "\"%s\" has %zu entries, the limit is %d", key,
			    json_object_size(map), IMAGE_CONFIG_LIST_MAX);
	if (r == 0)
		r = make_room(keys, json_object_size(map), err);
	if (r == 0 && values != NULL)
		r = make_room(values, json_object_size(map), err);
	for (void *at = json_object_iter(map); at != NULL && r == 0;
	     at = json_object_iter_next(map, at)) {
		if (strlen(json_object_iter_key(at)) > IMAGE_CONFIG_TEXT_MAX)
			return err_set(err, E2BIG, "\"%s\" has a key longer than %zu bytes", key,
				       IMAGE_CONFIG_TEXT_MAX);
		keys->s[keys->n++] = json_object_iter_key(at);
		if (values != NULL)
			r = add(values, json_object_iter_value(at), key, err);
	}
	return r;
}

static int take_run(struct image_config *c, struct err *err)
{
	json_t *o;
	int r = doc_object(c->doc, "config", &o, err);

	if (r == 0)
		r = doc_string(o, "User", IMAGE_CONFIG_TEXT_MAX, &c->user, err);
	if (r == 0)
		r = doc_string(o, "WorkingDir", IMAGE_CONFIG_TEXT_MAX, &c->working_dir, err);
	if (r == 0)
		r = doc_string(o, "StopSignal", IMAGE_CONFIG_TEXT_MAX, &c->stop_signal, err);
	if (r == 0)
		r = take_strings(o, "Entrypoint", &c->entrypoint, err);
	if (r == 0)
		r = take_strings(o, "Cmd", &c->cmd, err);
	if (r == 0)
		r = take_strings(o, "Env", &c->env, err);
	if (r == 0)
		r = take_map(o, "Volumes", &c->volumes, NULL, err);
	if (r == 0)
		r = take_map(o, "ExposedPorts", &c->exposed_ports, NULL, err);
	if (r == 0)
		r = take_map(o, "Labels", &c->label_keys, &c->label_values, err);
	return r < 0 ? err_wrap(err, r, "config") : 0;
}

static int take_diff_ids(struct image_config *c, json_t *array, struct err *err)
{
	int r;

	if (json_array_size(array) == 0)
		return 0;
	c->diff_ids = calloc(json_array_size(array), sizeof(*c->diff_ids));
	if (c->diff_ids == NULL)
		return err_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < json_array_size(array); i++) {
		r = doc_digest(json_array_get(array, i), &c->diff_ids[i], err);
		if (r < 0)
			return err_wrap(err, r, "diff_ids[%zu]", i);
		c->n_diff_ids++;
	}
	return 0;
}

static int take_rootfs(struct image_config *c, struct err *err)
{
	const char *type = "";
	json_t *o, *array = NULL;
	int r = doc_object(c->doc, "rootfs", &o, err);

	if (r == 0 && o == NULL)
		r = err_set(err, EBADMSG, "\"rootfs\" is missing");
	if (r == 0)
		r = doc_string(o, "type", 64, &type, err);
	if (r == 0 && strcmp(type, "layers") != 0)
		r = err_set(err, EBADMSG, "rootfs: type is \"%s\", not \"layers\"", type);
	if (r == 0)
		r = doc_array(o, "diff_ids", IMAGE_CONFIG_LIST_MAX, &array, err);
	if (r == 0)
		r = take_diff_ids(c, array, err);
	return r;
}

static int take_step(const json_t *o, struct image_history *h, struct err *err)
{
	int r = json_is_object(o) ? 0 : err_set(err, EBADMSG, "no object");

	if (r == 0)
		r = doc_string(o, "created", IMAGE_CONFIG_MAX_BYTES, &h->created, err);
	if (r == 0)
		r = doc_string(o, "created_by", IMAGE_CONFIG_MAX_BYTES, &h->created_by, err);
	if (r == 0)
		r = doc_string(o, "comment", IMAGE_CONFIG_MAX_BYTES, &h->comment, err);
	if (r == 0)
		r = doc_string(o, "author", IMAGE_CONFIG_MAX_BYTES, &h->author, err);
	if (r == 0)
		r = doc_bool(o, "empty_layer", &h->empty_layer, err);
	return r;
}

static int take_history(struct image_config *c, struct err *err)
{
	json_t *array;
	int r = doc_array(c->doc, "history", IMAGE_CONFIG_LIST_MAX, &array, err);

	if (r < 0 || json_array_size(array) == 0)
		return r;
	c->history = calloc(json_array_size(array), sizeof(*c->history));
	if (c->history == NULL)
		return err_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < json_array_size(array); i++) {
		r = take_step(json_array_get(array, i), &c->history[i], err);
		if (r < 0)
			return err_wrap(err, r, "history[%zu]", i);
		c->n_history++;
	}
	return 0;
}

static int take_members(struct image_config *c, struct err *err)
{
	int r = platform_from_json(c->doc, &c->platform, err);

	if (r == 0)
		r = doc_string(c->doc, "created", 256, &c->created, err);
	if (r == 0)
		r = doc_string(c->doc, "author", IMAGE_CONFIG_TEXT_MAX, &c->author, err);
	if (r == 0)
		r = take_run(c, err);
	if (r == 0)
		r = take_rootfs(c, err);
	if (r == 0)
		r = take_history(c, err);
	return r;
}

int image_config_parse(const void *buf, size_t len, struct image_config **ret, struct err *err)
{
	cleanup(image_config_freep) struct image_config *c = calloc(1, sizeof(*c));
	int r;

	if (c == NULL)
		return err_set(err, ENOMEM, "out of memory");
	r = doc_load(buf, len, IMAGE_CONFIG_MAX_BYTES, &c->doc, err);
	if (r == 0)
		r = take_members(c, err);
	if (r < 0)
		return err_wrap(err, r, "image config");
	*ret = steal_ptr(c);
	return 0;
}

struct image_config *image_config_free(struct image_config *c)
{
	if (c == NULL)
		return NULL;
	free(c->entrypoint.s);
	free(c->cmd.s);
	free(c->env.s);
	free(c->volumes.s);
	free(c->exposed_ports.s);
	free(c->label_keys.s);
	free(c->label_values.s);
	free(c->diff_ids);
	free(c->history);
	json_decref(c->doc);
	free(c);
	return NULL;
}
