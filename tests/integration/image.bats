#!/usr/bin/env bats
# Images of the store: their names, what they are made of, root filesystems and bundles of them.
# skopeo, umoci and runc are the judges.
#
# shellcheck disable=SC2016 # what is in single quotes is for a shell in a container

load ../lib/image

setup() {
	common_setup
	ROOT=$T/store
	ID=$(basename "$T")
}

teardown() {
	[ "$(id -u)" -ne 0 ] || runc delete --force "$ID" 2>/dev/null
	common_teardown
}

require_runc() {
	require_root || return 1
	command -v runc >/dev/null || lacking runc
}

# A small image of two layers: a file, and that file replaced.
small_image() {
	mkdir -p "$T/one/etc" "$T/two/etc"
	echo first >"$T/one/etc/issue"
	echo second >"$T/two/etc/issue"
	: >"$T/one/etc/gone"
	: >"$T/two/etc/.wh.gone"
	put_image "$1" '{"Cmd":["/bin/sh","-c","echo  two  words"],"Env":["A=b"],"Labels":{"k":"v"}}' \
		"$T/one" "$T/two"
}

chain_of() {
	local chain='' id
	for id; do
		chain=${chain:+sha256:$(printf '%s %s' "$chain" "$id" | sha256sum | cut -d' ' -f1)}
		chain=${chain:-$id}
		echo "$chain"
	done
}

run_bundle() {
	(cd "$1" && runc run "$ID" </dev/null 3>&-)
}

@test "a name stands for an image however it is written, until it is taken away" {
	small_image redis:6
	local name
	for name in redis:6 library/redis:6 docker.io/redis:6 docker.io/library/redis:6 "$MANIFEST" \
		"redis@$MANIFEST"; do
		[ "$(dist inspect --root "$ROOT" --json "$name" | jq -r .digest)" = "$MANIFEST" ]
	done
	[ "$(dist images --root "$ROOT" -q)" = docker.io/library/redis:6 ]
	[ "$(dist tag --root "$ROOT" redis:6 localhost:5000/other)" = localhost:5000/other:latest ]
	[ "$(dist images --root "$ROOT" --json | jq -r '.[].name' | wc -l)" -eq 2 ]
	fails dist inspect --root "$ROOT" redis
	[[ $output = *'no image "docker.io/library/redis:latest" in the store' ]]
	fails dist inspect --root "$ROOT" Redis
	[[ $output = *'lower case' ]]
	fails dist tag --root "$ROOT" "sha256:$(printf %064d 1)" x
	[[ $output = *'is not in the store' ]]
	fails dist tag --root "$ROOT" redis:6 "x@$MANIFEST"
	[ "$(dist untag --root "$ROOT" redis:6)" = docker.io/library/redis:6 ]
	fails dist inspect --root "$ROOT" redis:6
	fails dist untag --root "$ROOT" redis:6
	dist inspect --root "$ROOT" "$MANIFEST"
}

@test "the store is an OCI layout for skopeo and umoci, which may write to it as well" {
	small_image redis:6
	[ "$(umoci ls --layout "$ROOT")" = docker.io/library/redis:6 ]
	[ "$(skopeo inspect "oci:$ROOT:docker.io/library/redis:6" | jq -r .Digest)" = "$MANIFEST" ]
	skopeo --insecure-policy copy -q "oci:$ROOT:docker.io/library/redis:6" "oci:$T/copy:x"
	cmp "$T/copy/blobs/sha256/${MANIFEST#*:}" "$ROOT/blobs/sha256/${MANIFEST#*:}"
	"$REPO/scripts/make-image" "$T/made"
	skopeo --insecure-policy copy -q "oci:$T/made:latest" "oci:$ROOT:theirs"
	[ "$(dist images --root "$ROOT" -q | sort | paste -sd' ')" = "docker.io/library/redis:6 theirs" ]
	dist tag --root "$ROOT" theirs jq
	dist untag --root "$ROOT" redis:6
	[ "$(umoci ls --layout "$ROOT" | sort | paste -sd' ')" = "docker.io/library/jq:latest theirs" ]
	# and a layout of another make is a store as it is
	dist inspect --root "$T/made" latest | grep -E '^Size: +3.* in 5 layers$'
}

