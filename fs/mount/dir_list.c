#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "mount/private.h"

/* Offsets are entry numbers: the list does not change between opendir and releasedir. */
struct row {
	uint64_t ino;
	mode_t type;
	char *name;
};

struct dir_list {
	struct row *rows;
	size_t n, cap;
};

struct dir_list *dir_list_new(void)
{
	struct dir_list *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	if (dir_list_add(l, ".", 0, S_IFDIR) < 0 || dir_list_add(l, "..", 0, S_IFDIR) < 0)
		return dir_list_free(l);
	return l;
}

struct dir_list *dir_list_free(struct dir_list *l)
{
	if (l == NULL)
		return NULL;
	for (size_t i = 0; i < l->n; i++)
		free(l->rows[i].name);
	free(l->rows);
	free(l);
	return NULL;
}

int dir_list_add(struct dir_list *l, const char *name, uint64_t ino, mode_t type)
{
	cleanup_free char *copy = strdup(name);

	if (copy == NULL)
		return -ENOMEM;
	if (l->n == l->cap) {
		size_t cap = l->cap > 0 ? l->cap * 2 : 16;
		struct row *rows = realloc(l->rows, cap * sizeof(*rows));

		if (rows == NULL)
			return -ENOMEM;
		l->rows = rows;
		l->cap = cap;
	}
	/* 0 would hide the entry from readdir(3) */
	l->rows[l->n++] = (struct row){.ino = ino != 0 ? ino : 1, .type = type, .name = copy};
	copy = NULL;
	return 0;
}

static size_t add_row(fuse_req_t req, char *buf, size_t room, const struct row *row, bool plus,
		      off_t next)
{
	/* ino 0: the entry is told, the kernel counts no lookup */
	struct fuse_entry_param e = {.attr = {.st_ino = row->ino, .st_mode = row->type}};

	return plus ? fuse_add_direntry_plus(req, buf, room, row->name, &e, next)
		    : fuse_add_direntry(req, buf, room, row->name, &e.attr, next);
}

void dir_list_reply(struct dir_list *l, fuse_req_t req, size_t size, off_t off, bool plus)
{
	cleanup_free char *buf = malloc(size > 0 ? size : 1);
	size_t used = 0;

	if (buf == NULL) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	for (size_t i = off < 0 ? l->n : (size_t)off; i < l->n; i++) {
		size_t n = add_row(req, buf + used, size - used, &l->rows[i], plus, (off_t)(i + 1));

		if (n > size - used)
			break;
		used += n;
	}
	fuse_reply_buf(req, buf, used);
}
