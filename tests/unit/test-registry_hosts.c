#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "lib/test.h"
#include "registry/hosts.h"
#include "registry/toml.h"

CLEANUP_DEFINE(struct host_list *, host_list_unref);
CLEANUP_DEFINE(struct hosts *, hosts_free);

TEST(toml_means_what_it_says)
{
	static const struct {
		const char *text, *json;
	} table[] = {
		{"", "{}"},
		{"\xef\xbb\xbf# only this", "{}"},
		{"a = \"b\" # c\r\n", "{\"a\":\"b\"}"},
		{"a = 'C:\\x'\nb=\"\\t\\u00e9\\\"\"",
		 "{\"a\":\"C:\\\\x\",\"b\":\"\\t\xc3\xa9\\\"\"}"},
		{"a = [1, -2, 0x1f, 0o7, 0b11, 1_000, [\n true, # x\n\n false,\n],]",
		 "{\"a\":[1,-2,31,7,3,1000,[true,false]]}"},
		{"a = 1.5\nb = 1979-05-27\nc = inf\nd = 99999999999999999999",
		 "{\"a\":null,\"b\":null,\"c\":null,\"d\":null}"},
		{"a.b.\"c.d\" = 1\na.e = 2", "{\"a\":{\"b\":{\"c.d\":1},\"e\":2}}"},
		{"[a]\nx=1\n[a.b]\ny=2\n[\"c d\"]", "{\"a\":{\"x\":1,\"b\":{\"y\":2}},\"c d\":{}}"},
		{"[a.b]\nx=1\n[a]\ny=2", "{\"a\":{\"b\":{\"x\":1},\"y\":2}}"},
		{"a = {b = 1, c.d = {}}", "{\"a\":{\"b\":1,\"c\":{\"d\":{}}}}"},
		{"[[a]]\nx=1\n[[a]]\n[a.b]\ny=2", "{\"a\":[{\"x\":1},{\"b\":{\"y\":2}}]}"},
		{"a = \"\"\"\nx\\\n   y\"\"\"\"", "{\"a\":\"xy\\\"\"}"},
		{"a = '''\nx\n'''", "{\"a\":\"x\\n\"}"},
		{"a = \"\"\nb = ''", "{\"a\":\"\",\"b\":\"\"}"},
		{"[z]\n[y]\n[x]", "{\"z\":{},\"y\":{},\"x\":{}}"}, /* in the order of the file */
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct err err = {0};
		json_t *root = NULL;
		cleanup_free char *got = NULL;

		if (toml_parse(table[i].text, strlen(table[i].text), &root, &err) != 0)
			TEST_FAIL("%s: %s", table[i].text, err.msg);
		got = json_dumps(root, JSON_COMPACT);
		json_decref(root);
		CHECK_STR(got, table[i].json);
	}
}

TEST(what_is_no_toml_is_refused_by_its_line)
{
	static const struct {
		const char *text, *words;
	} table[] = {
		{"a", "line 1: \"=\" expected"},
		{"\n\na = ", "line 3: value expected"},
		{"a = \"b", "line 1: string without an end"},
		{"a = \"b\n\"", "line 1: string without an end"},
		{"a = \"\x01\"", "line 1: control character"},
		{"a = \"\\x\"", "line 1: invalid escape"},
		{"a = \"\\ud800\"", "line 1: escaped character that is none"},
		{"a = \"\\u0000\"", "line 1: escaped character that is none"},
		{"a = \"\xff\"", "line 1: string that is no UTF-8"},
		{"a = 1\na = 2", "line 2: key that has a value already"},
		{"[a]\n[a]", "line 2: table that was defined before"},
		{"a = {}\n[a.b]", "line 2: key that has a value already"},
		{"a = {}\na.b = 1", "line 2: key that has a value already"},
		{"a = []\n[[a]]", "line 2: key that has a value already"},
		{"a = 1\n[a]", "line 2: key that has a value already"},
		{"[a", "line 1: \"]\" expected"},
		{"[]", "line 1: key expected"},
		{"[[a]", "line 1: \"]\" expected"},
		{"a = [1 2]", "line 1: \",\" or \"]\" expected"},
		{"a = {b = 1,}", "line 1: key expected"},
		{"a = 1 b = 2", "line 1: end of the line expected"},
		{"a = yes", "line 1: value expected"},
		{"= 1", "line 1: key expected"},
	};
	static char deep[200];
	json_t *root = NULL;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct err err = {0};

		CHECK_EQ(toml_parse(table[i].text, strlen(table[i].text), &root, &err), -EBADMSG);
		if (strncmp(err.msg, table[i].words, strlen(table[i].words)) != 0)
			TEST_FAIL("%s: %s", table[i].text, err.msg);
		CHECK(root == NULL);
	}
	(void)snprintf(deep, sizeof(deep), "a = ");
	memset(deep + 4, '[', 100);
	CHECK_EQ(toml_parse(deep, strlen(deep), &root, NULL), -EBADMSG);
	CHECK_EQ(toml_parse(deep, TOML_MAX_BYTES + 1, &root, NULL), -E2BIG);
}