@test "an index.json that is damaged is told and left alone" {
	small_image redis:6
	echo '{"manifests":' >"$ROOT/index.json"
	fails dist images --root "$ROOT"
	[[ $output = *index.json* ]]
	fails dist tag --root "$ROOT" "$MANIFEST" x
	[ "$(cat "$ROOT/index.json")" = '{"manifests":' ]
	dist inspect --root "$ROOT" "$MANIFEST"
}

@test "inspect tells what an image is made of, and what of it is here" {
	small_image redis:6
	run dist inspect --root "$ROOT" redis:6
	[ "$status" -eq 0 ]
	[[ $output = *"Name:        docker.io/library/redis:6"* ]]
	[[ $output = *"Digest:      $MANIFEST"* ]]
	[[ $output = *'Command:     ["/bin/sh", "-c", "echo  two  words"]'* ]]
	[[ $output = *"Labels:      k=v"* ]]
	[ "$(grep -c 'yes.*a layer' <<<"$output")" -eq 4 ] # in the layers and in the history
	dist inspect --root "$ROOT" --json redis:6 >"$T/json"
	jq -e '.layers | length == 2 and all(.local)' "$T/json"
	jq -e '.size == .local_size and .platform == "linux/" + .config.architecture' "$T/json"
	jq -e '.manifest.layers[0].digest == .layers[0].digest' "$T/json"
	mapfile -t ids < <(jq -r '.config.rootfs.diff_ids[]' "$T/json")
	[ "$(jq -r '.layers[].chain_id' "$T/json")" = "$(chain_of "${ids[@]}")" ]
	dist delete --root "$ROOT" "$(jq -r '.layers[1].digest' "$T/json")"
	[[ $(dist inspect --root "$ROOT" redis:6) = *"and 1 layers are here"* ]]
	[[ $(dist images --root "$ROOT") = *"1 of 2 layers"* ]]
}

@test "of an index the manifest of the platform is taken" {
	local mine other
	small_image mine
	mine=$MANIFEST
	mkdir "$T/three"
	put_image other '{"Cmd":["/x"]}' "$T/three"
	other=$MANIFEST
	for d in "$mine" "$other"; do
		jq -cn --arg d "$d" --argjson s "$(stat -c %s "$ROOT/blobs/sha256/${d#*:}")" \
			--arg a "$([ "$d" = "$mine" ] && dpkg --print-architecture || echo mips64le)" \
			'{mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $d, size: $s,
			  platform: {os: "linux", architecture: $a}}'
	done | jq -cs '{schemaVersion: 2, manifests: .}' >"$T/index"
	dist tag --root "$ROOT" "$(put_blob "$T/index")" both
	[ "$(dist inspect --root "$ROOT" --json both | jq -r .digest)" = "$mine" ]
	[ "$(dist inspect --root "$ROOT" --json --platform linux/mips64le both | jq -r .digest)" = "$other" ]
	[[ $(dist inspect --root "$ROOT" --platform linux/s390x both) = *linux/mips64le* ]]
	fails dist unpack --root "$ROOT" --platform linux/s390x both "$T/out"
	[[ $output = *"no image for this platform" ]]
	[ ! -e "$T/out" ]
	fails dist unpack --root "$ROOT" --platform a/b/c/d both "$T/out"
	[[ $output = *"invalid platform"* ]]
}

@test "what unpack makes is what umoci makes, and it prints the ChainIDs" {
	require_root
	"$REPO/scripts/make-image" "$ROOT"
	local ids
	mapfile -t ids < <(dist inspect --root "$ROOT" --json latest | jq -r '.config.rootfs.diff_ids[]')
	[ "$(dist unpack --root "$ROOT" latest "$T/ours")" = "$(chain_of "${ids[@]}")" ]
	umoci unpack --image "$ROOT:latest" "$T/theirs"
	[ "$(find "$T/ours" | wc -l)" -gt 1000 ]
	/usr/bin/python3 "$REPO/tests/lib/tree_walk.py" "$T/ours" "$T/theirs/rootfs"
	# an empty directory that is there is taken, and keeps its place
	mkdir "$T/empty"
	dist unpack --root "$ROOT" --json latest "$T/empty" | jq -e 'length == 5 and .[4].entries > 0'
	fails dist unpack --root "$ROOT" latest "$T/empty"
	[[ $output = *"is not empty" ]]
}

