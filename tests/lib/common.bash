# What every bats file shares: a directory for each test, processes and mounts that end with it,
# waiting without sleeping, capabilities.
#
#   load ../lib/common          (or mount.bash, registry.bash, which load it)
#
# Each test has $T, a directory of its own. Whatever is started goes through track_pid, whatever
# is mounted through track_mount: teardown ends them, last first, also when the test failed. A
# file with a setup or teardown of its own calls common_setup / common_teardown in it.
#
# shellcheck shell=bash disable=SC2154,SC2034 # bats and test files set and use the rest

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
: "${BIN:=$REPO/build/ci/bin}"
: "${TESTBIN:=$REPO/build/ci/tests}"
export BATS_TEST_TIMEOUT=${BATS_TEST_TIMEOUT:-200}
export PATH=$BIN:/usr/sbin:/sbin:$PATH

setup() {
	common_setup
}

teardown() {
	common_teardown
}

common_setup() {
	T=$(mktemp -d "${TMPDIR:-/tmp}/contentfs-test.XXXXXX")
	PIDS=()
	MOUNTS=()
	echo "# rerun: BIN=$BIN bats -f '$BATS_TEST_DESCRIPTION' $BATS_TEST_FILENAME"
}

track_pid() {
	PIDS+=("$1")
}

track_mount() {
	MOUNTS+=("$1")
}

common_teardown() {
	local i bad=0
	for ((i = ${#MOUNTS[@]} - 1; i >= 0; i--)); do
		if mountpoint -q "${MOUNTS[i]}" || stat "${MOUNTS[i]}" 2>&1 | grep -q 'not connected'; then
			umount -l "${MOUNTS[i]}" 2>/dev/null
		fi
	done
	for ((i = ${#PIDS[@]} - 1; i >= 0; i--)); do
		end_pid "${PIDS[i]}"
	done
	if grep -rlsE '(ERROR|WARNING): (Address|Leak|Thread|Memory)Sanitizer|runtime error:' \
		"$T" --include='*.log'; then
		echo "a sanitizer has something to say:"
		cat "$T"/*.log
		bad=1
	fi
	if [ -z "${BATS_TEST_COMPLETED:-}" ]; then
		for i in "$T"/*.log; do
			[ -e "$i" ] || continue
			echo "-- the end of $i"
			tail -n 40 "$i"
		done
	fi
	rm -rf --one-file-system "$T"
	return $bad
}

# End a process of ours and see it gone: asked first, killed after some seconds.
end_pid() {
	kill -0 "$1" 2>/dev/null || return 0
	kill "$1" 2>/dev/null
	timeout 10 tail -s 0.05 --pid="$1" -f /dev/null || kill -9 "$1" 2>/dev/null
	wait "$1" 2>/dev/null
	return 0
}

# poll_until SECONDS COMMAND...: the command succeeds before so many seconds are over.
poll_until() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		if [ $SECONDS -ge $end ]; then
			echo "never came true: $*"
			return 1
		fi
		read -rt 0.05 <> <(:) || :
	done
}

# wait_for PID: its exit status, within a minute.
wait_for() {
	if ! timeout 60 tail -s 0.05 --pid="$1" -f /dev/null; then
		echo "process $1 does not end"
		return 99
	fi
	wait "$1"
}

# fails COMMAND...: the command must fail; $output is what it said (stdout and stderr).
fails() {
	run "$@"
	[ "$status" -ne 0 ] || { echo "succeeded: $*"; return 1; }
}

sha_of() {
	sha256sum <"$1" | cut -d' ' -f1
}

# random_file PATH BYTES
random_file() {
	head -c "$2" /dev/urandom >"$1"
}

# What the machine has to offer. Without it: skipped by name, or failed when STRICT=1 (CI).
lacking() {
	if [ -n "${STRICT:-}" ]; then
		echo "STRICT: this machine lacks: $*"
		return 1
	fi
	skip "needs $*"
}

require_root() {
	[ "$(id -u)" -eq 0 ] || lacking root
}

require_fuse() {
	if [ ! -r /dev/fuse ] || [ ! -w /dev/fuse ]; then
		lacking /dev/fuse
	fi
}

require_loop() {
	require_root && { losetup -f >/dev/null 2>&1 || lacking "a loop device"; }
}

# Passthrough is the kernel's to have, so that its absence is a skip even under STRICT. An
# unmounted /dev/fuse answers its ioctl with EPERM when it knows it, ENOTTY or EOPNOTSUPP else.
require_passthrough() {
	require_root && require_fuse || return 1
	/usr/bin/python3 - <<'PY' || skip "needs a kernel with FUSE passthrough (6.9)"
import errno, fcntl, os, struct, sys
fd = os.open("/dev/fuse", os.O_RDWR)
try:
    fcntl.ioctl(fd, 0x4010e501, struct.pack("iIQ", 0, 0, 0))
except OSError as e:
    sys.exit(0 if e.errno == errno.EPERM else 1)
PY
}
