# --cache-limit: what was fetched goes again, least recently used first, and comes back when read.

load ../lib/mount
load ../lib/registry
load ../lib/fake_registry

SIZE=1000000

setup() {
	common_setup
	require_root
	require_fuse
}

# Five layers of $SIZE bytes in the fake registry; ${LAYER[0..4]} are their hex digests.
image_of_five() {
	local i
	start_fake '{}'
	MANIFEST=$(fake_image main "{\"repository\": \"team/app\", \"tag\": \"v1\", \"layers\": [
		$(for i in 1 2 3 4 5; do printf '{"seed": %d, "size": %d},' "$i" $SIZE; done | sed 's/,$//')
		]}" | jq -r .digest)
	MANIFEST=${MANIFEST#sha256:}
	BLOBS=$T/mnt/blobs/sha256
}

list_layers() {
	mapfile -t LAYER < <(jq -r '.layers[].digest' "$BLOBS/$MANIFEST" | cut -d: -f2)
}

read_all() {
	local i
	list_layers
	for i in "${LAYER[@]}"; do
		[ "$(sha_of "$BLOBS/$i")" = "$i" ]
	done
}

# aged HEX SECONDS: as if it had last been used so long ago
aged() {
	touch -a -m -d "@$(($(date +%s) - $2))" "$ROOT/blobs/sha256/$1"
}

state_of() {
	getfattr --only-values -n user.state "$BLOBS/$1" 2>/dev/null
}

here() {
	[ -e "$ROOT/blobs/sha256/$1" ]
}

# A reader may have all before its blob has a name: first the fills end, then the blobs go.
all_gone() {
	local i
	counter_is fills_active 0 || return 1
	for i in "$@"; do
		! here "$i" || return 1
	done
}

all_here() {
	local i
	for i in "$@"; do
		here "$i" || return 1
	done
}

counter_is() {
	[ "$(status_of "$1")" = "$2" ]
}

looks_more_than() {
	[ "$(status_of cache_looks)" -gt "$1" ]
}

# A look at the store from now on has been made.
looked() {
	local n
	n=$(status_of cache_looks)
	: >"$T/kick" && put_blob "$T/kick" >/dev/null
	poll_until 20 looks_more_than "$n"
	rm -f "$ROOT/blobs/sha256/$(sha_of "$T/kick")"
}

@test "the least recently used blobs go, stay known, and are fetched again when read" {
	image_of_five
	mount_fs --source "$FAKE/team/app" --cache-limit 3MB --cache-grace 1h
	read_all
	looked
	counter_is evictions 0 # all were used within the hour
	counter_is cache_limit 3000000
	counter_is cache_bytes $((5 * SIZE + $(stat -c %s "$ROOT/blobs/sha256/$(jq -r .config.digest \
		"$BLOBS/$MANIFEST" | cut -d: -f2)" 2>/dev/null || echo 0)))
	aged "${LAYER[3]}" 9000
	aged "${LAYER[1]}" 8000
	aged "${LAYER[0]}" 7000
	looked
	poll_until 20 counter_is evictions 3
	counter_is evicted_bytes $((3 * SIZE))
	[ "$(status_of cache_bytes)" -le 3000000 ]
	all_gone "${LAYER[3]}" "${LAYER[1]}" "${LAYER[0]}"
	all_here "${LAYER[2]}" "${LAYER[4]}" "$MANIFEST"
	[ "$(state_of "${LAYER[3]}")" = remote ]
	[ "$(stat -c '%s %b' "$BLOBS/${LAYER[3]}")" = "$SIZE 0" ]
	ls "$BLOBS" | grep -q "${LAYER[3]}"
	[ "$(sha_of "$BLOBS/${LAYER[3]}")" = "${LAYER[3]}" ]
	poll_until 20 counter_is fills_active 0
	[ "$(state_of "${LAYER[3]}")" = complete ]
	[ "$(fake_sent "/blobs/sha256:${LAYER[3]}")" = $((2 * SIZE)) ]
	check_store
	unmount_fs
}