@test "a layer that is not what manifest and config say leaves nothing behind" {
	require_root
	local blob
	small_image redis:6
	blob=$ROOT/blobs/sha256/$(jq -r '.layers[1].digest' "$ROOT/blobs/sha256/${MANIFEST#*:}" | cut -d: -f2)
	fails dist unpack --root "$ROOT" --max-size 1k redis:6 "$T/out"
	[[ $output = "dist: redis:6: layer 1 of 2, sha256:"* ]]
	[ ! -e "$T/out" ]
	mkdir "$T/there"
	cp "$blob" "$T/good"
	rm "$blob"
	(zcat "$T/good"; echo trailing) | gzip -n >"$blob"
	fails dist unpack --root "$ROOT" redis:6 "$T/there"
	[[ $output = *"layer 2 of 2, sha256:"*"damaged: its bytes have the digest sha256:"* ]]
	[ -d "$T/there" ] && [ -z "$(ls -A "$T/there")" ]
	rm "$blob"
	fails dist unpack --no-fetch --root "$ROOT" redis:6 "$T/there"
	[[ $output = *"layer 2 of 2, sha256:"*"not in the store"* ]]
	DIFF_IDS="[\"sha256:$(printf %064d 1)\"]" put_image wrong '{"Cmd":["/x"]}' "$T/one"
	fails dist unpack --root "$ROOT" wrong "$T/there"
	[[ $output = *"wrong diffID sha256:"*"the config says sha256:$(printf %064d 1)" ]]
	DIFF_IDS='[]' put_image wrong '{"Cmd":["/x"]}' "$T/one"
	fails dist unpack --root "$ROOT" wrong "$T/there"
	[[ $output = *"1 layers, but the config has 0 diffIDs" ]]
	fails dist bundle --root "$ROOT" wrong "$T/there"
	[ -z "$(ls -A "$T/there")" ]
}

@test "runc runs the bundle of a busybox image as it is" {
	require_runc
	"$REPO/scripts/make-image" "$ROOT"
	dist bundle --root "$ROOT" latest "$T/b" /bin/sh -c \
		'id -u; cat /etc/issue; test ! -e /etc/motd && echo $0 $PATH; echo "{}" | jq -c ".a=1"'
	[ "$(stat -c %a "$T/b")" = 700 ]
	run run_bundle "$T/b"
	[ "$output" = $'0\na layer above the others\n/bin/sh /bin:/usr/bin\n{"a":1}' ]
	dist bundle --root "$ROOT" latest "$T/c"
	[ "$(jq -c .process.args "$T/c/config.json")" = '["/bin/sh"]' ]
	run_bundle "$T/c"
	fails dist bundle --root "$ROOT" latest "$T/c"
}

@test "runc runs the bundle of an image with bash and the programs of a Debian" {
	require_runc
	local r=$T/debian
	mkdir -p "$r/tmp" "$r/proc" "$r/dev" "$r/sys" "$r/root" "$r/etc"
	copy_programs "$r" /bin/bash /bin/ls /bin/cat /usr/bin/id /usr/bin/sha256sum /usr/bin/env
	cp /usr/share/base-passwd/passwd.master "$r/etc/passwd"
	cp /usr/share/base-passwd/group.master "$r/etc/group"
	cp -L /etc/os-release /etc/debian_version "$r/etc/"
	put_image registry.example/debian:12 \
		'{"Env":["PATH=/usr/bin:/bin","LANG=C.UTF-8"],"Cmd":["/bin/bash"]}' "$r"
	dist bundle --root "$ROOT" registry.example/debian:12 "$T/b" /bin/bash -c \
		'shopt -s extglob; . /etc/os-release; echo "$ID ${BASH_VERSINFO[0]}"; id -un; echo "$HOME"
		printf x | sha256sum; exit 7'
	run run_bundle "$T/b"
	[ "$status" -eq 7 ]
	[ "${lines[0]}" = "debian 5" ]
	[ "${lines[1]}" = root ]
	[ "${lines[2]}" = /root ]
	[ "${lines[3]}" = "$(printf x | sha256sum)" ]
}

