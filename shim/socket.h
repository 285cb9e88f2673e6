/*
 * The shim's directory and its socket: both for one shim, and for nobody but its owner.
 *
 * Threads: none.
 */
#ifndef SHIM_SOCKET_H
#define SHIM_SOCKET_H

#include "base/err.h"

/*
 * Take the working directory for ours: it has to belong to us, nobody else may write to it, and
 * it becomes mode 0700. It stays ours as long as *ret_fd is open, also against our heirs.
 *
 * Returns 0 and the directory's absolute path in *ret_path (the caller's), or
 *   -EBUSY   another shim has it
 *   -EPERM   it is not ours, or others may write to it
 */
int socket_take_dir(char **ret_path, int *ret_fd, struct err *err);

/* shim.sock in the working directory, mode 0600, whatever the length of its path. */
int socket_listen(int *ret_fd, struct err *err);
void socket_remove(void);

#endif
