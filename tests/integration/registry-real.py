#!/usr/bin/python3
"""The registry client and Docker's registry: anonymous, with htpasswd, with tokens, over TLS.

Images go in by the client and come back by skopeo, and the other way round.
"""
import base64
import errno
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from registry_fixture import ROOT, Client  # noqa: E402

DEADLINE = 60
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


IMAGE = None  # a layout, made once


def setUpModule():
    global IMAGE
    IMAGE = tempfile.mkdtemp(prefix="contentfs-image-")
    unittest.addModuleCleanup(shutil.rmtree, IMAGE)
    IMAGE += "/image"
    subprocess.run([os.path.join(ROOT, "scripts/make-image"), IMAGE], check=True,
                   stdout=subprocess.DEVNULL)


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenServer:
    """Signs what it is asked for, for the user me, password word; distribution's docs/spec/auth."""

    def __init__(self, directory):
        self.key, self.cert = os.path.join(directory, "t.key"), os.path.join(directory, "t.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
                        "-subj", "/CN=tokens", "-keyout", self.key, "-out", self.cert],
                       check=True, stderr=subprocess.DEVNULL)
        self.asked = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.answer(self, urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query),
                             self.headers.get("Authorization") == "Basic " +
                             base64.b64encode(b"me:word").decode())

            def do_POST(self):
                form = urllib.parse.parse_qs(
                    self.rfile.read(int(self.headers["Content-Length"])).decode())
                outer.answer(self, form, form.get("password") == ["word"])

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.realm = "http://127.0.0.1:%d/token" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, handler, asked, good):
        self.asked.append((handler.command, asked))
        access = []
        for scope in " ".join(asked.get("scope", [])).split():
            kind, rest = scope.split(":", 1)
            name, actions = rest.rsplit(":", 1)
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        status, body = (200, {"token": self.sign(access), "expires_in": 60}) if good else (
            401, {"errors": [{"code": "UNAUTHORIZED", "message": "who are you?"}]})
        data = json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def sign(self, access):
        with open(self.cert, encoding="ascii") as f:
            der = "".join(f.read().split("-----")[2].split())
        now = int(time.time())
        parts = [{"typ": "JWT", "alg": "RS256", "x5c": [der]},
                 {"iss": "tests", "sub": "me", "aud": "real", "exp": now + 60, "nbf": now - 5,
                  "iat": now, "jti": str(now), "access": access}]
        text = ".".join(b64url(json.dumps(p).encode()) for p in parts)
        signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key],
                                   input=text.encode(), stdout=subprocess.PIPE, check=True).stdout
        return text + "." + b64url(signature)


class Real(unittest.TestCase):
    scheme, more, verify = "http", "", "false"
    user = None

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="contentfs-registry-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.prepare()
        self.start()
        os.mkdir(self.path("certs.d"))
        self.client = Client(self.dir, {"hosts_dir": self.path("certs.d"), **self.options()})
        self.addCleanup(self.client.stop)
        os.symlink(IMAGE, self.path("image"))
        with open(self.path("image/index.json"), encoding="utf-8") as f:
            self.digest = json.load(f)["manifests"][0]["digest"]
        with open(self.blob(self.digest), encoding="utf-8") as f:
            manifest = json.load(f)
        self.parts = [manifest["config"]["digest"]] + [d["digest"] for d in manifest["layers"]]

    def prepare(self):
        pass

    def options(self):
        return {"credentials": self.user} if self.user else {}

    def path(self, name):
        return os.path.join(self.dir, name)

    def blob(self, digest):
        return self.path("image/blobs/sha256/" + digest[7:])

    def start(self):
        with open(self.path("conf.yml"), "w", encoding="utf-8") as f:
            f.write('version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: "%s"}}\n'
                    'http:\n  addr: "127.0.0.1:0"\n%s' % (self.path("data"), self.more))
        log = open(self.path("registry.log"), "wb")
        self.process = subprocess.Popen(["docker-registry", "serve", self.path("conf.yml")],
                                        stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        self.addCleanup(self.end)
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end and self.process.poll() is None:
            with open(self.path("registry.log"), encoding="utf-8") as f:
                found = re.search(r"listening on 127\.0\.0\.1:(\d+)", f.read())
            if found:
                self.registry = "127.0.0.1:" + found.group(1)
                return
            time.sleep(0.02)  # it says nothing but in its log
        with open(self.path("registry.log"), encoding="utf-8") as f:
            self.fail(f.read())

    def end(self):
        self.process.terminate()
        self.process.wait(DEADLINE)

    def ask(self, **what):
        return self.client.ask(**{"host": self.registry, "timeout_ms": 30000, **what})

    def skopeo(self, *args):
        creds = ["--%s-creds" % ("src" if args[0].startswith("docker") else "dest"),
                 self.user] if self.user else []
        side = "src" if args[0].startswith("docker") else "dest"
        subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", "--%s-tls-verify=false" % side,
                        *creds, *args], check=True, env={**os.environ, "HOME": self.dir})

    def test_there_and_back(self):
        for d in self.parts:
            a = self.ask(op="push", repository="a/new", object=d, file=self.blob(d), chunk=300000)
            self.assertEqual((a["r"], a["how"]), (0, "pushed"), a["error"])
            a = self.ask(op="push", repository="a/two", object=d, file=self.blob(d),
                         **{"from": "a/new"})
            self.assertEqual((a["r"], a["how"]), (0, "mounted"), a["error"])
        for repository in ("a/new", "a/two"):
            a = self.ask(op="push_manifest", repository=repository, object="v1", mediatype=MANIFEST,
                         file=self.blob(self.digest))
            self.assertEqual(a["r"], 0, a["error"])
            self.skopeo("docker://%s/%s:v1" % (self.registry, repository),
                        "oci:%s:x" % self.path("back-" + repository[2:]))
        for d in self.parts + [self.digest]:
            with open(self.path("back-two/blobs/sha256/" + d[7:]), "rb") as f:
                self.assertEqual("sha256:" + hashlib.sha256(f.read()).hexdigest(), d)

    def test_what_skopeo_wrote(self):
        self.skopeo("oci:%s:latest" % self.path("image"), "docker://%s/sk:latest" % self.registry)
        for what in ("latest", self.digest):
            a = self.ask(op="resolve", repository="sk", object=what)
            self.assertEqual((a["r"], a["digest"]), (0, self.digest), a["error"])
            a = self.ask(op="manifest", repository="sk", object=what)
            self.assertEqual((a["r"], a["sha256"]), (0, self.digest), a["error"])
        for d in self.parts:
            a = self.ask(op="any", repository="sk", object=d, chunk=100000,
                         length=os.path.getsize(self.blob(d)))
            self.assertEqual((a["r"], a["sha256"]), (0, d), a["error"])
        a = self.ask(op="blob", repository="sk", object="sha256:" + 64 * "0")
        self.assertEqual(a["r"], -errno.ENOENT, a["error"])

    def test_without_credentials(self):
        if self.user is None:
            return
        stranger = Client(self.dir, {"hosts_dir": self.path("certs.d")})
        try:
            a = stranger.ask(op="resolve", host=self.registry, repository="sk", object="latest")
            self.assertEqual(a["r"], -errno.EACCES, a["error"])
        finally:
            stranger.stop()


