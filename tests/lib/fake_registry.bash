# A registry that fails on demand (tests/lib/fake_registry.py), in bats.
#
#   start_fake [CONFIG_JSON]   its hosts listen; $FAKE is the address of "main"
#   stop_fake                  or leave it to teardown
#   fake_host NAME             prints 127.0.0.1:PORT
#   fake_rules '[RULE...]'     what goes wrong from now on; no rules: '[]'
#   fake_ctl METHOD PATH [JSON]    the control address; prints its answer
#   fake_image HOST JSON       a made image; prints its manifest's descriptor
#   fake_log [JQ_FILTER]       the log's objects through jq -c, e.g. 'select(.event == "request")'
#                              (it waits some seconds for answers under way; so do these two)
#   fake_clear                 empties the log
#   fake_sent PATTERN          sum of the bytes of bodies sent for paths that match
#   make_ca                    a private CA: $T/ca.pem; $T/server.pem and .key for localhost,
#                              127.0.0.1; $T/client.pem and .key
#
# shellcheck shell=bash disable=SC2034

load ../lib/common

start_fake() {
	local ready=$T/fake.ready
	: "${FAKE_STATE:=$T/fake}"
	printf '%s' "${1:-{\}}" >"$T/fake.json"
	mkfifo "$ready"
	READY_FD=9 "$REPO/tests/lib/fake_registry.py" "$FAKE_STATE" "$T/fake.json" \
		>"$T/fake.log" 2>&1 </dev/null 9<>"$ready" 3>&- &
	FAKE_PID=$!
	track_pid "$FAKE_PID"
	IFS= read -rt 30 FAKE_READY <>"$ready" || return 1
	rm "$ready"
	FAKE_CONTROL=$(jq -r .control <<<"$FAKE_READY")
	FAKE=$(fake_host main)
}

stop_fake() {
	end_pid "$FAKE_PID"
}

fake_host() {
	jq -er --arg n "$1" '.hosts[$n]' <<<"$FAKE_READY"
}

fake_ctl() {
	curl -sS --fail-with-body -X "$1" ${3:+-d "$3"} "http://$FAKE_CONTROL/$2"
}

fake_rules() {
	fake_ctl PUT rules "$1" >/dev/null
}

fake_image() {
	fake_ctl POST "image/$1" "$2"
}

fake_log() {
	fake_ctl GET idle >/dev/null
	jq -c "${1:-.}" "$FAKE_STATE/log"
}

fake_clear() {
	fake_ctl GET idle >/dev/null
	fake_ctl DELETE log >/dev/null
}

fake_sent() {
	fake_ctl GET idle >/dev/null
	jq -s --arg p "$1" '[.[] | select(.event == "response" and (.path | test($p))) | .sent] | add // 0' \
		"$FAKE_STATE/log"
}

# make_cert NAME SUBJECT_ALT_NAMES: signed by $T/ca.
make_cert() {
	openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" \
		-keyout "$T/$1.key" -out "$T/$1.csr" 2>/dev/null &&
		openssl x509 -req -in "$T/$1.csr" -CA "$T/ca.pem" -CAkey "$T/ca.key" -CAcreateserial \
			-days 2 -extfile <(echo "subjectAltName=$2") -out "$T/$1.pem" 2>/dev/null
}

make_ca() {
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
		-subj "/CN=a private CA" -keyout "$T/ca.key" -out "$T/ca.pem" 2>/dev/null &&
		make_cert server DNS:localhost,IP:127.0.0.1 && make_cert client DNS:client
}
