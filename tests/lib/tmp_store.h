/*
 * A store in a directory of its own for one test:
 *
 *   TMP_STORE(t); CHECK(t.store != NULL);      gone at the end of the scope
 */
#ifndef TESTS_LIB_TMP_STORE_H
#define TESTS_LIB_TMP_STORE_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "store/layout.h"

struct tmp_store {
	char dir[256];
	struct store *store;
};

static inline void tmp_store_open(struct tmp_store *t)
{
	const char *tmp = getenv("TMPDIR"); /* NOLINT(concurrency-mt-unsafe): before threads */
	char root[sizeof(t->dir) + 8];

	(void)snprintf(t->dir, sizeof(t->dir), "%.200s/store-test.XXXXXX",
		       tmp != NULL ? tmp : "/tmp");
	t->store = NULL;
	if (mkdtemp(t->dir) == NULL) {
		t->dir[0] = '\0';
		return;
	}
	(void)snprintf(root, sizeof(root), "%s/root", t->dir);
	(void)store_open(root, STORE_CREATE, &t->store, NULL);
}

static inline void tmp_store_close(struct tmp_store *t)
{
	store_close(t->store);
	if (t->dir[0] != '\0')
		(void)fd_remove_tree(AT_FDCWD, t->dir);
}

#define TMP_STORE(t)                                                      \
	__attribute__((__cleanup__(tmp_store_close))) struct tmp_store t; \
	tmp_store_open(&(t))

/* Whether path exists below the root. */
static inline int tmp_store_has(struct tmp_store *t, const char *path)
{
	struct stat st;

	return fstatat(store_root_fd(t->store), path, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Put text into a file below the root; 0 or -1. */
static inline int tmp_store_put(struct tmp_store *t, const char *path, const char *text)
{
	int fd = openat(store_root_fd(t->store), path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
			0644);
	int r;

	if (fd < 0)
		return -1;
	r = fd_write_full(fd, text, strlen(text));
	(void)close(fd);
	return r < 0 ? -1 : 0;
}

#endif
