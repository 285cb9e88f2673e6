/*
 * The keeper: a process beside the shim that has open what must not close when the shim is killed,
 * and gives it to the shim that comes after. Without it the death of a shim would be a hangup to
 * those at a terminal, and an end of file to those who read stdin.
 *
 * It is this same program, run anew, so that it has no more memory than it needs. It ends when the
 * shim is gone and nothing is left that anybody could want: of a terminal that is hung up and read
 * empty, of a fifo without a reader, of a directory that was removed and so has no next shim.
 *
 * Threads: none.
 */
#ifndef SHIM_KEEPER_H
#define SHIM_KEEPER_H

/* How main() is told to be one. */
#define KEEPER_ARGUMENT "--keeper"

/* Where it listens, in the shim's directory, which is its own. */
#define KEEPER_SOCKET "keep.sock"

/* Open in it from the start. */
enum { KEEPER_LISTEN_FD = 3, KEEPER_SHIM_FD = 4 };

/* Be one. Returns an exit status. */
int keeper_run(void);

#endif
