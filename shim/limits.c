#include "shim/limits.h"

#include <stdbool.h>
#include <sys/resource.h>

static struct rlimit before; /* of the process, as the limit itself is */
static bool known;

void limits_raise(void)
{
	struct rlimit most;

	if (!known)
		known = getrlimit(RLIMIT_NOFILE, &before) == 0;
	most = before;
	most.rlim_cur = most.rlim_max;
	if (known)
		(void)setrlimit(RLIMIT_NOFILE, &most);
}

void limits_lower(void)
{
	if (known)
		(void)setrlimit(RLIMIT_NOFILE, &before);
}
