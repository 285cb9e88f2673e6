/*
 * The process of an ExecRequest, as a runtime takes it (OCI runtime specification, config.md,
 * "process").
 *
 * Threads: pure functions.
 */
#ifndef SHIM_PROCESS_SPEC_H
#define SHIM_PROCESS_SPEC_H

#include "base/buf.h"
#include "base/err.h"
#include "shim/messages.h"

/*
 * The request's flat capabilities become those of the sets that count for the process itself:
 * bounding, permitted and effective.
 *
 * Returns 0, -EINVAL for a request that no process can be made of, -E2BIG or -ENOMEM.
 */
int process_spec_write(const SHIM(ExecRequest) * q, struct buf *b, struct err *err);

/* Resources (config-linux.md, "cgroups") of an UpdateRequest. -EINVAL: it changes nothing. */
int resources_write(const SHIM(UpdateRequest) * q, struct buf *b, struct err *err);

#endif
