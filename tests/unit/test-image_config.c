#include "oci/config.h"

#include <errno.h>

#include "base/cleanup.h"
#include "lib/test.h"
#include "oci/chainid.h"

CLEANUP_DEFINE(struct image_config *, image_config_free);

#define HEX "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define CHAIN2 "sha256:9932074217c35353d2e03a3f5a86549f7c67bfeb0ba53e23d69f4d4c8f7958f5"
#define CHAIN3 "sha256:50127c0d6b338be78246434b4bce23ecf75e505158ea0bbd15effeb162fbf3ec"
#define ROOTFS "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" HEX "\"]}"

static int parse(const char *text, struct image_config **ret, struct err *err)
{
	return image_config_parse(text, strlen(text), ret, err);
}

TEST(a_config_tells_what_to_run_and_of_what_it_is_made)
{
	cleanup(image_config_freep) struct image_config *c = NULL;

	CHECK_EQ(parse("{\"architecture\":\"arm\",\"variant\":\"7\",\"os\":\"linux\","
		       "\"created\":\"2024-01-01T00:00:00Z\",\"author\":\"me\",\"config\":{"
		       "\"User\":\"1000:100\",\"WorkingDir\":\"/w\",\"StopSignal\":\"SIGINT\","
		       "\"Entrypoint\":[\"/e\",\"-x\"],\"Cmd\":[\"c\"],\"Env\":[\"A=b\",\"C=\"],"
		       "\"Volumes\":{\"/v\":{},\"/u\":{}},\"ExposedPorts\":{\"80/tcp\":{}},"
		       "\"Labels\":{\"k\":\"v\"}}," ROOTFS ",\"history\":[{\"created_by\":\"x\"},"
		       "{\"created_by\":\"y\",\"empty_layer\":true}],\"docker_version\":\"9\"}",
		       &c, NULL),
		 0);
	CHECK_STR(c->platform.arch, "arm");
	CHECK_STR(c->platform.variant, "v7");
	CHECK_STR(c->created, "2024-01-01T00:00:00Z");
	CHECK_STR(c->user, "1000:100");
	CHECK_STR(c->working_dir, "/w");
	CHECK_STR(c->stop_signal, "SIGINT");
	CHECK_EQ(c->entrypoint.n, 2);
	CHECK_STR(c->entrypoint.s[1], "-x");
	CHECK_EQ(c->cmd.n, 1);
	CHECK_EQ(c->env.n, 2);
	CHECK_STR(c->env.s[1], "C=");
	CHECK_EQ(c->volumes.n, 2);
	CHECK_STR(c->volumes.s[0], "/v");
	CHECK_STR(c->exposed_ports.s[0], "80/tcp");
	CHECK_STR(c->label_keys.s[0], "k");
	CHECK_STR(c->label_values.s[0], "v");
	CHECK_EQ(c->n_diff_ids, 1);
	CHECK_STR(digest_text(&c->diff_ids[0]).s, "sha256:" HEX);
	CHECK_EQ(c->n_history, 2);
	CHECK(!c->history[0].empty_layer && c->history[1].empty_layer);
}

TEST(what_is_null_or_absent_is_empty)
{
	cleanup(image_config_freep) struct image_config *c = NULL;

	CHECK_EQ(parse("{\"config\":{\"Env\":null,\"Cmd\":null,\"User\":null,\"Volumes\":null},"
		       "\"history\":null,\"rootfs\":{\"type\":\"layers\",\"diff_ids\":null}}",
		       &c, NULL),
		 0);
	CHECK_STR(c->user, "");
	CHECK_STR(c->platform.os, "");
	CHECK_EQ(c->env.n + c->cmd.n + c->entrypoint.n + c->volumes.n + c->n_diff_ids, 0);
	CHECK_EQ(c->n_history, 0);
	c = image_config_free(c);
	CHECK_EQ(parse("{" ROOTFS ",\"config\":null}", &c, NULL), 0);
	CHECK_STR(c->working_dir, "");
}

TEST(what_is_wrong_is_refused_and_named)
{
	static const struct {
		const char *text;
		int code;
		const char *why;
	} table[] = {
		{"", EBADMSG, "no JSON"},
		{"{}", EBADMSG, "rootfs"},
		{"{\"rootfs\":[]}", EBADMSG, "rootfs"},
		{"{\"rootfs\":{\"diff_ids\":[]}}", EBADMSG, "type"},
		{"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[7]}}", EBADMSG, "diff_ids[0]"},
		{"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:1\"]}}", EBADMSG,
		 "diff_ids[0]"},
		{"{\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha384:1\"]}}", EOPNOTSUPP,
		 "sha384"},
		{"{" ROOTFS ",\"config\":[]}", EBADMSG, "config"},
		{"{" ROOTFS ",\"config\":{\"Cmd\":\"sh\"}}", EBADMSG, "Cmd"},
		{"{" ROOTFS ",\"config\":{\"Cmd\":[1]}}", EBADMSG, "Cmd"},
		{"{" ROOTFS ",\"config\":{\"Cmd\":[\"a\\u0000b\"]}}", EBADMSG, "no JSON"},
		{"{" ROOTFS ",\"config\":{\"Labels\":{\"a\":1}}}", EBADMSG, "Labels"},
		{"{" ROOTFS ",\"config\":{\"Volumes\":[\"/v\"]}}", EBADMSG, "Volumes"},
		{"{" ROOTFS ",\"config\":{\"User\":7}}", EBADMSG, "User"},
		{"{" ROOTFS ",\"history\":[\"x\"]}", EBADMSG, "history[0]"},
		{"{" ROOTFS ",\"history\":[{\"empty_layer\":1}]}", EBADMSG, "empty_layer"},
		{"{" ROOTFS ",\"os\":\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}", E2BIG,
		 "os"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		cleanup(image_config_freep) struct image_config *c = NULL;
		struct err err = {0};

		CHECK_EQ(parse(table[i].text, &c, &err), -table[i].code);
		CHECK(c == NULL);
		if (strstr(err.msg, table[i].why) == NULL)
			TEST_FAIL("%s: \"%s\" does not say %s", table[i].text, err.msg,
				  table[i].why);
	}
}

/* Against sha256sum(1) of the text that the specification names. */
TEST(chain_ids_hash_the_one_before_and_the_next_diff_id)
{
	struct digest ids[3], chain;

	memset(ids[0].bytes, 0x11, DIGEST_BYTES);
	memset(ids[1].bytes, 0x22, DIGEST_BYTES);
	memset(ids[2].bytes, 0x33, DIGEST_BYTES);
	CHECK_EQ(chainid_of(ids, 0, &chain), -EINVAL);
	CHECK_EQ(chainid_of(ids, 1, &chain), 0);
	CHECK(digest_equal(&chain, &ids[0]));
	CHECK_EQ(chainid_of(ids, 2, &chain), 0);
	CHECK_STR(digest_text(&chain).s, CHAIN2);
	CHECK_EQ(chainid_of(ids, 3, &chain), 0);
	CHECK_STR(digest_text(&chain).s, CHAIN3);
	CHECK_EQ(chainid_of(ids, 2, &chain), 0);
	CHECK_EQ(chainid_next(&chain, &ids[2], &chain), 0);
	CHECK_STR(digest_text(&chain).s, CHAIN3);
}

TEST_MAIN()
