/*
 * cleanup(store_closep) and cleanup(ingest_closep), for whoever opens them.
 */
#ifndef STORE_STORE_CLEANUP_H
#define STORE_STORE_CLEANUP_H

#include "base/cleanup.h"
#include "store/ingest.h"
#include "store/layout.h"

CLEANUP_DEFINE(struct store *, store_close);
CLEANUP_DEFINE(struct ingest *, ingest_close);

#endif
