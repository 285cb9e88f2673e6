#include "shim/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/dir.h"
#include "base/fd.h"

enum {
	MAX_TABLE = 1 << 20, /* mountinfo of a machine with many containers */
	MAX_FILE = 64 << 10,
	MAX_DEPTH = 16,
	MAX_PIDS = 1 << 20,
};

/* ---- where ---- */

/* Whether list, "a,b,c" and n bytes long, names what. */
static bool names(const char *list, size_t n, const char *what)
{
	size_t len = strlen(what);

	for (const char *p = list, *end = list + n; p < end;) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		size_t part = (size_t)((comma != NULL ? comma : end) - p);

		if (part == len && memcmp(p, what, len) == 0)
			return true;
		p += part + 1;
	}
	return false;
}

/*
 * A line of /proc/<pid>/cgroup, "ID:CONTROLLERS:PATH": v1's that has the controller, or v2's
 * ("0::PATH"), into out[n]. "" when it has none of its own.
 */
static int read_path(pid_t pid, const char *controller, char *out, size_t n)
{
	cleanup_buf struct buf b;
	char name[40];
	char *save = NULL;
	int r;

	buf_init(&b, MAX_FILE);
	(void)snprintf(name, sizeof(name), "/proc/%d/cgroup", pid);
	r = fd_read_file(AT_FDCWD, name, &b);
	if (r < 0)
		return r;
	out[0] = '\0';
	for (char *line = strtok_r(b.data, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		char *list = strchr(line, ':'), *path = list != NULL ? strchr(list + 1, ':') : NULL;

		if (path == NULL)
			continue;
		list++;
		if (controller == NULL ? path != list || line[0] != '0'
				       : !names(list, (size_t)(path - list), controller))
			continue;
		if ((size_t)snprintf(out, n, "%s", path + 1) >= n)
			return -ENAMETOOLONG;
		return 0;
	}
	return -ENOENT;
}

/* Field number n (from 1) of a line whose fields are separated by single spaces. */
static char *field(char *line, int n)
{
	for (; n > 1 && line != NULL; n--) {
		line = strchr(line, ' ');
		line = line != NULL ? line + 1 : NULL;
	}
	return line;
}

static size_t field_len(const char *p)
{
	return strcspn(p, " \n");
}

/*
 * Whether this line of mountinfo (proc(5)) is the hierarchy that is sought; where it is mounted,
 * and which of its directories.
 */
static bool is_mount(char *line, const char *controller, char **ret_root, char **ret_at)
{
	char *dash = strstr(line, " - "), *options;
	const char *type;

	if (dash == NULL)
		return false;
	type = dash + 3;
	options = field(dash + 3, 3);
	*ret_root = field(line, 4);
	*ret_at = field(line, 5);
	if (options == NULL || *ret_root == NULL || *ret_at == NULL)
		return false;
	if (controller == NULL) {
		if (strncmp(type, "cgroup2 ", 8) != 0)
			return false;
	} else if (strncmp(type, "cgroup ", 7) != 0 ||
		   !names(options, field_len(options), controller)) {
		return false;
	}
	(*ret_root)[field_len(*ret_root)] = '\0'; /* the later one first would be as good */
	(*ret_at)[field_len(*ret_at)] = '\0';
	return true;
}

static int open_path(const char *at, const char *root, const char *path)
{
	char full[PATH_MAX];
	size_t root_len = strcmp(root, "/") == 0 ? 0 : strlen(root);
	int fd;

	if (strncmp(path, root, root_len) != 0 || (path[root_len] != '/' && path[root_len] != '\0'))
		return -ENOENT; /* not under what is mounted there */
	if ((size_t)snprintf(full, sizeof(full), "%s%s", at, path + root_len) >= sizeof(full))
		return -ENAMETOOLONG;
	fd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int open_mounted(const char *controller, const char *path)
{
	cleanup_buf struct buf b;
	char *line, *next;
	int r;

	buf_init(&b, MAX_TABLE);
	r = fd_read_file(AT_FDCWD, "/proc/self/mountinfo", &b);
	if (r < 0)
		return r;
	r = -ENOENT;
	for (line = b.data; *line != '\0' && r < 0; line = next) {
		char *root, *at;

		next = line + strcspn(line, "\n");
		if (*next != '\0')
			*next++ = '\0';
		if (is_mount(line, controller, &root, &at))
			r = open_path(at, root, path);
	}
	return r;
}

static int open_one(pid_t pid, const char *controller)
{
	char path[PATH_MAX];
	int r = read_path(pid, controller, path, sizeof(path));

	if (r < 0)
		return r;
	if (strcmp(path, "/") == 0)
		return -ENOENT;
	return open_mounted(controller, path);
}

int cgroup_open(pid_t pid, const char *controller, bool *ret_v2)
{
	int r = open_one(pid, controller);

	*ret_v2 = false;
	if (r != -ENOENT)
		return r;
	*ret_v2 = true;
	return open_one(pid, NULL);
}

/* ---- what its files say ---- */

static int read_file(int dir_fd, const char *file, struct buf *b)
{
	int r = -ENOENT;

	buf_init(b, MAX_FILE);
	if (dir_fd >= 0)
		r = fd_read_file(dir_fd, file, b);
	return r;
}

/* A file with one number, "max" being UINT64_MAX. */
static bool read_number(int dir_fd, const char *file, uint64_t *ret)
{
	cleanup_buf struct buf b;
	char *end;
	unsigned long long v;

	if (read_file(dir_fd, file, &b) < 0)
		return false;
	if (strncmp(b.data, "max", 3) == 0) {
		*ret = UINT64_MAX;
		return true;
	}
	errno = 0;
	v = strtoull(b.data, &end, 10);
	if (end == b.data || errno != 0)
		return false;
	*ret = v;
	return true;
}

static uint64_t number(int dir_fd, const char *file)
{
	uint64_t v = 0;

	(void)read_number(dir_fd, file, &v);
	return v;
}

uint64_t cgroup_keyed(int dir_fd, const char *file, const char *key)
{
	cleanup_buf struct buf b;
	size_t len = strlen(key);
	const char *line;

	if (read_file(dir_fd, file, &b) < 0)
		return 0;
	for (line = b.data; *line != '\0';
	     line += strcspn(line, "\n") + (strchr(line, '\n') != NULL))
		if (strncmp(line, key, len) == 0 && line[len] == ' ')
			return strtoull(line + len + 1, NULL, 10);
	return 0;
}

/* v1's "no limit" is the largest page-aligned number that fits, so: more than any machine has. */
static uint64_t limit(uint64_t v)
{
	return v >= 1ULL << 60 ? 0 : v;
}

static void read_cpu(pid_t pid, struct cgroup_stats *s)
{
	cleanup_fd int account_fd = -1, cpu_fd = -1;
	bool v2, v2_cpu;
	uint64_t tick_usec = 1000000U / (uint64_t)sysconf(_SC_CLK_TCK);

	account_fd = cgroup_open(pid, "cpuacct", &v2);
	if (account_fd < 0)
		return;
	if (v2) {
		if (faccessat(account_fd, "cpu.stat", R_OK, 0) < 0)
			return;
		s->cpu.usage_usec = cgroup_keyed(account_fd, "cpu.stat", "usage_usec");
		s->cpu.user_usec = cgroup_keyed(account_fd, "cpu.stat", "user_usec");
		s->cpu.system_usec = cgroup_keyed(account_fd, "cpu.stat", "system_usec");
	} else {
		s->cpu.usage_usec = number(account_fd, "cpuacct.usage") / 1000;
		s->cpu.user_usec = cgroup_keyed(account_fd, "cpuacct.stat", "user") * tick_usec;
		s->cpu.system_usec = cgroup_keyed(account_fd, "cpuacct.stat", "system") * tick_usec;
	}
	s->m.cpu = &s->cpu;
	cpu_fd = cgroup_open(pid, "cpu", &v2_cpu);
	s->cpu.periods = cgroup_keyed(cpu_fd, "cpu.stat", "nr_periods");
	s->cpu.throttled_periods = cgroup_keyed(cpu_fd, "cpu.stat", "nr_throttled");
	s->cpu.throttled_usec = v2_cpu ? cgroup_keyed(cpu_fd, "cpu.stat", "throttled_usec")
				       : cgroup_keyed(cpu_fd, "cpu.stat", "throttled_time") / 1000;
}

static void read_memory_v1(int fd, SHIM(MemoryStats) * m)
{
	uint64_t with_swap = number(fd, "memory.memsw.usage_in_bytes");

	m->usage_bytes = number(fd, "memory.usage_in_bytes");
	m->max_usage_bytes = number(fd, "memory.max_usage_in_bytes");
	m->limit_bytes = limit(number(fd, "memory.limit_in_bytes"));
	m->swap_bytes = with_swap > m->usage_bytes ? with_swap - m->usage_bytes : 0;
	m->oom_kills = cgroup_keyed(fd, "memory.oom_control", "oom_kill");
	m->anon_bytes = cgroup_keyed(fd, "memory.stat", "total_rss");
	m->file_bytes = cgroup_keyed(fd, "memory.stat", "total_cache");
	m->working_set_bytes = cgroup_keyed(fd, "memory.stat", "total_inactive_file");
}

static void read_memory_v2(int fd, SHIM(MemoryStats) * m)
{
	m->usage_bytes = number(fd, "memory.current");
	m->max_usage_bytes = number(fd, "memory.peak");
	m->limit_bytes = limit(number(fd, "memory.max"));
	m->swap_bytes = number(fd, "memory.swap.current");
	m->oom_kills = cgroup_keyed(fd, "memory.events", "oom_kill");
	m->anon_bytes = cgroup_keyed(fd, "memory.stat", "anon");
	m->file_bytes = cgroup_keyed(fd, "memory.stat", "file");
	m->working_set_bytes = cgroup_keyed(fd, "memory.stat", "inactive_file");
}

static void read_memory(pid_t pid, struct cgroup_stats *s)
{
	cleanup_fd int fd = -1;
	SHIM(MemoryStats) *m = &s->memory;
	bool v2;

	fd = cgroup_open(pid, "memory", &v2);
	if (fd < 0 || faccessat(fd, v2 ? "memory.current" : "memory.usage_in_bytes", R_OK, 0) < 0)
		return;
	if (v2)
		read_memory_v2(fd, m);
	else
		read_memory_v1(fd, m);
	m->working_set_bytes =
		m->usage_bytes > m->working_set_bytes ? m->usage_bytes - m->working_set_bytes : 0;
	s->m.memory = m;
}

static void read_pids(pid_t pid, struct cgroup_stats *s)
{
	cleanup_fd int fd = -1;
	bool v2;

	fd = cgroup_open(pid, "pids", &v2);
	if (fd < 0 || !read_number(fd, "pids.current", &s->pids.current))
		return;
	s->pids.limit = limit(number(fd, "pids.max"));
	s->m.pids = &s->pids;
}

/* "MAJ:MIN Read 5" lines, one for each device and direction, and "Total 9". */
static bool read_blkio(int fd, const char *file, uint64_t *reads, uint64_t *writes)
{
	cleanup_buf struct buf b;
	char *save = NULL;

	if (read_file(fd, file, &b) < 0)
		return false;
	for (char *line = strtok_r(b.data, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		const char *what = strchr(line, ' ');

		if (what != NULL && strncmp(what, " Read ", 6) == 0)
			*reads += strtoull(what + 6, NULL, 10);
		else if (what != NULL && strncmp(what, " Write ", 7) == 0)
			*writes += strtoull(what + 7, NULL, 10);
	}
	return true;
}

static uint64_t io_value(const char *line, const char *key)
{
	const char *at = strstr(line, key);

	return at != NULL ? strtoull(at + strlen(key), NULL, 10) : 0;
}

/* "MAJ:MIN rbytes=1 wbytes=2 rios=3 wios=4 ..." lines. */
static bool read_io_stat(int fd, SHIM(IoStats) * io)
{
	cleanup_buf struct buf b;
	char *save = NULL;

	if (read_file(fd, "io.stat", &b) < 0)
		return false;
	for (char *line = strtok_r(b.data, "\n", &save); line != NULL;
	     line = strtok_r(NULL, "\n", &save)) {
		io->read_bytes += io_value(line, " rbytes=");
		io->write_bytes += io_value(line, " wbytes=");
		io->read_ops += io_value(line, " rios=");
		io->write_ops += io_value(line, " wios=");
	}
	return true;
}

static void read_io(pid_t pid, struct cgroup_stats *s)
{
	cleanup_fd int fd = -1;
	SHIM(IoStats) *io = &s->io;
	bool v2, there;

	fd = cgroup_open(pid, "blkio", &v2);
	if (v2)
		there = read_io_stat(fd, io);
	else
		there = read_blkio(fd, "blkio.throttle.io_service_bytes_recursive", &io->read_bytes,
				   &io->write_bytes) &&
			read_blkio(fd, "blkio.throttle.io_serviced_recursive", &io->read_ops,
				   &io->write_ops);
	if (there)
		s->m.io = io;
}

void cgroup_read_stats(pid_t pid, struct cgroup_stats *s)
{
	containerd__shim__v1__stats_response__init(&s->m);
	containerd__shim__v1__cpu_stats__init(&s->cpu);
	containerd__shim__v1__memory_stats__init(&s->memory);
	containerd__shim__v1__pids_stats__init(&s->pids);
	containerd__shim__v1__io_stats__init(&s->io);
	read_cpu(pid, s);
	read_memory(pid, s);
	read_pids(pid, s);
	read_io(pid, s);
}

/* ---- processes ---- */

struct pid_list {
	pid_t *pids;
	size_t n, cap;
};

static int add_pid(struct pid_list *l, pid_t pid)
{
	if (l->n == l->cap) {
		size_t cap = l->cap > 0 ? l->cap * 2 : 32;
		void *p = l->cap < MAX_PIDS ? reallocarray(l->pids, cap, sizeof(pid)) : NULL;

		if (p == NULL)
			return -ENOMEM;
		l->pids = p;
		l->cap = cap;
	}
	l->pids[l->n++] = pid;
	return 0;
}

static int add_procs(int dir_fd, struct pid_list *l)
{
	cleanup_fd int fd = openat(dir_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	cleanup_file FILE *f = NULL;
	long pid;
	int r = 0;

	if (fd < 0)
		return -errno;
	f = fdopen(fd, "r");
	if (f == NULL)
		return -errno;
	(void)steal_fd(fd);
	while (r == 0 && fscanf(f, "%ld", &pid) == 1)	  /* NOLINT(cert-err34-c) */
		r = pid > 0 ? add_pid(l, (pid_t)pid) : 0; /* 0: of a namespace that we are not in */
	return r;
}

static int add_tree(int dir_fd, struct pid_list *l, int depth)
{
	cleanup_dir DIR *dir = dir_open(dir_fd, ".");
	struct dirent *e;
	int r;

	if (dir == NULL)
		return -errno;
	r = add_procs(dirfd(dir), l);
	while (r == 0 && depth > 0 && (e = dir_next(dir)) != NULL) {
		cleanup_fd int fd = -1;

		if (e->d_type != DT_DIR)
			continue;
		fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0)
			(void)add_tree(fd, l, depth - 1); /* removed meanwhile, or threaded */
	}
	return r;
}

static int compare_pids(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

ssize_t cgroup_list_pids(pid_t pid, pid_t **ret)
{
	static const char *const controllers[] = {"pids", "memory", "devices", "cpu", "freezer"};
	cleanup_fd int fd = -ENOENT;
	struct pid_list l = {NULL, 0, 0};
	bool v2;
	int r;

	for (size_t i = 0; i < sizeof(controllers) / sizeof(controllers[0]) && fd < 0; i++)
		fd = cgroup_open(pid, controllers[i], &v2);
	if (fd < 0)
		return fd;
	r = add_tree(fd, &l, MAX_DEPTH);
	if (r < 0) {
		free(l.pids);
		return r;
	}
	if (l.n > 0)
		qsort(l.pids, l.n, sizeof(l.pids[0]), compare_pids);
	*ret = l.pids;
	return (ssize_t)l.n;
}
