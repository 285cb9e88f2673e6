#include "oci/passwd.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/size.h"

#define FIELDS_MAX 7
#define ID_MAX 0xfffffffeU /* (uid_t)-1 means "leave it" to the kernel */

struct text {
	const char *p;
	size_t n;
};

static bool equal(struct text t, const char *s)
{
	return t.n == strlen(s) && memcmp(t.p, s, t.n) == 0;
}

/* Cut at the first c; t becomes what is behind it, its p NULL at the end. */
static struct text cut(struct text *t, char c)
{
	const char *at = memchr(t->p, c, t->n);
	struct text part = {t->p, at != NULL ? (size_t)(at - t->p) : t->n};

	t->n = at != NULL ? t->n - part.n - 1 : 0;
	t->p = at != NULL ? at + 1 : NULL;
	return part;
}

static bool parse_id(struct text t, uint32_t *ret)
{
	char digits[16];
	uint64_t v;

	if (t.n == 0 || t.n >= sizeof(digits))
		return false;
	memcpy(digits, t.p, t.n);
	digits[t.n] = '\0';
	if (size_parse_plain(digits, &v) < 0 || v > ID_MAX)
		return false;
	*ret = (uint32_t)v;
	return true;
}

/* The next line of at least n_fields, split; false at the end. */
static bool next_line(struct text *file, size_t n_fields, struct text fields[FIELDS_MAX])
{
	while (file->p != NULL && file->n > 0) {
		struct text line = cut(file, '\n');
		size_t n = 0;

		while (line.p != NULL && n < n_fields)
			fields[n++] = cut(&line, ':');
		if (n == n_fields)
			return true;
	}
	return false;
}

/* name:password:uid:gid:gecos:home:shell */
static bool find_user(const char *user, struct text file, struct process_user *u, struct text *name)
{
	struct text f[FIELDS_MAX], all = file;
	uint32_t id;

	/* a name that looks like a number is a name first */
	while (next_line(&all, 6, f))
		if (f[0].n > 0 && equal(f[0], user) && parse_id(f[2], &u->uid) &&
		    parse_id(f[3], &u->gid))
			goto found;
	if (!parse_id((struct text){user, strlen(user)}, &id))
		return false;
	while (next_line(&file, 6, f))
		if (parse_id(f[2], &u->uid) && u->uid == id && parse_id(f[3], &u->gid))
			goto found;
	return false;
found:
	*name = f[0];
	if (f[5].n < sizeof(u->home)) {
		memcpy(u->home, f[5].p, f[5].n);
		u->home[f[5].n] = '\0';
	}
	return true;
}

/* name:password:gid:members */
static bool find_group(const char *group, struct text file, uint32_t *ret)
{
	struct text f[FIELDS_MAX];

	while (next_line(&file, 3, f))
		if (f[0].n > 0 && equal(f[0], group) && parse_id(f[2], ret))
			return true;
	return false;
}

static bool is_member(struct text members, struct text name)
{
	while (members.p != NULL) {
		struct text m = cut(&members, ',');

		if (m.n == name.n && memcmp(m.p, name.p, m.n) == 0)
			return true;
	}
	return false;
}

static void add_groups(struct text name, struct text file, struct process_user *u)
{
	struct text f[FIELDS_MAX];
	uint32_t gid;

	while (name.n > 0 && u->n_groups < PASSWD_GROUPS_MAX && next_line(&file, 4, f)) {
		bool known = !parse_id(f[2], &gid) || gid == u->gid || !is_member(f[3], name);

		for (size_t i = 0; i < u->n_groups && !known; i++)
			known = u->groups[i] == gid;
		if (!known)
			u->groups[u->n_groups++] = gid;
	}
}

static int resolve_group(const char *group, struct text file, struct process_user *u,
			 struct err *err)
{
	struct text number = {group, strlen(group)};

	if (find_group(group, file, &u->gid) || parse_id(number, &u->gid))
		return 0;
	if (strspn(group, "0123456789") == number.n)
		return err_set(err, EINVAL, "group \"%.100s\" is out of range", group);
	return err_set(err, ENOENT, "no group \"%.100s\" in the image", group);
}

static int resolve_user(const char *user, struct text file, struct process_user *u,
			struct text *name, struct err *err)
{
	struct text number = {user, strlen(user)};

	if (find_user(user, file, u, name))
		return 0;
	u->gid = 0;
	if (parse_id(number, &u->uid))
		return 0;
	if (strspn(user, "0123456789") == number.n)
		return err_set(err, EINVAL, "user \"%.100s\" is out of range", user);
	return err_set(err, ENOENT, "no user \"%.100s\" in the image", user);
}

int passwd_resolve(const char *user, const char *passwd, size_t passwd_len, const char *group,
		   size_t group_len, struct process_user *ret, struct err *err)
{
	struct text users = {passwd, passwd_len}, groups = {group, group_len}, name = {"", 0};
	const char *colon = strchr(user, ':');
	struct process_user u = {0};
	char first[256];
	int r;

	if (colon != NULL && (colon == user || colon[1] == '\0'))
		return err_set(err, EINVAL, "invalid user \"%.100s\"", user);
	if ((size_t)snprintf(first, sizeof(first), "%.*s",
			     (int)(colon != NULL ? colon - user : 4096), user) >= sizeof(first))
		return err_set(err, EINVAL, "user \"%.100s...\" is too long", user);
	r = resolve_user(first[0] != '\0' ? first : "0", users, &u, &name, err);
	if (r == 0 && colon != NULL)
		r = resolve_group(colon + 1, groups, &u, err);
	else if (r == 0)
		add_groups(name, groups, &u);
	if (r == 0)
		*ret = u;
	return r;
}
