#include "oci/manifest.h"

#include <errno.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "lib/test.h"

CLEANUP_DEFINE(struct manifest *, manifest_free);

#define HEX "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define D "\"digest\":\"sha256:" HEX "\",\"size\":7"
#define DESC(type) "{\"mediaType\":\"" type "\"," D "}"
#define CONFIG "\"config\":" DESC(MEDIATYPE_OCI_CONFIG)
#define LAYER DESC(MEDIATYPE_OCI_LAYER "+gzip")
#define V2 "\"schemaVersion\":2"

static int parse(const char *text, struct manifest **ret, struct err *err)
{
	return manifest_parse(text, strlen(text), ret, err);
}

TEST(an_image_manifest_gives_its_config_and_layers)
{
	cleanup(manifest_freep) struct manifest *m = NULL;

	CHECK_EQ(parse("{" V2 "," CONFIG ",\"layers\":[" LAYER ",{\"mediaType\":"
		       "\"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip\"," D
		       ",\"urls\":[\"https://a.example/x\",\"https://b.example/y\"]}],"
		       "\"annotations\":{\"a\":\"b\"}}",
		       &m, NULL),
		 0);
	CHECK_EQ(m->kind, MANIFEST_IMAGE);
	CHECK_STR(m->mediatype, MEDIATYPE_OCI_MANIFEST);
	CHECK_STR(m->config.mediatype, MEDIATYPE_OCI_CONFIG);
	CHECK_STR(digest_text(&m->config.digest).s, "sha256:" HEX);
	CHECK_EQ(m->config.size, 7);
	CHECK_EQ(m->n_entries, 2);
	CHECK_STR(m->entries[0].mediatype, MEDIATYPE_OCI_LAYER "+gzip");
	CHECK(descriptor_url(&m->entries[0], 0) == NULL);
	CHECK_STR(descriptor_url(&m->entries[1], 1), "https://b.example/y");
	CHECK(descriptor_url(&m->entries[1], 2) == NULL);
	CHECK(!m->has_subject);
}

TEST(what_it_is_follows_from_its_members_where_it_does_not_say)
{
	static const struct {
		const char *text, *mediatype;
	} table[] = {
		{"{" V2 "," CONFIG ",\"layers\":[]}", MEDIATYPE_OCI_MANIFEST},
		{"{" V2 "," CONFIG "}", MEDIATYPE_OCI_MANIFEST},
		{"{" CONFIG ",\"layers\":null}", MEDIATYPE_OCI_MANIFEST},
		{"{" V2 ",\"config\":" DESC(MEDIATYPE_DOCKER_CONFIG) ",\"layers\":[]}",
		 MEDIATYPE_DOCKER_MANIFEST},
		{"{" V2 ",\"manifests\":[]}", MEDIATYPE_OCI_INDEX},
		{"{" V2 ",\"mediaType\":\"" MEDIATYPE_DOCKER_LIST "\",\"manifests\":[]}",
		 MEDIATYPE_DOCKER_LIST},
		{"{" V2 ",\"mediaType\":\"" MEDIATYPE_DOCKER_MANIFEST "\"," CONFIG "}",
		 MEDIATYPE_DOCKER_MANIFEST},
		{"{" V2 "," CONFIG ",\"subject\":" DESC(MEDIATYPE_OCI_MANIFEST) "}",
		 MEDIATYPE_OCI_MANIFEST},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		cleanup(manifest_freep) struct manifest *m = NULL;

		CHECK_EQ(parse(table[i].text, &m, NULL), 0);
		CHECK_STR(m->mediatype, table[i].mediatype);
	}
}

