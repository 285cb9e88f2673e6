#include "unpack/names.h"

#include <errno.h>
#include <string.h>

#define WH ".wh."
#define WH_META ".wh..wh."
#define WH_OPAQUE ".wh..wh..opq"

static void drop_last(char *path, size_t *len)
{
	while (*len > 0 && path[--*len] != '/')
		;
}

int clean_name(const char *name, struct clean_name *ret, struct err *err)
{
	size_t len = 0;
	char *slash;

	ret->had_dotdot = false;
	while (*name != '\0') {
		size_t n = strcspn(name, "/");

		if (n == 2 && name[0] == '.' && name[1] == '.') {
			ret->had_dotdot = true;
			drop_last(ret->path, &len);
		} else if (n > 0 && !(n == 1 && name[0] == '.')) {
			if (len + 1 + n >= sizeof(ret->path))
				return err_set(err, ENAMETOOLONG, "the name is too long");
			if (len > 0)
				ret->path[len++] = '/';
			memcpy(ret->path + len, name, n);
			len += n;
		}
		name += n;
		name += *name == '/';
	}
	ret->path[len] = '\0';
	slash = memrchr(ret->path, '/', len);
	ret->base = slash != NULL ? slash + 1 : ret->path;
	ret->parent_len = slash != NULL ? (size_t)(slash - ret->path) : 0;
	return 0;
}

enum whiteout whiteout_of(const struct clean_name *name, const char **ret_hidden)
{
	const char *base = name->base;

	if (name->parent_len > 0 && strncmp(name->path, WH_META, sizeof(WH_META) - 1) == 0)
		return WHITEOUT_META;
	if (strncmp(base, WH, sizeof(WH) - 1) != 0)
		return WHITEOUT_NONE;
	if (strcmp(base, WH_OPAQUE) == 0)
		return WHITEOUT_OPAQUE;
	if (strncmp(base, WH_META, sizeof(WH_META) - 1) == 0)
		return WHITEOUT_META;
	base += sizeof(WH) - 1;
	if (base[0] == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
		return WHITEOUT_BAD;
	*ret_hidden = base;
	return WHITEOUT_NAME;
}