# An image with a user, a directory, an entrypoint, a volume that holds something, and labels.
app_image() {
	local r=$T/app
	busybox_root "$r"
	mkdir -p "$r/home/app" "$r/data/deep"
	printf 'root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n' >"$r/etc/passwd"
	printf 'root:x:0:\napp:x:1001:\naudio:x:29:app\n' >"$r/etc/group"
	echo kept >"$r/data/file"
	chown -R 1000:1001 "$r/home/app" "$r/data"
	chmod 2750 "$r/data"
	touch -d @1000000000 "$r/data"
	cat >"$r/entry.sh" <<-'SH'
		#!/bin/sh
		echo "$(id -u):$(id -g):$(id -G) $PWD $HOME $GREETING"
		for arg; do echo "<$arg>"; done
		cat /data/file; echo written >/data/new && stat -c '%u:%g %a' /data
		cat /data/inner/file
	SH
	chmod 755 "$r/entry.sh"
	mkdir -p "$r/data/inner"
	echo inner >"$r/data/inner/file"
	touch -d @1000000000 "$r/data"
	put_image "$1" '{"User":"app","WorkingDir":"/home/app","Entrypoint":["/entry.sh"],
		"Cmd":["one","two words"],"Env":["PATH=/bin","GREETING=hi there"],"StopSignal":"SIGINT",
		"Volumes":{"/data":{},"/data/inner/":{},"/new/place":{},"/proc/x":{}},
		"ExposedPorts":{"80/tcp":{}},"Labels":{"maintainer":"somebody"}}' "$r"
}

@test "runc runs the bundle of an image with a user, a directory, an entrypoint and volumes" {
	require_runc
	app_image app
	dist bundle --root "$ROOT" app "$T/b"
	run run_bundle "$T/b"
	[ "${lines[0]}" = "1000:1001:1001 29 /home/app /home/app hi there" ]
	[ "${lines[1]}" = "<one>" ]
	[ "${lines[2]}" = "<two words>" ]
	[ "${lines[3]}" = kept ]
	[ "${lines[4]}" = "1000:1001 2750" ]
	[ "${lines[5]}" = inner ]
	jq -e '.annotations.maintainer == "somebody" and
		.annotations["org.opencontainers.image.stopSignal"] == "SIGINT" and
		.annotations["org.opencontainers.image.exposedPorts"] == "80/tcp"' "$T/b/config.json"
	# what it wrote lies in the volume, not in the root filesystem
	[ "$(jq -r '.mounts[] | select(.type == "bind").destination' "$T/b/config.json" | paste -sd' ')" = \
		"/data /data/inner /new/place" ]
	[ -z "$(ls -A "$T/b/rootfs/data")" ]
	[ "$(cat "$T"/b/volumes/0/new)" = written ]
	# other arguments, the same entrypoint
	dist bundle --root "$ROOT" app "$T/c" --flag
	run run_bundle "$T/c"
	[ "${lines[1]}" = "<--flag>" ]
	[ "${lines[2]}" = kept ]
}

@test "a user, a volume or a command that cannot be had is told" {
	require_root
	busybox_root "$T/r"
	put_image nouser '{"User":"nobody-here","Cmd":["/bin/sh"]}' "$T/r"
	fails dist bundle --root "$ROOT" nouser "$T/b"
	[[ $output = 'dist: nouser: no user "nobody-here" in the image' ]]
	[ ! -e "$T/b" ]
	put_image nocmd '{}' "$T/r"
	fails dist bundle --root "$ROOT" nocmd "$T/b"
	[[ $output = *"names no command"* ]]
	dist bundle --root "$ROOT" nocmd "$T/b" /bin/true
	put_image novolume '{"Cmd":["/x"],"Volumes":{"/bin/busybox":{}}}' "$T/r"
	fails dist bundle --root "$ROOT" novolume "$T/c"
	[[ $output = *'volume "/bin/busybox": Not a directory' ]]
	put_image rootvolume '{"Cmd":["/x"],"Volumes":{"/a/..":{}}}' "$T/r"
	fails dist bundle --root "$ROOT" rootvolume "$T/c"
	[[ $output = *'"/a/.." is no place for a volume' ]]
}

