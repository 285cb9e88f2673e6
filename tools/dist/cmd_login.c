/* dist login, logout: enter a user's password for a registry in docker's config.json, or take it
 * out. */
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/fd.h"
#include "cli/cli.h"
#include "cli/prompt.h"
#include "dist/auth_file.h"
#include "dist/dist.h"
#include "dist/remote.h"
#include "registry/helper.h"

#define SECRET_MAX ((size_t)16 << 10) /* tokens as passwords are long */

struct login {
	char host[REFERENCE_NAME_MAX + 1];
	const char *user;
	char user_typed[256];
	char password[SECRET_MAX];
	bool no_verify;
};

/* A registry as people type it: "localhost:5000", "https://registry.example/", nothing. */
static int set_host(const struct cli_program *p, struct login *l, const char *arg)
{
	char text[sizeof(l->host) + 8];
	struct reference ref;
	struct err err = {0};
	const char *host = arg;
	size_t n;
	int r;

	if (host == NULL)
		host = REFERENCE_DEFAULT_HOST;
	if (strncmp(host, "https://", 8) == 0 || strncmp(host, "http://", 7) == 0)
		host = strstr(host, "//") + 2;
	n = strlen(host);
	if (n > 0 && host[n - 1] == '/')
		n--;
	if (n == 0 || n >= sizeof(l->host) || memchr(host, '/', n) != NULL)
		return cli_usage_error(p, "\"%.200s\" is not a registry's HOST[:PORT]", arg);
	(void)snprintf(text, sizeof(text), "%.*s/x", (int)n, host);
	r = reference_parse_source(text, &ref, &err);
	if (r < 0)
		return cli_usage_error(p, "\"%.200s\" is not a registry's HOST[:PORT]", arg);
	(void)snprintf(l->host, sizeof(l->host), "%s", ref.host);
	return CLI_OK;
}

/* All of stdin, less the newline at its end. */
static int read_password(struct login *l, struct err *err)
{
	ssize_t n = fd_read_full(STDIN_FILENO, l->password, sizeof(l->password));

	if (n < 0)
		return err_errno(err, (int)-n, "read the password from standard input");
	if ((size_t)n == sizeof(l->password))
		return err_set(err, E2BIG, "the password is longer than %zu bytes", SECRET_MAX - 1);
	if (memchr(l->password, '\0', (size_t)n) != NULL)
		return err_set(err, EINVAL, "there is a NUL in the password");
	if (n > 0 && l->password[n - 1] == '\n')
		n--;
	if (n > 0 && l->password[n - 1] == '\r')
		n--;
	l->password[n] = '\0';
	return 0;
}

static int ask(struct login *l, bool from_stdin, struct err *err)
{
	int r = 0;

	if (l->user == NULL) {
		r = prompt_line("Username: ", false, l->user_typed, sizeof(l->user_typed), err);
		l->user = l->user_typed;
	}
	if (r == 0)
		r = from_stdin ? read_password(l, err)
			       : prompt_line("Password: ", true, l->password, sizeof(l->password),
					     err);
	if (r < 0)
		return r;
	if (l->user[0] == '\0' || strchr(l->user, ':') != NULL)
		return err_set(err, EINVAL, "\"%.100s\" is no user name", l->user);
	if (l->password[0] == '\0')
		return err_set(err, EINVAL, "the password is empty");
	return 0;
}

/* One request that any registry answers when it knows who asks. */
static int verify(const struct cli_program *p, const struct remote *re, const struct login *l)
{
	struct remote now = *re;
	cleanup(registry_freep) struct registry *registry = NULL;
	cleanup_free char *creds = NULL;
	struct err err = {0};
	int r;

	if (asprintf(&creds, "%s:%s", l->user, l->password) < 0) {
		creds = NULL;
		return cli_fail(p, NULL, NULL, -ENOMEM);
	}
	now.config.credentials = creds;
	now.config.auth_file = NULL; /* it need not be there yet */
	if (remote_open(p, &now, &registry) != CLI_OK)
		return CLI_FAILED;
	r = remote_ping(&now, registry, l->host, &err);
	registry = registry_free(registry);
	explicit_bzero(creds, strlen(creds));
	if (r < 0)
		return cli_fail(p, "login", &err, r);
	return CLI_OK;
}

static int tell_helper(const char *helper, const char *key, const struct login *l, struct err *err)
{
	cleanup_buf struct buf out;
	cleanup_free char *text = NULL;
	json_t *o = json_pack("{s:s, s:s, s:s}", "ServerURL", key, "Username", l->user, "Secret",
			      l->password);
	int r;

	buf_init(&out, 64 << 10);
	text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
	json_decref(o);
	if (text == NULL)
		return err_set(err, EINVAL, "the user or password is not UTF-8");
	r = helper_run(helper, "store", text, -1, &out, err);
	explicit_bzero(text, strlen(text));
	return r;
}

