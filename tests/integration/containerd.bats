# A content store that containerd has made opens here, and the reverse.

load ../lib/mount

setup() {
	common_setup
	require_root
	require_fuse
	ROOT=$T/c/io.containerd.content.v1.content
	random_file "$T/data" 4234567
	HEX=$(sha_of "$T/data")
}

# A containerd of this test alone: only its content store, on a private root and socket.
start_containerd() {
	cat >"$T/config.toml" <<-TOML
		version = 2
		root = "$T/c"
		state = "$T/state"
		disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
		[grpc]
		  address = "$T/c.sock"
		[ttrpc]
		  address = "$T/t.sock"
		# It would collect what no image holds, which is all of it here.
		[plugins."io.containerd.gc.v1.scheduler"]
		  startup_delay = "2h"
		  schedule_delay = "2h"
	TOML
	containerd --config "$T/config.toml" >"$T/containerd.out" 2>&1 3>&- &
	CONTAINERD=$!
	track_pid $CONTAINERD
	poll_until 60 c version >/dev/null 2>&1
}

c() {
	ctr --address "$T/c.sock" "$@"
}

@test "what ctr has taken in is listed, read through the mount, and verified" {
	start_containerd
	c content ingest --expected-digest "sha256:$HEX" by-ctr <"$T/data"
	echo small | c content ingest small
	small=$(echo small | sha256sum | cut -d' ' -f1)
	[ "$(dist list -q --root "$ROOT")" = "$(printf 'sha256:%s\n' "$HEX" "$small" | sort)" ]
	dist verify --root "$ROOT"
	mount_fs
	cmp "$MNT/blobs/sha256/$HEX" "$T/data"
	[ "$(cat "$MNT/blobs/sha256/$small")" = small ]
	unmount_fs
}

@test "an ingest that ctr has left unfinished is shown, resumed and removed here" {
	start_containerd
	mkfifo "$T/pipe"
	c content ingest half <"$T/pipe" 3>&- >/dev/null 2>&1 &
	writer=$!
	track_pid $writer
	exec {w}>"$T/pipe"
	head -c 3000000 "$T/data" >&"$w"
	poll_until 30 bash -c "dist active --json --root '$ROOT' | jq -e '.[0].size > 0' >/dev/null"
	# containerd prefixes refs with a namespace.
	ref=$(dist active --json --root "$ROOT" | jq -r '.[0].ref')
	[[ $ref == *half ]]
	# Of a client that dies containerd removes the ingest; so it is containerd that dies.
	kill -9 "$CONTAINERD"
	wait_for "$CONTAINERD" || :
	wait_for $writer || :
	exec {w}>&-
	mount_fs
	size=$(dist active --json --root "$ROOT" | jq '.[0].size')
	tail -c +$((size + 1)) "$T/data" | dist ingest --resume --root "$ROOT" "$ref"
	cmp "$MNT/blobs/sha256/$HEX" "$T/data"
	[ -z "$(ls -A "$MNT/ingest")" ]
	unmount_fs
	start_containerd
	[ "$(c content active | wc -l)" -eq 1 ]
}

@test "what cp and dist have taken in, containerd serves" {
	mount_fs
	cp "$T/data" "$MNT/ingest/by-cp"
	echo small >"$T/small"
	dist ingest --root "$ROOT" by-dist <"$T/small"
	small=$(echo small | sha256sum | cut -d' ' -f1)
	fails dist ingest --root "$ROOT" --expected-size 9 half <<<1234
	unmount_fs
	start_containerd
	# A blob that is there is given to the namespace that asks, without being read again.
	c content ingest --expected-digest "sha256:$HEX" --expected-size 4234567 want <"$T/data"
	c content ingest --expected-digest "sha256:$small" --expected-size 6 small <"$T/small"
	c content get "sha256:$HEX" | cmp - "$T/data"
	[ "$(c content get "sha256:$small")" = small ]
	[ "$(c content ls -q | wc -l)" -eq 2 ]
}
