/*
 * What hosts.c (files, memory) and hosts_file.c (what they say) share. Private to both.
 */
#ifndef REGISTRY_HOSTS_PRIVATE_H
#define REGISTRY_HOSTS_PRIVATE_H

#include "base/cleanup.h"
#include "registry/hosts.h"

CLEANUP_DEFINE(struct host_list *, host_list_unref);

/* An empty list with room for max_hosts. Returns 0, -EINVAL (registry is no host) or -ENOMEM. */
int host_list_new(const char *registry, size_t max_hosts, struct host_list **ret, struct err *err);

/* h becomes the registry itself; plain HTTP on loopback, unless certificates were added. */
int hosts_set_default(struct host *h, const char *registry, struct err *err);

/* Paths are relative to dir. Both return 0 or -ENOMEM. */
int hosts_add_ca(struct host *h, const char *dir, const char *path);
int hosts_set_client(struct host *h, const char *dir, const char *cert, const char *key);

#endif
