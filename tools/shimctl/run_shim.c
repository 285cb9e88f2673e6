#include "shimctl/run_shim.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/dir.h"
#include "base/fd.h"
#include "shimctl/paths.h"

enum {
	START_MS = 20 * 1000,
	START_POLL_MS = 5,
	EXIT_MS = 10 * 1000,
	MAX_CONFIG_BYTES = 4 << 20,
	MAX_LOG_BYTES = 64 << 10,
};

extern char **environ;

/* ---- the working directory ---- */

static int make_dir(const char *path, struct err *err)
{
	if (mkdir(path, 0700) == 0 || errno == EEXIST)
		return 0;
	return err_errno(err, errno, "make the directory %s", path);
}

/* In one of somebody else ours could be exchanged for another. */
static int check_parent(const char *path, struct err *err)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return err_errno(err, errno, "look at %s", path);
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022) != 0)
		return err_set(err, EPERM, "%s is no directory of ours alone", path);
	return 0;
}

static int check_empty(const char *path, struct err *err)
{
	cleanup_dir DIR *dir = dir_open(AT_FDCWD, path);

	if (dir == NULL)
		return err_errno(err, errno, "open %s", path);
	if (dir_next(dir) != NULL)
		return err_set(err, EEXIST, "%s is in use: it is not empty", path);
	return 0;
}

int run_dir_make(const char *dir, const char *id, char *out, size_t n, struct err *err)
{
	const char *base = "/run", *runtime = getenv("XDG_RUNTIME_DIR"); /* NOLINT */
	char parent[2048];
	int r;

	if (dir == NULL) {
		if (geteuid() != 0)
			base = runtime;
		if (base != NULL)
			(void)snprintf(parent, sizeof(parent), "%s/contentfs-shim", base);
		else
			(void)snprintf(parent, sizeof(parent), "/tmp/contentfs-shim-%u", geteuid());
		r = make_dir(parent, err);
		if (r == 0)
			r = check_parent(parent, err);
		if (r < 0)
			return r;
		(void)snprintf(out, n, "%s/%s", parent, id);
	} else {
		r = path_absolute(dir, out, n, err);
		if (r < 0)
			return r;
	}
	r = make_dir(out, err);
	if (r < 0)
		return r;
	return check_empty(out, err);
}

void run_dir_remove(const char *dir)
{
	(void)fd_remove_tree(AT_FDCWD, dir);
}

/* ---- the bundle ---- */

static int set_args(json_t *process, char *const *args, size_t n_args)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n_args; i++)
		if (json_array_append_new(list, json_string(args[i])) < 0) {
			json_decref(list);
			return -EINVAL; /* no UTF-8 */
		}
	return json_object_set_new(process, "args", list) < 0 ? -ENOMEM : 0;
}

/* The rootfs is relative to the bundle that the configuration came from. */
static int set_rootfs(json_t *config, const char *from)
{
	json_t *root = json_object_get(config, "root");
	const char *path = json_string_value(json_object_get(root, "path"));
	char absolute[4096];

	if (path == NULL)
		return -EINVAL;
	if (path[0] == '/')
		return 0;
	if ((size_t)snprintf(absolute, sizeof(absolute), "%s/%s", from, path) >= sizeof(absolute))
		return -ENAMETOOLONG;
	return json_object_set_new(root, "path", json_string(absolute)) < 0 ? -ENOMEM : 0;
}

static int change_config(json_t *config, const char *from, char *const *args, size_t n_args,
			 bool terminal, struct err *err)
{
	json_t *process = json_object_get(config, "process");
	int r;

	if (!json_is_object(process))
		return err_set(err, EINVAL, "%s/config.json has no process", from);
	if (n_args > 0) {
		r = set_args(process, args, n_args);
		if (r < 0)
			return err_errno(err, -r, "set the arguments");
	}
	if (json_object_set_new(process, "terminal", json_boolean(terminal)) < 0)
		return err_set(err, ENOMEM, "out of memory");
	r = set_rootfs(config, from);
	return r < 0 ? err_errno(err, -r, "%s/config.json: root.path", from) : 0;
}

static int read_config(const char *from, json_t **ret, struct err *err)
{
	cleanup_buf struct buf text;
	char path[4200];
	json_error_t je;
	int r;

	buf_init(&text, MAX_CONFIG_BYTES);
	(void)snprintf(path, sizeof(path), "%s/config.json", from);
	r = fd_read_file(AT_FDCWD, path, &text);
	if (r < 0)
		return err_errno(err, -r, "read %s", path);
	*ret = json_loadb(text.data, text.len, 0, &je);
	if (*ret == NULL)
		return err_set(err, EINVAL, "%s: line %d, column %d: no JSON", path, je.line,
			       je.column);
	return 0;
}

