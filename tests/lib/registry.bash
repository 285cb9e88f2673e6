# A real registry on loopback, and a real image in it.
#
#   start_registry           $REGISTRY is localhost:PORT, its data under $T/registry; with
#                            HTPASSWD_LOGIN=user:password it wants those (Basic)
#   stop_registry
#   make_image NAME          an image of several gzip layers, pushed to $REGISTRY/NAME:latest;
#                            $MANIFEST is the hex digest of its manifest, $LAYERS those of its layers
#
# shellcheck shell=bash disable=SC2034

load ../lib/common

start_registry() {
	local config=$T/registry.yml wants=()
	mkdir -p "$T/registry"
	cat >"$config" <<-YML
		version: 0.1
		log: {level: info, accesslog: {disabled: false}}
		storage:
		  filesystem: {rootdirectory: $T/registry}
		  delete: {enabled: true}
		http: {addr: "127.0.0.1:${1:-0}"}
	YML
	if [ -n "${HTPASSWD_LOGIN:-}" ]; then
		echo "auth: {htpasswd: {realm: test, path: $T/htpasswd}}" >>"$config"
		htpasswd_line "$HTPASSWD_LOGIN" >"$T/htpasswd"
		wants=(-u "$HTPASSWD_LOGIN")
	fi
	: >"$T/registry.log"
	# Its configuration may also come by REGISTRY_*.
	env -u REGISTRY_AUTH_FILE docker-registry serve "$config" >"$T/registry.log" 2>&1 </dev/null 3>&- &
	REGISTRY_PID=$!
	track_pid "$REGISTRY_PID"
	poll_until 30 grep -q 'listening on' "$T/registry.log"
	REGISTRY=localhost:$(sed -n 's/.*listening on 127\.0\.0\.1:\([0-9]*\).*/\1/p' "$T/registry.log" |
		head -n1)
	poll_until 30 curl -fsS "${wants[@]}" -o /dev/null "http://$REGISTRY/v2/"
}

# htpasswd_line USER:PASSWORD: as docker-registry reads them, with bcrypt at its least cost.
htpasswd_line() {
	/usr/bin/python3 -W ignore - "$1" <<-'PY'
		import crypt, sys
		user, password = sys.argv[1].split(":", 1)
		salt = crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)
		print(user + ":" + crypt.crypt(password, salt))
	PY
}

stop_registry() {
	end_pid "$REGISTRY_PID"
}

make_image() {
	"$REPO/scripts/make-image" "$T/image-$$" >/dev/null
	skopeo --insecure-policy copy -q --dest-tls-verify=false \
		${HTPASSWD_LOGIN:+--dest-creds "$HTPASSWD_LOGIN"} "oci:$T/image-$$:latest" \
		"docker://$REGISTRY/$1:latest"
	MANIFEST=$(jq -r '.manifests[0].digest' "$T/image-$$/index.json")
	MANIFEST=${MANIFEST#sha256:}
	mapfile -t LAYERS < <(jq -r '.layers[].digest' "$T/image-$$/blobs/sha256/$MANIFEST" |
		cut -d: -f2)
	rm -rf "$T/image-$$"
}