@test "what is open, pinned or was ingested by hand stays" {
	image_of_five
	mount_fs --source "$FAKE/team/app" --cache-limit 1 --cache-grace 1h
	list_layers
	exec {fd}<"$BLOBS/${LAYER[0]}" # before it is here
	read_all
	setfattr -n user.pinned -v yes "$BLOBS/${LAYER[1]}"
	[ "$(getfattr --only-values -n user.pinned "$BLOBS/${LAYER[1]}")" = yes ]
	cp "$BLOBS/${LAYER[2]}" "$MNT/ingest/mine"
	random_file "$T/own" 5000
	cp "$T/own" "$MNT/ingest/own"
	own=$(sha_of "$T/own")
	for i in "${LAYER[@]}" "$own" "$MANIFEST"; do
		aged "$i" 9000
	done
	looked
	poll_until 20 counter_is evictions 2
	all_gone "${LAYER[3]}" "${LAYER[4]}"
	all_here "${LAYER[0]}" "${LAYER[1]}" "${LAYER[2]}" "$own" "$MANIFEST"
	[ "$(sha256sum <&$fd | cut -d' ' -f1)" = "${LAYER[0]}" ]
	exec {fd}<&-
	# Its last use is dated a moment ago by its end: age it, and nothing holds it any more.
	poll_until 20 bash -c "[ \$(stat -c %X '$ROOT/blobs/sha256/${LAYER[0]}') -gt \$((\$(date +%s) - 600)) ]"
	aged "${LAYER[0]}" 9000
	setfattr -x user.pinned "$BLOBS/${LAYER[1]}"
	looked
	poll_until 20 counter_is evictions 4
	all_gone "${LAYER[0]}" "${LAYER[1]}"
	all_here "${LAYER[2]}" "$own"
	unmount_fs
}

@test "readers get the right bytes while all is evicted as soon as it is closed" {
	image_of_five
	mount_fs --source "$FAKE/team/app" --cache-limit 1 --cache-grace 0
	read_all
	pids=()
	for i in 0 1 2 3; do
		(
			exec 3>&-
			for j in 1 2 3; do
				[ "$(sha_of "$BLOBS/${LAYER[i]}")" = "${LAYER[i]}" ] || exit 1
			done
		) &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		wait "$pid"
	done
	poll_until 30 all_gone "${LAYER[@]}"
	check_store
	unmount_fs
}

@test "an evicted blob is known after a restart, and one larger than the limit is fetched" {
	image_of_five
	mount_fs --source "$FAKE/team/app" --cache-limit 1kB --cache-grace 0
	read_all
	poll_until 30 all_gone "${LAYER[@]}"
	unmount_fs
	stop_fake
	mount_fs --cache-limit 1kB
	[ "$(stat -c %s "$BLOBS/${LAYER[4]}")" = $SIZE ]
	[ "$(state_of "${LAYER[4]}")" = remote ]
	unmount_fs
}

@test "a real registry: layers are evicted, read again, and tar sees the same" {
	start_registry
	make_image demo/cache
	mount_fs --source "$REGISTRY/demo/cache" --cache-limit 1 --cache-grace 0
	BLOBS=$MNT/blobs/sha256
	jq -e .layers "$BLOBS/$MANIFEST" >/dev/null
	for round in 1 2 3; do
		for layer in "${LAYERS[@]}"; do
			tar -tzf "$BLOBS/$layer" >"$T/list.$layer.$round"
			cmp "$T/list.$layer.1" "$T/list.$layer.$round"
		done
		poll_until 30 all_gone "${LAYERS[@]}"
		all_here "$MANIFEST"
	done
	unmount_fs
}

@test "to start is to use no blob: the dates stay, and the limit holds at once" {
	ROOT=$T/root
	mkdir -p "$ROOT/blobs/sha256" "$ROOT/labels/sha256"
	for i in 1 2 3; do
		printf 'a blob of thirty-two bytes no. %d\n' "$i" >"$T/blob"
		hex=$(put_blob "$T/blob")
		echo '{"source": ["host.example/x"], "origin": "fetch"}' >"$ROOT/labels/sha256/$hex"
		aged "$hex" $((100000 + i))
	done
	mount_fs --cache-limit 40
	poll_until 20 counter_is evictions 2
	[ "$(blob_count)" -eq 1 ]
	[ "$(stat -c %X "$ROOT"/blobs/sha256/*)" -lt $(($(date +%s) - 90000)) ]
	unmount_fs
}

@test "what makes no sense as a limit is refused in a line" {
	for limit in 0 x -1 10Q; do
		fails contentfs --cache-limit "$limit" "$T/root" "$T"
		[ "${#lines[@]}" -eq 1 ]
	done
	fails contentfs --cache-grace never --cache-limit 1G "$T/root" "$T"
	[ "${#lines[@]}" -eq 1 ]
	fails contentfs --cache-limit 1G -o ro "$T/root" "$T"
	[ "${#lines[@]}" -eq 1 ]
}
