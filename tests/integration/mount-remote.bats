# Blobs that are not local: fetched on first read, verified, through faults.

# shellcheck disable=SC2012,SC2030,SC2031,SC2153 # each test is a subshell of its own

load ../lib/mount
load ../lib/registry
load ../lib/fake_registry

SIZE=$((9 * 1048576 + 4321))

setup() {
	common_setup
	require_root
	require_fuse
}

# An image in the fake registry and a mount on it: $LAYER is the hex digest of its one layer.
fake_mount() {
	start_fake "${FAKE_CONF:-{\}}"
	MANIFEST=$(fake_image main "{\"repository\": \"team/app\", \"tag\": \"v1\",
		\"layers\": [{\"seed\": 7, \"size\": $SIZE}]}" | jq -r .digest)
	MANIFEST=${MANIFEST#sha256:}
	mount_fs --source "$FAKE/team/app" "$@"
	BLOBS=$MNT/blobs/sha256
	LAYER=$(jq -r '.layers[0].digest' "$BLOBS/$MANIFEST")
	LAYER=${LAYER#sha256:}
}

state_of() {
	getfattr --only-values -n user.state "$1" 2>/dev/null
}

# Bytes of the layer that the registry has sent
sent() {
	fake_sent "/blobs/sha256:$LAYER"
}

# within MILLISECONDS COMMAND...: it ends in that time, the fastest of some tries: on a busy machine
# one may be late, but who waits for the network is late every time
within() {
	local start end took
	for _ in {1..20}; do
		start=$(date +%s%N)
		"${@:2}" >/dev/null || return 1
		end=$(date +%s%N)
		took=$(((end - start) / 1000000))
		[ "$took" -gt "$1" ] || return 0
	done
	echo "took $took ms: ${*:2}"
	return 1
}

opens_by_passthrough() {
	local before
	before=$(status_of opens_passthrough)
	cat "$BLOBS/$LAYER" >/dev/null
	[ "$(status_of opens_passthrough)" -gt "$before" ]
}

is_waiting() {
	grep -qE '^State:.[SD]' "/proc/$1/status"
}

no_fill() {
	[ "$(status_of fills_active)" = 0 ]
}

@test "an image of a real registry is there to be listed, read and unpacked" {
	start_registry
	make_image demo/tools
	mount_fs --source "$REGISTRY/demo/tools"
	BLOBS=$MNT/blobs/sha256
	jq -e .layers "$BLOBS/$MANIFEST" >/dev/null
	requests=$(grep -c 'http.request.method' "$T/registry.log")
	[ "$(ls "$BLOBS" | wc -l)" -eq $((${#LAYERS[@]} + 2)) ]
	for layer in "${LAYERS[@]}"; do
		[ "$(state_of "$BLOBS/$layer")" = remote ]
		[ "$(stat -c %b "$BLOBS/$layer")" -eq 0 ]
		[ "$(getfattr --only-values -n user.source "$BLOBS/$layer")" = "$REGISTRY/demo/tools" ]
	done
	jq -r '.layers[] | "\(.size) \(.digest)"' "$BLOBS/$MANIFEST" | while read -r size digest; do
		[ "$(stat -c %s "$BLOBS/${digest#sha256:}")" -eq "$size" ]
	done
	[ "$(grep -c 'http.request.method' "$T/registry.log")" -eq "$requests" ]
	mkdir "$T/rootfs"
	for layer in "${LAYERS[@]}"; do
		tar -xf "$BLOBS/$layer" -C "$T/rootfs"
	done
	# What is verified is read before it is named, which a busy disk takes its time for.
	poll_until 10 no_fill
	for layer in "${LAYERS[@]}"; do
		[ "$(state_of "$BLOBS/$layer")" = complete ]
	done
	chroot "$T/rootfs" jq -n 1
	check_store
	[ "$(wc -l <"$MNT/active")" -eq 1 ]
	unmount_fs
}

@test "strict: who waits for a blob reads it by passthrough, and goes on after kill -9" {
	require_passthrough
	fake_mount
	cached=$(status_of opens_cached)
	exec 5<"$BLOBS/$LAYER"
	[ "$(status_of opens_cached)" -eq "$cached" ]
	poll_until 10 no_fill
	kill_fs
	[ "$(sha256sum <&5 | cut -d' ' -f1)" = "$LAYER" ]
	exec 5<&-
}

@test "at-eof: a complete blob is passthrough at the next open" {
	require_passthrough
	fake_mount --verify at-eof
	cat "$BLOBS/$LAYER" >/dev/null
	poll_until 10 no_fill
	poll_until 10 opens_by_passthrough
	unmount_fs
}

@test "64 readers at once cause one fetch" {
	fake_mount
	pids=()
	for i in $(seq 64); do
		sha256sum "$BLOBS/$LAYER" >"$T/sum.$i" 3>&- &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid"
	done
	for i in $(seq 64); do
		[ "$(cut -d' ' -f1 "$T/sum.$i")" = "$LAYER" ]
	done
	[ "$(sent)" -eq "$SIZE" ]
	[ "$(status_of fills_completed)" -eq 2 ]
	unmount_fs
}

@test "an unknown digest is asked for once and absent" {
	fake_mount
	none=$(printf 'a%.0s' $(seq 64))
	for _ in 1 2 3; do
		fails cat "$BLOBS/$none"
		[[ $output == *"No such file"* ]]
	done
	[ "$(fake_log "select(.event == \"request\" and (.path | test(\"blobs/sha256:$none\")))" | wc -l)" -eq 1 ]
	unmount_fs
}

@test "what the registry has no more, or refuses, is an error with its reason" {
	fake_mount
	fake_rules '[{"path": "/blobs/", "do": "status", "code": 404}]'
	fails cat "$BLOBS/$LAYER"
	[[ $output == *"No such file"* ]]
	[[ $(getfattr --only-values -n user.error "$BLOBS/$LAYER") == *"$FAKE"* ]]
	poll_until 10 grep -q 'failed: ' "$MNT/active"
	fake_rules '[{"path": "/blobs/", "do": "status", "code": 403}]'
	fails cat "$BLOBS/$LAYER"
	[[ $output == *"ermission denied"* ]]
	fake_rules '[]'
	[ "$(sha_of "$BLOBS/$LAYER")" = "$LAYER" ]
	unmount_fs
}

@test "strict: no wrong byte is seen or kept, and the next read tries again" {
	fake_mount
	for at in 0 1048575 5000000 $((SIZE - 1)); do
		fake_rules "[{\"path\": \"/blobs/\", \"do\": \"flip\", \"at\": $at}]"
		run bash -c 'cat "$1" >"$2"' - "$BLOBS/$LAYER" "$T/out"
		[ "$status" -ne 0 ]
		[ ! -s "$T/out" ]
		[[ $(getfattr --only-values -n user.error "$BLOBS/$LAYER") == *"unexpected digest"* ]]
		poll_until 10 no_fill
		[ ! -e "$ROOT/blobs/sha256/$LAYER" ]
		[ -z "$(ls "$ROOT/ingest")" ]
	done
	grep -q 'unexpected digest' "$T/contentfs.log"
	fake_rules '[]'
	[ "$(sha_of "$BLOBS/$LAYER")" = "$LAYER" ]
	unmount_fs
}

@test "at-eof: wrong bytes never come to a clean end, not even for who read them before" {
	fake_mount --verify at-eof
	for at in 0 5000000 $((SIZE - 1)); do
		fake_rules "[{\"path\": \"/blobs/\", \"do\": \"flip\", \"at\": $at}]"
		exec {early}<"$BLOBS/$LAYER"
		head -c 65536 <&$early >"$T/early"
		run bash -c 'cat "$1" >"$2"' - "$BLOBS/$LAYER" "$T/out"
		[ "$status" -ne 0 ]
		poll_until 10 no_fill
		# From here on the registry is good: what was opened before must not profit.
		fake_rules '[]'
		run bash -c 'cat <&'$early' >"$1"' - "$T/rest"
		[ "$status" -ne 0 ]
		exec {early}<&-
		[ "$(sha_of "$BLOBS/$LAYER")" = "$LAYER" ]
		poll_until 10 no_fill
		rm -f "$BLOBS/$LAYER"
	done
	unmount_fs
}

@test "at-eof: a reader is served while the blob arrives" {
	FAKE_CONF='{"hosts": {"main": {"bandwidth": 2000000}}}' fake_mount --verify at-eof
	start=$(date +%s%N)
	head -c 100000 "$BLOBS/$LAYER" >/dev/null
	[ $((($(date +%s%N) - start) / 1000000)) -lt 1000 ]
	[ "$(state_of "$BLOBS/$LAYER")" = partial ]
	grep "$LAYER.*filling" "$MNT/active"
	[ "$(grep -c "$LAYER" "$MNT/active")" -eq 1 ]
	[ "$(sha_of "$BLOBS/$LAYER")" = "$LAYER" ]
	unmount_fs
}

@test "a silent registry: the reader's deadline, Ctrl-C, and everything else at once" {
	fake_mount --read-timeout 3s
	echo "local" >"$T/local"
	local=$(put_blob "$T/local")
	fake_rules '[{"path": "/blobs/", "do": "stall", "at": 2000000}]'
	cat "$BLOBS/$LAYER" >/dev/null 2>"$T/err" 3>&- &
	reader=$!
	poll_until 10 grep -q filling "$MNT/active"
	within 50 ls -lR "$MNT"
	within 50 stat "$BLOBS/$LAYER"
	within 50 df "$MNT"
	within 50 cat "$BLOBS/$local"
	within 50 cat "$MNT/active"
	cat "$BLOBS/$LAYER" >/dev/null 2>&1 3>&- &
	interrupted=$!
	poll_until 5 is_waiting "$interrupted"
	kill -INT "$interrupted" 2>/dev/null || kill -TERM "$interrupted"
	kill -TERM "$interrupted" 2>/dev/null || :
	within 1000 tail -s 0.02 --pid="$interrupted" -f /dev/null
	r=0
	wait "$reader" || r=$?
	[ $r -ne 0 ]
	grep -qi 'timed out' "$T/err"
	[[ $(getfattr --only-values -n user.error "$BLOBS/$LAYER") == *"not here in time"* ]]
	fake_rules '[]'
	unmount_fs
}

@test "a dead registry: the daemon starts, lists, reads what is local" {
	fake_mount
	[ "$(sha_of "$BLOBS/$MANIFEST")" = "$MANIFEST" ]
	poll_until 10 no_fill
	unmount_fs
	address=$FAKE
	stop_fake
	mount_fs --source "$address/team/app"
	within 50 ls -lR "$MNT"
	within 50 stat "$BLOBS/$LAYER"
	within 50 df "$MNT"
	within 50 cat "$BLOBS/$MANIFEST"
	[ "$(stat -c %s "$BLOBS/$LAYER")" -eq "$SIZE" ]
	[ "$(state_of "$BLOBS/$LAYER")" = remote ]
	fails cat "$BLOBS/$LAYER"
	[[ $(getfattr --only-values -n user.error "$BLOBS/$LAYER") == *"$address"* ]]
	unmount_fs
}

@test "two daemons on one store share a fetch" {
	FAKE_CONF='{"hosts": {"main": {"bandwidth": 500000}}}' fake_mount
	first=$DAEMON MNT1=$MNT
	MNT=$T/mnt2
	mount_fs --source "$FAKE/team/app"
	sha256sum <"$MNT1/blobs/sha256/$LAYER" >"$T/one" 3>&- &
	one=$!
	poll_until 10 grep -q "filling" "$MNT1/active"
	[ "$(sha_of "$MNT/blobs/sha256/$LAYER")" = "$LAYER" ]
	wait "$one"
	grep -q "$LAYER" "$T/one"
	[ "$(sent)" -eq "$SIZE" ]
	[ "$(status_of fills_followed)" -eq 1 ]
	unmount_fs
	MNT=$MNT1 DAEMON=$first
	unmount_fs
}

pull_app() {
	mkdir -p "$T/hosts"
	timeout 60 dist pull --root "$ROOT" --hosts-dir "$T/hosts" "$FAKE/team/app:v1" 3>&- 2>&1
}

is_on_its_way() {
	dist active --root "$ROOT" | grep -q "$LAYER"
}

@test "dist pull joins the fetch of a mount" {
	FAKE_CONF='{"hosts": {"main": {"bandwidth": 500000}}}' fake_mount
	sha256sum <"$BLOBS/$LAYER" >"$T/one" 3>&- &
	reader=$!
	poll_until 10 grep -q "filling" "$MNT/active"
	pull_app
	[ -e "$ROOT/blobs/sha256/$LAYER" ]
	check_store
	wait "$reader"
	grep -q "$LAYER" "$T/one"
	[ "$(sent)" -eq "$SIZE" ]
	unmount_fs
}

@test "a reader of the mount joins the fetch of dist pull" {
	FAKE_CONF='{"hosts": {"main": {"bandwidth": 500000}}}' fake_mount
	pull_app >"$T/pull.log" &
	pull=$!
	poll_until 10 is_on_its_way
	[ "$(sha_of "$BLOBS/$LAYER")" = "$LAYER" ]
	wait "$pull"
	[ "$(sent)" -eq "$SIZE" ]
	[ "$(status_of fills_followed)" -eq 1 ]
	check_store
	unmount_fs
}

@test "kill -9 in the middle of fetches: resumed, and next to nothing is fetched twice" {
	FAKE_CONF='{"hosts": {"main": {"bandwidth": 4000000}}}' fake_mount --verify at-eof
	kills=0
	twice=0
	while [ $kills -lt "${CONTENTFS_FILL_KILLS:-12}" ]; do
		cat "$BLOBS/$LAYER" >/dev/null 2>&1 3>&- &
		reader=$!
		sleep "0.$((RANDOM % 6))$((RANDOM % 10))"
		data=("$ROOT"/ingest/*/data)
		kill_fs
		wait "$reader" || :
		kills=$((kills + 1))
		had=0
		[ ! -e "${data[0]}" ] || had=$(($(stat -c %b "${data[0]}") * 512))
		mount_fs --source "$FAKE/team/app" --verify at-eof
		if [ -e "$ROOT/blobs/sha256/$LAYER" ]; then
			[ "$(sha_of "$ROOT/blobs/sha256/$LAYER")" = "$LAYER" ]
			rm "$ROOT/blobs/sha256/$LAYER"
			continue
		fi
		if [ $((kills % 4)) -eq 0 ]; then
			[ "$(sha_of "$BLOBS/$LAYER")" = "$LAYER" ]
			poll_until 10 no_fill
			[ "$(sha_of "$ROOT/blobs/sha256/$LAYER")" = "$LAYER" ]
			rm -f "$ROOT/blobs/sha256/$LAYER"
		else
			head -c 1 "$BLOBS/$LAYER" >/dev/null
		fi
		resumed=$(status_of bytes_resumed)
		lost=$((had - resumed))
		echo "kill $kills: had $had, resumed $resumed"
		[ $lost -lt $((2 * 1048576)) ]
		[ $lost -le 0 ] || twice=$((twice + lost))
	done
	[ "$(sha_of "$BLOBS/$LAYER")" = "$LAYER" ]
	poll_until 10 no_fill
	check_store
	echo "# $kills kills, $twice bytes fetched twice" >&3
	unmount_fs
}

size_is() { [ "$(stat -c %s "$BLOBS/$LAYER")" -eq "$1" ]; }

@test "what is damaged at rest is set aside and fetched again" {
	fake_mount
	cat "$BLOBS/$LAYER" >/dev/null
	poll_until 10 no_fill
	unmount_fs
	chmod 644 "$ROOT/blobs/sha256/$LAYER"
	truncate -s 1000 "$ROOT/blobs/sha256/$LAYER"
	rm -f "$ROOT/labels/manifests"
	mount_fs --source "$FAKE/team/app"
	# The scan at start finds it, while the mount answers already.
	poll_until 10 size_is "$SIZE"
	[ "$(sha_of "$BLOBS/$LAYER")" = "$LAYER" ]
	[ -e "$ROOT/quarantine/sha256/$LAYER" ]
	unmount_fs
}
