#include "mount/readahead.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/fd.h"
#include "base/log.h"

/* Half of what one request may be: a quarter more speed than 128, and little less than 1024. */
#define READAHEAD_KB "512"

dev_t readahead_device(const char *path)
{
	struct statx st;

	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &st) < 0)
		return 0;
	return makedev(st.stx_dev_major, st.stx_dev_minor);
}

void readahead_raise(dev_t device)
{
	char path[80];
	cleanup_buf struct buf now;
	cleanup_fd int fd = -1;
	int r = 0;

	buf_init(&now, 64);
	if (device == 0)
		return;
	(void)snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major(device),
		       minor(device));
	if (fd_read_file(AT_FDCWD, path, &now) < 0 ||
	    strtoul(now.data, NULL, 10) >= strtoul(READAHEAD_KB, NULL, 10))
		return;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	r = fd < 0 ? -errno : fd_write_full(fd, READAHEAD_KB, sizeof(READAHEAD_KB) - 1);
	if (r < 0)
		log_debug("mount", "%s: %s", path, err_describe(-r));
}
