/*
 * A few hosts in one string with blanks between them, as registry_request.avoid takes them.
 * Threads: the caller locks.
 */
#ifndef FILL_HOST_LIST_H
#define FILL_HOST_LIST_H

#include <stdbool.h>
#include <stddef.h>

#define HOST_LIST_BYTES 1024

/* Add host unless it is there; one for which there is no room is left out. */
void host_list_add(char list[HOST_LIST_BYTES], const char *host);

/* Take out of list every host that is in other. */
void host_list_subtract(char list[HOST_LIST_BYTES], const char *other);

/* The first one into out; true when there are more. */
bool host_list_first(const char *list, char out[HOST_LIST_BYTES]);

#endif
