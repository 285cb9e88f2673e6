#include "shimctl/paths.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int path_absolute(const char *path, char *out, size_t n, struct err *err)
{
	char cwd[2048];

	if (path == NULL || path[0] == '\0') {
		out[0] = '\0';
		return 0;
	}
	if (path[0] != '/' && getcwd(cwd, sizeof(cwd)) == NULL)
		return err_errno(err, errno, "find the working directory");
	if ((size_t)snprintf(out, n, "%s%s%s", path[0] == '/' ? "" : cwd, path[0] == '/' ? "" : "/",
			     path) >= n)
		return err_set(err, ENAMETOOLONG, "%s: the path is too long", path);
	return 0;
}

int path_of_program(const char *path, char *out, size_t n, struct err *err)
{
	if (strchr(path, '/') != NULL)
		return path_absolute(path, out, n, err);
	if ((size_t)snprintf(out, n, "%s", path) >= n)
		return err_set(err, ENAMETOOLONG, "%s: the path is too long", path);
	return 0;
}