@test "links in an image lead nowhere but into it" {
	require_root
	mkdir -p "$T/r/etc" "$T/canary/inside"
	echo secret >"$T/canary/inside/file"
	echo 'app:x:4242:4242::/:' >"$T/canary/passwd"
	ln -s "$T/canary/passwd" "$T/r/etc/passwd"
	ln -s ../../../../../../../../../../.."$T"/canary/passwd "$T/r/etc/group"
	ln -s "$T/canary/inside" "$T/r/data"
	ln -s ../../../../../../../../../.."$T"/canary "$T/r/up"
	put_image hostile '{"User":"app","Cmd":["/x"]}' "$T/r"
	fails dist bundle --root "$ROOT" hostile "$T/b"
	[[ $output = *'no user "app"'* ]]
	mkdir -p "$T/r$T/canary/inside"
	echo theirs >"$T/r$T/canary/inside/file"
	put_image hostile '{"User":"5","Cmd":["/x"],"Volumes":{"/data":{},"/up/inside/more":{}}}' "$T/r"
	dist bundle --root "$ROOT" hostile "$T/b"
	[ "$(cat "$T/b/volumes/0/file")" = theirs ]
	[ "$(cat "$T/canary/inside/file")" = secret ]
	[ "$(find "$T/canary" | wc -l)" -eq 4 ]
	ln -sfn /nowhere "$T/r/data"
	put_image hostile '{"Cmd":["/x"],"Volumes":{"/data":{}}}' "$T/r"
	fails dist bundle --root "$ROOT" hostile "$T/c"
	[[ $output = *'volume "/data": No such file'* ]]
}

@test "a device in the place of a file of users is not opened" {
	require_root
	mkdir -p "$T/r/etc"
	mknod "$T/r/etc/passwd" c 3000 1 # of no driver: to open it fails
	mkfifo "$T/r/etc/group"
	put_image device '{"User":"5","Cmd":["/x"]}' "$T/r"
	dist bundle --root "$ROOT" device "$T/b"
	[ -c "$T/b/rootfs/etc/passwd" ]
	[ "$(jq .process.user.uid "$T/b/config.json")" = 5 ]
}

@test "an ordinary user makes a bundle and runs it, as root of its own" {
	require_runc
	local as=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	"${as[@]}" unshare -U true 2>/dev/null || lacking "user namespaces for ordinary users"
	chmod 755 "$T"
	mkdir "$T/bin" "$T/home"
	cp "$BIN/dist" "$T/bin"
	app_image app
	chown nobody "$T/home"
	"${as[@]}" "$T/bin/dist" bundle --rootless --root "$ROOT" app "$T/home/b" \
		2>"$T/warnings"
	grep 'user 1000:1001 cannot be had rootless' "$T/warnings"
	run env -C "$T/home/b" XDG_RUNTIME_DIR="$T/home" "${as[@]}" \
		runc --root "$T/home/state" run "$ID" </dev/null 3>&-
	[[ ${lines[0]} = "0:0:"*"/home/app /home/app hi there" ]]
	[ "${lines[3]}" = kept ]
	[ "$(cat "$T"/home/b/volumes/0/new)" = written ]
}

@test "shimctl run makes a container of an image by itself, and leaves nothing" {
	require_runc || return 1
	[ -x "$BIN/contentfs-shim" ] || lacking contentfs-shim
	busybox_root "$T/one"
	put_image tools '{"Entrypoint":["/bin/sh","-c"],"Cmd":["echo by the image; exit 5"]}' "$T/one"
	run shimctl run --root "$ROOT" --id "$ID" --dir "$T/d" tools 3>&-
	[ "$status" -eq 5 ]
	[ "$output" = "by the image" ]
	run shimctl run --root "$ROOT" --id "$ID" --dir "$T/d" "$MANIFEST" 'echo by us' 3>&-
	[ "$status" -eq 0 ]
	[ "$output" = "by us" ]
	fails shimctl run --root "$ROOT" --id "$ID" --dir "$T/d" localhost:1/nothing 3>&-
	[[ $output == *'dist: localhost:1/nothing: '*'http://localhost:1/v2/nothing/manifests/latest'* ]]
	[ ! -e "$T/d" ]
}