static int parse(const char *text, const char *registry, struct host_list **ret, struct err *err)
{
	return hosts_parse(text, strlen(text), "/certs.d/x", registry, ret, err);
}

TEST(without_a_file_the_registry_answers_itself)
{
	static const struct {
		const char *registry, *base;
	} table[] = {
		{"docker.io", "https://registry-1.docker.io/v2"},
		{"quay.io", "https://quay.io/v2"},
		{"quay.io:8443", "https://quay.io:8443/v2"},
		{"localhost:5000", "http://localhost:5000/v2"},
		{"127.0.0.1", "http://127.0.0.1/v2"},
		{"[::1]:5000", "http://[::1]:5000/v2"},
		{"localhost.example:5000", "https://localhost.example:5000/v2"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		cleanup(host_list_unrefp) struct host_list *l = NULL;

		CHECK_EQ(hosts_default(table[i].registry, &l, NULL), 0);
		CHECK_EQ(l->n_hosts, 1);
		CHECK_STR(l->hosts[0].base, table[i].base);
		CHECK(l->hosts[0].named);
		CHECK_EQ(l->hosts[0].caps, HOST_PULL | HOST_RESOLVE | HOST_PUSH);
	}
}

TEST(what_is_no_host_is_refused)
{
	static const char *const table[] = {"",	   "..",  ".",	 "a/b", "a b",
					    "a\n", "u@h", "a?b", "%41"};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct host_list *l = NULL;

		CHECK_EQ(hosts_default(table[i], &l, NULL), -EINVAL);
		CHECK(l == NULL);
	}
}

TEST(a_file_lists_mirrors_then_the_server)
{
	cleanup(host_list_unrefp) struct host_list *l = NULL;
	const struct host *h;

	CHECK_EQ(parse("server = \"https://up.test\"\n"
		       "skip_verify = true\n"
		       "[host.\"https://m1.test\"]\n"
		       "capabilities = [\"pull\", \"Resolve\"]\n"
		       "ca = \"ca.pem\"\n"
		       "client = [[\"c.pem\", \"c.key\"], [\"d.pem\", \"\"]]\n"
		       "dial_timeout = \"1500ms\"\n"
		       "[host.\"https://m1.test\".header]\n"
		       "x-a = [\"1\", \"2\"]\n"
		       "x-b = \"3\"\n"
		       "[host.\"m2.test:8000/pre/\"]\n"
		       "ca = [\"/a.pem\", \"b.pem\"]\n"
		       "client = \"both.pem\"\n"
		       "[host.\"http://m3.test/x\"]\n"
		       "override_path = true\n",
		       "reg.test", &l, NULL),
		 0);
	CHECK_EQ(l->n_hosts, 4);
	CHECK_STR(l->registry, "reg.test");
	h = &l->hosts[0];
	CHECK_STR(h->base, "https://m1.test/v2");
	CHECK_EQ(h->caps, HOST_PULL | HOST_RESOLVE);
	CHECK_EQ(h->n_cas, 1);
	CHECK_STR(h->ca_paths[0], "/certs.d/x/ca.pem");
	CHECK_STR(h->client_cert, "/certs.d/x/c.pem");
	CHECK_STR(h->client_key, "/certs.d/x/c.key");
	CHECK_EQ(h->dial_timeout_ms, 1500);
	CHECK_EQ(h->n_headers, 3);
	CHECK_STR(h->headers[1].value, "2");
	CHECK(!h->named && !h->skip_verify);
	h = &l->hosts[1];
	CHECK_STR(h->base, "https://m2.test:8000/pre/v2");
	CHECK_STR(h->name, "m2.test:8000");
	CHECK_STR(h->origin.s, "https://m2.test:8000");
	CHECK_STR(h->ca_paths[0], "/a.pem");
	CHECK_STR(h->client_key, "/certs.d/x/both.pem");
	CHECK_STR(l->hosts[2].base, "http://m3.test/x");
	h = &l->hosts[3];
	CHECK_STR(h->base, "https://up.test/v2");
	CHECK(h->skip_verify && !h->named);
}

TEST(without_a_server_the_registry_comes_last)
{
	cleanup(host_list_unrefp) struct host_list *l = NULL, *hub = NULL;

	CHECK_EQ(parse("[host.\"http://m\"]", "localhost:5000", &l, NULL), 0);
	CHECK_EQ(l->n_hosts, 2);
	CHECK_STR(l->hosts[1].base, "http://localhost:5000/v2");
	CHECK(l->hosts[1].named && !l->hosts[0].named);
	CHECK_EQ(parse("server = \"https://registry-1.docker.io\"", "docker.io", &hub, NULL), 0);
	CHECK(hub->hosts[0].named);
}

