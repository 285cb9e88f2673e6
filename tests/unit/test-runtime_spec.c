#include "oci/runtime_spec.h"

#include <errno.h>
#include <jansson.h>

#include "base/cleanup.h"
#include "lib/test.h"

CLEANUP_DEFINE(struct image_config *, image_config_free);

#define IMAGE(config)                                                                        \
	"{\"architecture\":\"amd64\",\"os\":\"linux\",\"author\":\"me\",\"config\":{" config \
	"},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}"

static struct process_user user = {
	.uid = 999, .gid = 998, .groups = {29, 44}, .n_groups = 2, .home = "/h"};

/* The document, or NULL; *ret_r is what runtime_spec_make() returned. */
static json_t *make(const char *image, struct runtime_options *o, int *ret_r)
{
	cleanup(image_config_freep) struct image_config *c = NULL;
	cleanup_free char *text = NULL;

	*ret_r = image_config_parse(image, strlen(image), &c, NULL);
	if (*ret_r < 0)
		return NULL;
	o->user = &user;
	*ret_r = runtime_spec_make(c, o, &text, NULL);
	return text != NULL ? json_loads(text, 0, NULL) : NULL;
}

/* "a|b|c": the strings of an array below the object. */
static const char *joined(const json_t *o, const char *key)
{
	static char text[1024];
	const json_t *a = json_object_get(o, key);

	text[0] = '\0';
	for (size_t i = 0; i < json_array_size(a); i++)
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s",
			       i > 0 ? "|" : "", json_string_value(json_array_get(a, i)));
	return text;
}

static const char *string_at(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s != NULL ? s : "(none)";
}

TEST(the_process_is_what_the_image_says)
{
	struct runtime_options o = {0};
	cleanup(json_decrefp) json_t *spec = NULL;
	json_t *p, *u;
	int r;

	spec = make(IMAGE("\"Entrypoint\":[\"/e\",\"x y\"],\"Cmd\":[\"c\"],\"WorkingDir\":\"/w\","
			  "\"Env\":[\"A=b\",\"bare\",\"=x\",\"HOME=/mine\"]"),
		    &o, &r);
	CHECK_EQ(r, 0);
	p = json_object_get(spec, "process");
	u = json_object_get(p, "user");
	CHECK_STR(joined(p, "args"), "/e|x y|c");
	CHECK_STR(
		joined(p, "env"),
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin|A=b|HOME=/mine");
	CHECK_STR(string_at(p, "cwd"), "/w");
	CHECK_EQ(json_integer_value(json_object_get(u, "uid")), 999);
	CHECK_EQ(json_integer_value(json_object_get(u, "gid")), 998);
	CHECK_EQ(json_array_size(json_object_get(u, "additionalGids")), 2);
	CHECK_STR(string_at(json_object_get(spec, "root"), "path"), "rootfs");
}

TEST(arguments_stand_for_the_images_command_behind_its_entrypoint)
{
	static const struct {
		const char *config, *args;
		int r;
	} table[] = {
		{"\"Entrypoint\":[\"/e\"],\"Cmd\":[\"c\"]", "/e|one|two", 0},
		{"\"Cmd\":[\"c\"]", "one|two", 0},
		{"", "one|two", 0},
	};
	char *args[] = {(char[]){"one"}, (char[]){"two"}, NULL};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char image[512];
		struct runtime_options o = {.args = args};
		cleanup(json_decrefp) json_t *spec = NULL;
		int r;

		(void)snprintf(image, sizeof(image), IMAGE("%s"), table[i].config);
		spec = make(image, &o, &r);
		CHECK_EQ(r, table[i].r);
		CHECK_STR(joined(json_object_get(spec, "process"), "args"), table[i].args);
	}
}

TEST(an_image_with_nothing_to_run_needs_arguments)
{
	struct runtime_options o = {0};
	cleanup(json_decrefp) json_t *spec = NULL;
	int r;

	spec = make(IMAGE(""), &o, &r);
	CHECK_EQ(r, -EINVAL);
	CHECK(spec == NULL);
}

TEST(labels_and_what_is_known_of_the_image_become_annotations)
{
	struct runtime_options o = {0};
	cleanup(json_decrefp) json_t *spec = NULL;
	json_t *a;
	int r;

	spec = make(IMAGE("\"Cmd\":[\"c\"],\"StopSignal\":\"SIGINT\",\"Labels\":{\"k\":\"v\","
			  "\"\":\"x\",\"org.opencontainers.image.author\":\"they\"},"
			  "\"ExposedPorts\":{\"80/tcp\":{},\"53/udp\":{}}"),
		    &o, &r);
	CHECK_EQ(r, 0);
	a = json_object_get(spec, "annotations");
	CHECK_STR(string_at(a, "k"), "v");
	CHECK_STR(string_at(a, "org.opencontainers.image.author"), "they");
	CHECK_STR(string_at(a, "org.opencontainers.image.stopSignal"), "SIGINT");
	CHECK_STR(string_at(a, "org.opencontainers.image.exposedPorts"), "80/tcp,53/udp");
	CHECK_STR(string_at(a, "org.opencontainers.image.os"), "linux");
	CHECK_STR(string_at(a, "org.opencontainers.image.created"), "(none)");
	CHECK(json_object_get(a, "") == NULL);
}

TEST(volumes_are_mounted_behind_the_usual_ones)
{
	static const struct runtime_volume volumes[] = {{"/data", "volumes/0"}};
	struct runtime_options o = {.volumes = volumes, .n_volumes = 1};
	cleanup(json_decrefp) json_t *spec = NULL;
	const json_t *mounts, *last;
	int r;

	spec = make(IMAGE("\"Cmd\":[\"c\"]"), &o, &r);
	mounts = json_object_get(spec, "mounts");
	last = json_array_get(mounts, json_array_size(mounts) - 1);
	CHECK_STR(string_at(json_array_get(mounts, 0), "destination"), "/proc");
	CHECK_STR(string_at(last, "destination"), "/data");
	CHECK_STR(string_at(last, "source"), "volumes/0");
	CHECK_STR(joined(last, "options"), "rbind|rw");
}

TEST(rootless_is_a_user_namespace_of_one_id_and_no_network_of_its_own)
{
	struct runtime_options o = {.rootless = true, .host_uid = 1234, .host_gid = 5678};
	cleanup(json_decrefp) json_t *spec = NULL;
	const json_t *l, *map;
	bool has_user = false, has_network = false;
	int r;

	spec = make(IMAGE("\"Cmd\":[\"c\"]"), &o, &r);
	l = json_object_get(spec, "linux");
	map = json_array_get(json_object_get(l, "gidMappings"), 0);
	CHECK_EQ(json_integer_value(json_object_get(map, "hostID")), 5678);
	CHECK(json_object_get(l, "resources") == NULL);
	for (size_t i = 0; i < json_array_size(json_object_get(l, "namespaces")); i++) {
		const char *type =
			string_at(json_array_get(json_object_get(l, "namespaces"), i), "type");

		has_user = has_user || strcmp(type, "user") == 0;
		has_network = has_network || strcmp(type, "network") == 0;
	}
	CHECK(has_user && !has_network);
	CHECK(json_object_get(json_object_get(json_object_get(spec, "process"), "user"),
			      "additionalGids") == NULL);
}

TEST_MAIN()
