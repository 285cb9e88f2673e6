# The order of a commit, held against power loss: nothing named and wrong, nothing acknowledged
# and missing.

load ../lib/mount

setup() {
	common_setup
	require_root
	require_fuse
	require_loop
}

# In a mount namespace of its own: a copy of the mount in that of another test would keep the file
# system that was shut down alive.
power_loss() {
	BIN=$BIN TESTBIN=$TESTBIN unshare -m --propagation private \
		/usr/bin/python3 "$REPO/tests/lib/power_loss.py" "$T" "$@"
}

@test "dist ingest: the journal is lost at each step" {
	power_loss dist 2 data=ordered
}

@test "dist ingest: the journal is written at each step, the data is not" {
	power_loss dist 1 data=writeback
}

@test "cp into the mount: the journal is lost at each step" {
	power_loss mount 2 data=ordered
}

@test "cp into the mount: the journal is written at each step, the data is not" {
	power_loss mount 1 data=writeback
}
