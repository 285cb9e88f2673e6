#include "mount/holders.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fd.h"

#define PF_SIGNALED 0x400UL /* include/linux/sched.h: "Killed by a signal" */
#define CHILDREN_MAX 64	    /* processes visited below one, so that a FLUSH stays short */

void holders_init(struct holders *h)
{
	h->n = 0;
}

void holders_note(struct holders *h, pid_t pid)
{
	if (pid <= 0)
		return;
	/* The usual case is one process writing: it is the last one noted. */
	for (size_t i = h->n; i > 0; i--)
		if (h->pids[i - 1] == pid)
			return;
	if (h->n == sizeof(h->pids) / sizeof(h->pids[0])) {
		memmove(h->pids, h->pids + 1, sizeof(h->pids) - sizeof(h->pids[0]));
		h->n--;
	}
	h->pids[h->n++] = pid;
}

/* Open descriptors are named by decimal numbers; everything else is no entry of interest. */
static bool is_number(const char *s)
{
	return s[0] >= '0' && s[0] <= '9';
}

static bool has_inode(pid_t pid, uint64_t ino)
{
	cleanup_dir DIR *dir = NULL;
	const struct dirent *e;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%ld/fd", (long)pid);
	dir = opendir(path);
	if (dir == NULL)
		return false;
	while ((e = readdir(dir)) != NULL) { /* NOLINT(concurrency-mt-unsafe): our own DIR */
		struct statx stx;

		/* DONT_SYNC: the file is ours, to ask it for attributes would ask ourselves. */
		if (is_number(e->d_name) &&
		    statx(dirfd(dir), e->d_name, AT_STATX_DONT_SYNC, STATX_INO, &stx) == 0 &&
		    stx.stx_ino == ino)
			return true;
	}
	return false;
}

/*
 * Fields of /proc/<pid>/stat, proc(5): pid (comm) state ppid pgrp session tty_nr tpgid flags;
 * comm may hold ")".
 */
static bool read_stat(pid_t pid, pid_t *ret_ppid, unsigned long *ret_flags)
{
	cleanup_buf struct buf b;
	const char *p;
	char path[64];
	int ppid;

	buf_init(&b, 4096);
	(void)snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
	if (pid <= 0 || fd_read_file(AT_FDCWD, path, &b) < 0)
		return false;
	p = strrchr(b.data, ')');
	/* NOLINTNEXTLINE(cert-err34-c): the kernel's own numbers */
	if (p == NULL || sscanf(p + 1, " %*c %d %*d %*d %*d %*d %lu", &ppid, ret_flags) != 2)
		return false;
	*ret_ppid = ppid;
	return true;
}

/* A search among the descendants of the processes that were seen. */
struct search {
	struct holders *holders;
	uint64_t ino;
	int budget; /* processes that may still be visited */
	bool found;
};

static void visit(struct search *s, pid_t pid)
{
	s->budget--;
	if (has_inode(pid, s->ino)) {
		holders_note(s->holders, pid);
		s->found = true;
	}
}

/*
 * The children of every thread of pid (a process forks from any of them), and theirs.
 * Returns false where the kernel does not tell children (CONFIG_PROC_CHILDREN).
 */
static bool visit_children(struct search *s, pid_t pid)
{
	cleanup_dir DIR *dir = NULL;
	const struct dirent *e;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%ld/task", (long)pid);
	dir = opendir(path);
	if (dir == NULL)
		return true;		     /* gone: no children to find by this way */
	while ((e = readdir(dir)) != NULL) { /* NOLINT(concurrency-mt-unsafe): our own DIR */
		cleanup_buf struct buf b;
		char *p, *end;
		int r;

		buf_init(&b, 65536);
		if (!is_number(e->d_name))
			continue;
		(void)snprintf(path, sizeof(path), "%.20s/children", e->d_name);
		r = fd_read_file(dirfd(dir), path, &b);
		if (r == -ENOENT && faccessat(dirfd(dir), e->d_name, F_OK, 0) == 0)
			return false;
		for (p = b.data; s->budget > 0; p = end) {
			long child = strtol(p, &end, 10);

			if (end == p)
				break;
			visit(s, (pid_t)child);
			(void)visit_children(s, (pid_t)child);
		}
	}
	return true;
}

static bool is_among(const pid_t *pids, size_t n, pid_t pid)
{
	for (size_t i = 0; i < n; i++)
		if (pids[i] == pid)
			return true;
	return false;
}

/*
 * The slower way: every process of the system, in order of pid, so that parents mostly come
 * before their children; those below one of roots[] are visited.
 */
static void visit_all(struct search *s, const pid_t *roots, size_t n_roots)
{
	cleanup_dir DIR *dir = opendir("/proc");
	pid_t family[CHILDREN_MAX + 32];
	size_t n = n_roots;
	const struct dirent *e;

	if (dir == NULL)
		return;
	memcpy(family, roots, n_roots * sizeof(roots[0]));
	while ((e = readdir(dir)) != NULL) { /* NOLINT(concurrency-mt-unsafe): our own DIR */
		unsigned long flags;
		pid_t pid, ppid;

		if (!is_number(e->d_name) || s->budget <= 0)
			continue;
		pid = (pid_t)strtol(e->d_name, NULL, 10);
		if (!read_stat(pid, &ppid, &flags) || !is_among(family, n, ppid))
			continue;
		family[n++] = pid; /* budget bounds n */
		visit(s, pid);
	}
}

bool holders_any(struct holders *h, pid_t flusher, uint64_t ino)
{
	struct search s = {.holders = h, .ino = ino, .budget = CHILDREN_MAX};
	pid_t known[sizeof(h->pids) / sizeof(h->pids[0])];
	bool told = true;
	size_t n;

	holders_note(h, flusher);
	n = h->n;
	memcpy(known, h->pids, n * sizeof(known[0]));
	h->n = 0;
	for (size_t i = 0; i < n; i++) {
		if (has_inode(known[i], ino)) {
			holders_note(h, known[i]);
			s.found = true;
		}
	}
	/* One holder is answer enough; the search is for those that nobody has seen yet. */
	if (s.found && !(h->n == 1 && h->pids[0] == flusher))
		return true;
	for (size_t i = 0; i < n && told; i++)
		told = visit_children(&s, known[i]);
	if (!told)
		visit_all(&s, known, n);
	return s.found;
}

bool holders_killed(pid_t pid)
{
	unsigned long flags;
	pid_t ppid;

	return read_stat(pid, &ppid, &flags) && (flags & PF_SIGNALED) != 0;
}