int run_bundle_make(const char *dir, const char *from, char *const *args, size_t n_args,
		    bool terminal, struct err *err)
{
	char bundle[4200], absolute[4096];
	cleanup_fd int bundle_fd = -1;
	cleanup_free char *text = NULL;
	json_t *config = NULL;
	int r;

	if (realpath(from, absolute) == NULL)
		return err_errno(err, errno, "find the bundle %s", from);
	r = read_config(absolute, &config, err);
	if (r < 0)
		return r;
	r = change_config(config, absolute, args, n_args, terminal, err);
	if (r == 0)
		text = json_dumps(config, JSON_INDENT(2));
	json_decref(config);
	if (r < 0)
		return r;
	if (text == NULL)
		return err_set(err, ENOMEM, "out of memory");
	(void)snprintf(bundle, sizeof(bundle), "%s/bundle", dir);
	r = make_dir(bundle, err);
	if (r < 0)
		return r;
	bundle_fd = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (bundle_fd < 0)
		return err_errno(err, errno, "open %s", bundle);
	r = fd_write_file(bundle_fd, "config.json", text, strlen(text), 0600);
	return r < 0 ? err_errno(err, -r, "write %s/config.json", bundle) : 0;
}

/* ---- the shim ---- */

void run_find_program(const char *name, char *out, size_t n)
{
	char self[4096];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;

	(void)snprintf(out, n, "%s", name);
	if (len <= 0)
		return;
	self[len] = '\0';
	slash = strrchr(self, '/');
	if (slash == NULL)
		return;
	slash[1] = '\0';
	(void)snprintf(out, n, "%s%s", self, name);
	if (access(out, X_OK) < 0)
		(void)snprintf(out, n, "%s", name);
}

static int spawn(const char *dir, const char *program, pid_t *ret, struct err *err)
{
	char path[4200];
	char *argv[] = {path, NULL};
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t none;
	int r = program != NULL ? path_of_program(program, path, sizeof(path), err) : 0;

	if (r < 0)
		return r;
	if (program == NULL)
		run_find_program("contentfs-shim", path, sizeof(path));
	(void)sigemptyset(&none);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setflags(&attr, (short)(POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK));
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawn_file_actions_init(&actions);
	r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_addchdir_np(&actions, dir);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "shim.log",
						     O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
	if (r == 0)
		r = posix_spawnp(ret, path, &actions, &attr, argv, environ);
	(void)posix_spawn_file_actions_destroy(&actions);
	(void)posix_spawnattr_destroy(&attr);
	return r != 0 ? err_errno(err, r, "start the shim %s", path) : 0;
}

/* The last line of dir/shim.log, or NULL. */
static const char *last_words(const char *dir, struct buf *b)
{
	char path[4200];
	char *line;

	(void)snprintf(path, sizeof(path), "%s/shim.log", dir);
	if (fd_read_file(AT_FDCWD, path, b) < 0 || b->len == 0)
		return NULL;
	if (b->data[b->len - 1] == '\n')
		b->data[b->len - 1] = '\0';
	line = strrchr(b->data, '\n');
	return line != NULL ? line + 1 : b->data;
}

static int shim_has_ended(const char *dir, struct err *err)
{
	cleanup_buf struct buf b;
	const char *words;

	buf_init(&b, MAX_LOG_BYTES);
	words = last_words(dir, &b);
	return err_set(err, ECHILD, "the shim ended at once%s%s", words != NULL ? ": " : "",
		       words != NULL ? words : "");
}

int run_shim_start(const char *dir, const char *program, pid_t *ret_pid, struct rpc_client **ret,
		   struct err *err)
{
	uint64_t until_ms = clock_mono_ms() + START_MS;
	char path[4200];
	pid_t pid = -1;
	int r = spawn(dir, program, &pid, err);

	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), "%s/shim.sock", dir);
	for (;;) {
		r = rpc_client_connect(path, ret, err);
		if (r == 0) {
			*ret_pid = pid;
			return 0;
		}
		if (waitpid(pid, NULL, WNOHANG) == pid)
			return shim_has_ended(dir, err);
		if ((r != -ENOENT && r != -ECONNREFUSED) || clock_mono_ms() > until_ms)
			break;
		(void)poll(NULL, 0, START_POLL_MS);
	}
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
	return r;
}

void run_shim_wait(pid_t pid)
{
	cleanup_fd int pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct pollfd p = {.fd = pid_fd, .events = POLLIN};
	int r;

	do
		r = pid_fd >= 0 ? poll(&p, 1, EXIT_MS) : 1;
	while (r < 0 && errno == EINTR); /* stopped meanwhile, and continued */
	if (r == 0)
		(void)kill(pid, SIGKILL);
	(void)waitpid(pid, NULL, 0);
}