TEST(a_file_that_is_wrong_is_told)
{
	static const struct {
		const char *text, *words;
	} table[] = {
		{"server = 5", "server must be a URL"},
		{"server = \"ftp://a\"", "is no http or https URL"},
		{"server = \"https://u:p@a\"", "is no http or https URL"},
		{"server = \"https://a?b\"", "is no http or https URL"},
		{"capabilities = [\"fly\"]", "unknown capability \"fly\""},
		{"capabilities = \"pull\"", "capabilities must be an array"},
		{"ca = 5", "ca must be"},
		{"client = [[\"a\", \"b\", \"c\"]]", "client must be"},
		{"skip_verify = \"yes\"", "skip_verify must be true or false"},
		{"override_path = 1", "override_path must be true or false"},
		{"header = \"x\"", "header must be a table"},
		{"header = {x = \"a\\nb\"}", "invalid header"},
		{"header = {\"x y\" = \"a\"}", "invalid header"},
		{"dial_timeout = \"soon\"", "dial_timeout must be a duration"},
		{"host = 5", "host must be tables"},
		{"[host.\"https://a\"]\nca = 1", "host \"https://a\": ca must be"},
		{"x", "line 1"},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct host_list *l = NULL;
		struct err err = {0};

		CHECK_EQ(parse(table[i].text, "r", &l, &err), -EINVAL);
		if (strstr(err.msg, table[i].words) == NULL)
			TEST_FAIL("%s: %s", table[i].text, err.msg);
		CHECK(l == NULL);
	}
}

static int put(const char *root, const char *dir, const char *file, const char *text)
{
	cleanup_fd int dir_fd = -1;
	char path[512];

	(void)snprintf(path, sizeof(path), "%s/%s", root, dir);
	(void)mkdir(path, 0700);
	dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir_fd < 0 ? -errno : fd_write_file(dir_fd, file, text, strlen(text), 0600);
}

static const char *first_base(struct hosts *h, const char *registry)
{
	static char base[256];
	cleanup(host_list_unrefp) struct host_list *l = NULL;

	if (hosts_get(h, registry, &l, NULL) < 0)
		return "none";
	(void)snprintf(base, sizeof(base), "%s", l->hosts[0].base);
	return base;
}

TEST(the_most_exact_directory_counts_and_is_read_again)
{
	char root[] = "/tmp/contentfs-hosts.XXXXXX", dirs[128];
	cleanup(hosts_freep) struct hosts *h = NULL;

	CHECK(mkdtemp(root) != NULL);
	(void)snprintf(dirs, sizeof(dirs), "/nonexistent::%s", root);
	CHECK_EQ(hosts_new(dirs, &h), 0);
	CHECK_STR(first_base(h, "a.test:5000"), "https://a.test:5000/v2");
	CHECK_EQ(put(root, "_default", "hosts.toml", "server = \"https://d\""), 0);
	CHECK_STR(first_base(h, "a.test:5000"), "https://d/v2");
	CHECK_EQ(put(root, "a.test:5000", "hosts.toml", "server = \"https://colon\""), 0);
	CHECK_STR(first_base(h, "a.test:5000"), "https://colon/v2");
	CHECK_EQ(put(root, "a.test_5000_", "hosts.toml", "server = \"https://line\""), 0);
	CHECK_STR(first_base(h, "a.test:5000"), "https://line/v2");
	CHECK_EQ(put(root, "a.test_5000_", "hosts.toml", "server = \"https://new1\""), 0);
	CHECK_STR(first_base(h, "a.test:5000"), "https://new1/v2");
	CHECK_STR(first_base(h, "b.test"), "https://d/v2");
	CHECK_STR(first_base(h, "../x"), "none");
	CHECK_EQ(fd_remove_tree(AT_FDCWD, root), 0);
	CHECK_STR(first_base(h, "b.test"), "https://b.test/v2");
}

TEST(dockers_certificates_count_where_there_is_no_file)
{
	char root[] = "/tmp/contentfs-hosts.XXXXXX";
	cleanup(host_list_unrefp) struct host_list *l = NULL;
	cleanup(hosts_freep) struct hosts *h = NULL;

	CHECK(mkdtemp(root) != NULL);
	CHECK_EQ(hosts_new(root, &h), 0);
	CHECK_EQ(put(root, "localhost:5000", "x.crt", "CA"), 0);
	CHECK_EQ(put(root, "localhost:5000", "me.cert", "C"), 0);
	CHECK_EQ(hosts_get(h, "localhost:5000", &l, NULL), 0);
	CHECK_EQ(fd_remove_tree(AT_FDCWD, root), 0);
	CHECK_EQ(l->n_hosts, 1);
	CHECK_STR(l->hosts[0].base, "https://localhost:5000/v2"); /* who has a CA speaks TLS */
	CHECK_STR(l->hosts[0].ca, "CA\n");
	CHECK(strstr(l->hosts[0].client_key, "localhost:5000/me.key") != NULL);
}

TEST_MAIN()
