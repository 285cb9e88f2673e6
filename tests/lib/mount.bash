# A mounted store for each test:
#
#   mount_fs [OPTION...]     contentfs -f OPTION... $ROOT $MNT, returns when it is ready to use
#   unmount_fs               clean unmount; the daemon's exit status 0 is part of the test
#   kill_fs                  kill -9, and the dead mount is taken away
#
# $ROOT and $MNT are set by the first mount_fs where the test did not; $DAEMON is its pid, its log
# $T/contentfs.log. Several mounts: set ROOT and MNT before each, keep their DAEMON.
#
# as_ordinary_user makes what follows happen as nobody, in a mount namespace of its own whose
# /dev/fuse everybody may open (some machines keep it for root): mount_fs does so by itself,
# other commands through `u COMMAND...`.
#
# shellcheck shell=bash disable=SC2034

load ../lib/common

AS=()

u() {
	"${AS[@]}" "$@"
}

mount_fs() {
	local byte='' ready end
	: "${ROOT:=$T/root}" "${MNT:=$T/mnt}"
	LOG_FILE=$T/contentfs.log
	u mkdir -p "$MNT" 2>/dev/null || u stat "$MNT" 2>&1 | grep -q 'not connected' || return 1
	ready=$T/ready.$RANDOM
	mkfifo -m 666 "$ready"
	exec {ready_fd}<>"$ready"
	READY_FD=9 "${AS[@]}" "$BIN/contentfs" -f "$@" "$ROOT" "$MNT" \
		>>"$LOG_FILE" 2>&1 </dev/null 9>"$ready" 3>&- {ready_fd}>&- &
	DAEMON=$!
	track_pid "$DAEMON"
	track_mount "$MNT"
	end=$((SECONDS + 60))
	while [ "$byte" != 1 ]; do
		read -rt 0.2 -N 1 -u "$ready_fd" byte || :
		if [ "$byte" != 1 ] && { ! kill -0 "$DAEMON" 2>/dev/null || [ $SECONDS -ge $end ]; }; then
			echo "contentfs did not get ready:"
			cat "$LOG_FILE"
			exec {ready_fd}>&-
			return 1
		fi
	done
	exec {ready_fd}>&-
	rm -f "$ready"
}

unmount_fs() {
	local r=0
	u fusermount3 -u "$MNT" || return 1
	wait_for "$DAEMON" || r=$?
	if [ $r -ne 0 ]; then
		echo "contentfs ended with status $r"
		cat "$LOG_FILE"
	fi
	return $r
}

kill_fs() {
	kill -9 "$DAEMON"
	wait_for "$DAEMON" || :
	u fusermount3 -u -z "$MNT" 2>/dev/null || umount -l "$MNT" 2>/dev/null || :
}

# status_of KEY: the value of a line of contentfs --status
status_of() {
	"$BIN/contentfs" --status "$MNT" | sed -n "s/^$1 *//p"
}

# put_blob FILE [ROOT]: into the store behind the daemon's back; prints its hex digest.
put_blob() {
	local hex
	hex=$(sha_of "$1")
	install -m 444 "$1" "${2:-$ROOT}/blobs/sha256/$hex"
	echo "$hex"
}

# Every name under blobs is the digest of its bytes.
check_store() {
	local f
	for f in "${1:-$ROOT}"/blobs/sha256/*; do
		[ -e "$f" ] || continue
		if [ "$(sha_of "$f")" != "${f##*/}" ]; then
			echo "damaged: $f"
			return 1
		fi
	done
}

blob_count() {
	find "${1:-$ROOT}/blobs/sha256" -type f | wc -l
}

as_ordinary_user() {
	local holder
	require_root && require_fuse || return 1
	mkdir -p "$T/dev"
	chmod 755 "$T"
	# shellcheck disable=SC2016
	unshare -m --propagation private sh -c '
		# Other tests must be able to unmount what was copied here.
		grep -o " [^ ]*/contentfs-test\.[^ ]*" /proc/self/mounts | xargs -r umount -l 2>/dev/null
		mount -t tmpfs -o mode=755 dev "$0/dev" && mknod "$0/dev/fuse" c 10 229 &&
		chmod 666 "$0/dev/fuse" && mount --bind "$0/dev/fuse" /dev/fuse &&
		touch "$0/ns-ready" && exec sleep 1000' "$T" 3>&- </dev/null &
	holder=$!
	track_pid "$holder"
	poll_until 30 test -e "$T/ns-ready"
	chown nobody "$T"
	# A checkout may lie where nobody cannot go.
	mkdir "$T/bin"
	cp "$BIN/contentfs" "$BIN/dist" "$T/bin/"
	BIN=$T/bin PATH=$T/bin:$PATH
	AS=(nsenter -m -t "$holder" setpriv --reuid=65534 --regid=65534 --clear-groups)
}
