/*
 * Listing a directory, by descriptor and without surprises.
 *
 *   cleanup_dir DIR *dir = dir_open(dir_fd, "."); if (dir == NULL) return -errno;
 *   while ((e = dir_next(dir)) != NULL) ...
 *   return errno != 0 ? -errno : 0;
 *
 * Threads: a DIR belongs to one thread at a time.
 */
#ifndef BASE_DIR_H
#define BASE_DIR_H

#include <dirent.h>

/* A stream of its own offset over dir_fd/path, links not followed. NULL: see errno. */
DIR *dir_open(int dir_fd, const char *path);

/* The next entry but "." and ".."; NULL at the end, then errno is 0, or on failure. */
struct dirent *dir_next(DIR *dir);

#endif