static int keep(const struct cli_program *p, const struct remote *re, const struct login *l)
{
	const char *key = auth_file_key(l->host);
	char path[PATH_MAX], helper[64] = "";
	struct err err = {0};
	int r = auth_file_path(re->config.auth_file, path, sizeof(path), &err);

	if (r == 0)
		r = auth_file_helper(path, key, helper, sizeof(helper), &err);
	if (r < 0)
		return cli_fail(p, NULL, &err, r);
	if (helper[0] != '\0')
		r = tell_helper(helper, key, l, &err);
	else
		r = auth_file_set(path, key, l->user, l->password, &err);
	if (r < 0)
		return cli_fail(p, NULL, &err, r);
	if (helper[0] != '\0')
		(void)fprintf(stderr, "%s logged in to %s, kept by docker-credential-%s\n", l->user,
			      l->host, helper);
	else
		(void)fprintf(stderr, "%s logged in to %s, kept in %s\n", l->user, l->host, path);
	return CLI_OK;
}

static int log_in(const struct cli_program *p, const struct remote *re, struct login *l,
		  bool from_stdin)
{
	struct err err = {0};
	int r = ask(l, from_stdin, &err);

	if (r < 0)
		return cli_fail(p, "login", &err, r);
	if (!l->no_verify && verify(p, re, l) != CLI_OK)
		return CLI_FAILED;
	return keep(p, re, l);
}

int cmd_login(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"username", required_argument, NULL, 'u'},
					      {"password-stdin", no_argument, NULL, 'P'},
					      {"no-verify", no_argument, NULL, 'n'},
					      {"auth-file", required_argument, NULL, 'A'},
					      {"hosts-dir", required_argument, NULL, 'H'},
					      {"timeout", required_argument, NULL, 'W'},
					      {0}};
	struct login l = {0};
	struct remote re;
	bool from_stdin = isatty(STDIN_FILENO) == 0;
	int o, status;

	if (remote_init(p, &re) != CLI_OK)
		return CLI_FAILED;
	while ((o = cli_getopt(p, argc, argv, "u:", longs, &status)) != -1) {
		if (o == CLI_STOP)
			return status;
		if (o == 'u')
			l.user = optarg;
		from_stdin = from_stdin || o == 'P';
		l.no_verify = l.no_verify || o == 'n';
		if (remote_option(p, &re, o) != CLI_OK)
			return CLI_FAILED;
	}
	if (argc - optind > 1)
		return cli_usage_error(p, "one HOST at most; options go before it");
	if (set_host(p, &l, argv[optind]) != CLI_OK)
		return CLI_FAILED;
	if (from_stdin && l.user == NULL)
		return cli_usage_error(p, "the password comes from standard input: who logs in? "
					  "Say --username USER");
	status = log_in(p, &re, &l, from_stdin);
	explicit_bzero(l.password, sizeof(l.password));
	return status;
}

static int forget(const struct cli_program *p, const char *auth_file, const char *host)
{
	const char *key = auth_file_key(host);
	char path[PATH_MAX], helper[64] = "";
	cleanup_buf struct buf out;
	struct err err = {0};
	bool found = false;
	int r = auth_file_path(auth_file, path, sizeof(path), &err);

	buf_init(&out, 64 << 10);
	if (r == 0)
		r = auth_file_helper(path, key, helper, sizeof(helper), &err);
	if (r == 0)
		r = auth_file_remove(path, host, &found, &err);
	if (r == 0 && helper[0] != '\0') {
		r = helper_run(helper, "erase", key, -1, &out, &err);
		found = found || r == 0;
		r = r == -ENOENT ? 0 : r;
	}
	if (r < 0)
		return cli_fail(p, "logout", &err, r);
	(void)fprintf(stderr, found ? "logged out of %s\n" : "was not logged in to %s\n", host);
	return CLI_OK;
}

int cmd_logout(const struct cli_program *p, int argc, char **argv)
{
	static const struct option longs[] = {{"auth-file", required_argument, NULL, 'A'}, {0}};
	const char *auth_file = NULL;
	struct login l = {0};
	int o, status;

	while ((o = cli_getopt(p, argc, argv, "", longs, &status)) != -1) {
		if (o == CLI_STOP)
			return status;
		auth_file = optarg;
	}
	if (argc - optind > 1)
		return cli_usage_error(p, "one HOST at most; options go before it");
	if (set_host(p, &l, argv[optind]) != CLI_OK)
		return CLI_FAILED;
	return forget(p, auth_file, l.host);
}