TEST(what_is_wrong_is_refused_and_named)
{
	static const struct {
		const char *text;
		int code;
		const char *why;
	} table[] = {
		{"", EBADMSG, "no JSON"},
		{"nonsense", EBADMSG, "no JSON"},
		{"[]", EBADMSG, "no JSON object"},
		{"{}", EBADMSG, "neither"},
		{"{" V2 "," CONFIG, EBADMSG, "no JSON"},
		{"{" V2 "," CONFIG "} x", EBADMSG, "no JSON"},
		{"{" V2 "," CONFIG ",\"layers\":[],\"layers\":[]}", EBADMSG, "duplicate"},
		{"{" V2 "," CONFIG ",\"manifests\":[]}", EBADMSG, "ambiguous"},
		{"{" V2 ",\"layers\":[],\"manifests\":[]}", EBADMSG, "ambiguous"},
		{"{" V2 ",\"layers\":null,\"manifests\":[]}", EBADMSG, "ambiguous"},
		{"{" V2 "," CONFIG ",\"fsLayers\":[]}", EBADMSG, "fsLayers"},
		{"{\"schemaVersion\":1,\"fsLayers\":[]}", EOPNOTSUPP, "schema 1"},
		{"{\"schemaVersion\":3," CONFIG "}", EBADMSG, "schemaVersion"},
		{"{" V2 ",\"layers\":[]}", EBADMSG, "config"},
		{"{" V2 ",\"config\":[],\"layers\":[]}", EBADMSG, "config"},
		{"{" V2 "," CONFIG ",\"layers\":{}}", EBADMSG, "layers"},
		{"{" V2 "," CONFIG ",\"layers\":[1]}", EBADMSG, "layers[0]"},
		{"{" V2 "," CONFIG ",\"mediaType\":\"" MEDIATYPE_OCI_INDEX "\"}", EBADMSG,
		 "its members do not"},
		{"{" V2 ",\"manifests\":[],\"mediaType\":\"" MEDIATYPE_OCI_MANIFEST "\"}", EBADMSG,
		 "its members do not"},
		{"{" V2 "," CONFIG ",\"mediaType\":7}", EBADMSG, "mediaType"},
		{"{" V2 ",\"config\":{\"mediaType\":\"a/b\",\"size\":1}}", EBADMSG, "digest"},
		{"{" V2 ",\"config\":{" D "}}", EBADMSG, "media type"},
		{"{" V2 ",\"config\":{\"mediaType\":\"a/b\\r\\nX: y\"," D "}}", EBADMSG,
		 "media type"},
		{"{" V2 ",\"config\":{\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX "\"}}",
		 EBADMSG, "size"},
		{"{" V2 ",\"config\":{\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX
		 "\",\"size\":-1}}",
		 EBADMSG, "size"},
		{"{" V2 ",\"config\":{\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX
		 "\",\"size\":1.5}}",
		 EBADMSG, "size"},
		{"{" V2 ",\"config\":{\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX
		 "\",\"size\":99999999999999999999}}",
		 EBADMSG, "no JSON"},
		{"{" V2 ",\"config\":{\"mediaType\":\"a/b\",\"digest\":\"sha256:12\",\"size\":1}}",
		 EBADMSG, "length"},
		{"{" V2 ",\"config\":{\"mediaType\":\"a/b\",\"digest\":\"sha512:" HEX HEX
		 "\",\"size\":1}}",
		 EOPNOTSUPP, "sha512"},
		{"{" V2 "," CONFIG ",\"layers\":[{\"mediaType\":\"a/b\"," D
		 ",\"urls\":[\"http://a b\"]}]}",
		 EBADMSG, "URL"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		cleanup(manifest_freep) struct manifest *m = NULL;
		struct err err = {0};

		CHECK_EQ(parse(table[i].text, &m, &err), -table[i].code);
		CHECK(m == NULL);
		if (strstr(err.msg, table[i].why) == NULL)
			TEST_FAIL("%s: \"%s\" does not say %s", table[i].text, err.msg,
				  table[i].why);
	}
}

/* before, then part n times with commas between, then after */
static int parse_many(const char *before, const char *part, size_t n, const char *after)
{
	cleanup(manifest_freep) struct manifest *m = NULL;
	cleanup_buf struct buf b;
	int r;

	buf_init(&b, (size_t)64 << 20);
	r = buf_puts(&b, before);
	for (size_t i = 0; i < n && r == 0; i++) {
		r = i > 0 ? buf_puts(&b, ",") : 0;
		if (r == 0)
			r = buf_puts(&b, part);
	}
	if (r == 0)
		r = buf_puts(&b, after);
	return r == 0 ? manifest_parse(b.data, b.len, &m, NULL) : r;
}

TEST(everything_has_a_limit)
{
	CHECK_EQ(parse_many("{" V2 "," CONFIG ",\"layers\":[", LAYER, MANIFEST_ENTRIES_MAX, "]}"),
		 0);
	CHECK_EQ(parse_many("{" V2 "," CONFIG ",\"layers\":[", LAYER, MANIFEST_ENTRIES_MAX + 1,
			    "]}"),
		 -E2BIG);
	CHECK_EQ(parse_many("{" V2 "," CONFIG ",\"x\":[", "[]", 300000, "]}"), -E2BIG);
	CHECK_EQ(parse_many("{" V2 "," CONFIG ",\"x\":[\"", "[[[[[{{{{\\\",\\\\\\\"",
			    (size_t)100000, "\"]}"),
		 0);
	CHECK_EQ(parse_many("{" V2 "," CONFIG ",\"x\":", "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
			    1, "]}"),
		 -E2BIG);
	CHECK_EQ(parse_many("{" V2 "," CONFIG ",\"x\":[", "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
			    150000, "]}"),
		 -E2BIG);
	CHECK_EQ(parse_many("{" V2 "," CONFIG ",\"layers\":[{\"mediaType\":\"a/b\"," D
			    ",\"urls\":[",
			    "\"http://a\"", DESCRIPTOR_URLS_MAX + 1, "]}]}"),
		 -E2BIG);
}

#define FOR(os, arch, size)                                                      \
	"{\"mediaType\":\"" MEDIATYPE_OCI_MANIFEST "\",\"digest\":\"sha256:" HEX \
	"\",\"size\":" size ",\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\"}}"
#define FOR_NONE \
	"{\"mediaType\":\"" MEDIATYPE_OCI_MANIFEST "\",\"digest\":\"sha256:" HEX "\",\"size\":99}"
#define INDEX(entries) "{" V2 ",\"manifests\":[" entries "]}"

TEST(an_index_gives_what_suits_the_platform_best)
{
	static const struct {
		const char *text, *want;
		int size; /* of the one selected; 0: none */
	} table[] = {
		{INDEX(FOR("linux", "386", "1") "," FOR("linux", "amd64", "2")), "linux/amd64", 2},
		{INDEX(FOR("linux", "386", "1") "," FOR("linux", "amd64", "2")), "linux/386", 1},
		{INDEX(FOR("linux", "386", "1") "," FOR("windows", "amd64", "2")), "linux/amd64",
		 1},
		{INDEX(FOR("linux", "amd64", "1") "," FOR("linux", "amd64", "2")), "linux/amd64",
		 1},
		{INDEX(FOR("unknown", "unknown", "1") "," FOR("linux", "x86_64", "2")),
		 "linux/amd64", 2},
		{INDEX(FOR("unknown", "unknown", "1")), "linux/amd64", 0},
		{INDEX(FOR_NONE "," FOR("linux", "amd64", "2")), "linux/amd64", 2},
		{INDEX(FOR_NONE "," FOR("linux", "arm64", "2")), "linux/amd64", 99},
		{INDEX(FOR("linux", "arm64", "2")), "linux/amd64", 0},
		{INDEX(DESC("text/plain")), "linux/amd64", 0},
		{INDEX(""), "linux/amd64", 0},
		{"{" V2 "," CONFIG ",\"layers\":[" LAYER "]}", "linux/amd64", 0},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		cleanup(manifest_freep) struct manifest *m = NULL;
		const struct descriptor *d;
		struct platform want;

		CHECK_EQ(platform_parse(table[i].want, &want, NULL), 0);
		CHECK_EQ(parse(table[i].text, &m, NULL), 0);
		d = manifest_select(m, &want);
		CHECK_EQ(d != NULL ? (int)d->size : 0, table[i].size);
	}
}

TEST(media_types_are_told_apart)
{
	CHECK(mediatype_is_layer(MEDIATYPE_DOCKER_LAYER ".gzip"));
	CHECK(mediatype_is_layer(MEDIATYPE_OCI_LAYER "+zstd"));
	CHECK(!mediatype_is_layer(MEDIATYPE_OCI_LAYER "+gzip+encrypted"));
	CHECK(!mediatype_is_layer(MEDIATYPE_OCI_CONFIG));
	CHECK(mediatype_is_foreign("application/vnd.oci.image.layer.nondistributable.v1.tar"));
	CHECK(!mediatype_is_foreign(MEDIATYPE_OCI_LAYER));
	CHECK(mediatype_is_config(MEDIATYPE_DOCKER_CONFIG));
	CHECK(!mediatype_is_manifest(MEDIATYPE_OCI_INDEX));
	CHECK(mediatype_is_index(MEDIATYPE_DOCKER_LIST));
	CHECK(mediatype_is_valid("a/b"));
	CHECK(!mediatype_is_valid(""));
	CHECK(!mediatype_is_valid("a/"));
	CHECK(!mediatype_is_valid("/b"));
	CHECK(!mediatype_is_valid("a/b; c=d"));
	CHECK(!mediatype_is_valid("a/b/c"));
}

TEST_MAIN()