class Htpasswd(Real):
    user = "me:word"

    def prepare(self):
        line = subprocess.run(["perl", "-e", 'print crypt("word", "\\$2y\\$05\\$" . "a" x 22)'],
                              check=True, stdout=subprocess.PIPE).stdout.decode()
        with open(self.path("htpasswd"), "w", encoding="utf-8") as f:
            f.write("me:%s\n" % line)
        self.more = 'auth: {htpasswd: {realm: real, path: "%s"}}\n' % self.path("htpasswd")


class Tokens(Real):
    user = "me:word"

    def prepare(self):
        self.tokens = TokenServer(self.dir)
        self.addCleanup(self.tokens.server.server_close)
        self.addCleanup(self.tokens.server.shutdown)
        self.more = ('auth: {token: {realm: "%s", service: real, issuer: tests, '
                     'rootcertbundle: "%s"}}\n' % (self.tokens.realm, self.tokens.cert))


class Tls(Real):
    """HTTP/2, by a private CA that hosts.toml names."""

    def prepare(self):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
             "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
             self.path("s.key"), "-out", self.path("s.pem")], check=True, stderr=subprocess.DEVNULL)
        self.more = '  tls: {certificate: "%s", key: "%s"}\n' % (self.path("s.pem"),
                                                                self.path("s.key"))

    def setUp(self):
        super().setUp()
        d = self.path("certs.d/" + self.registry)
        os.makedirs(d)
        with open(d + "/hosts.toml", "w", encoding="utf-8") as f:
            f.write('server = "https://%s"\nca = "%s"\n' % (self.registry, self.path("s.pem")))

    def versions(self):
        """Of HTTP, that the client has asked by."""
        with open(self.path("registry.log"), encoding="utf-8") as f:
            return re.findall(r' HTTP/([\d.]+)" \d+ \d+ "[^"]*" "contentfs', f.read())

    def test_what_skopeo_wrote(self):
        super().test_what_skopeo_wrote()
        self.assertEqual(set(self.versions()), {"2.0"})

    def test_there_and_back(self):
        super().test_there_and_back()
        self.assertEqual(set(self.versions()), {"2.0"})

    def test_what_is_asked_for_at_once_has_a_connection_each(self):
        self.skopeo("oci:%s:latest" % self.path("image"), "docker://%s/sk:latest" % self.registry)
        self.ask(op="resolve", repository="sk", object="latest")
        layer = max(self.parts, key=lambda d: os.path.getsize(self.blob(d)))
        a = self.ask(op="blob", repository="sk", object=layer, threads=6, chunk=500000,
                     length=os.path.getsize(self.blob(layer)))
        self.assertEqual((a["r"], a["sha256"]), (0, layer), a["error"])
        self.client.stop()
        with open(self.path("registry.log"), encoding="utf-8") as f:
            ports = set(re.findall(r'remoteaddr="127.0.0.1:(\d+)".* http.request.uri=[^ ]*%s[^ ]* '
                                   r'.*useragent="?contentfs' % layer, f.read()))
        self.assertGreater(len(ports), 1)


if __name__ == "__main__":
    for program in ("docker-registry", "skopeo", "openssl"):
        if shutil.which(program) is None:
            print(program + " is not installed", file=sys.stderr)
            sys.exit(1 if os.environ.get("STRICT") else 77)
    unittest.main(verbosity=1)
