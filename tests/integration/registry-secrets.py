#!/usr/bin/python3
"""Who gets a secret of ours, and who does not: asserted on what the fake hosts received.

Challenges, tokens, credentials of files and helpers, redirects, mirrors, headers of hosts.toml.
"""
import base64
import errno
import json
import os
import shutil
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from registry_fixture import SIZE, RegistryCase  # noqa: E402

SECRET = "s3cr3t-word"
BASIC = "Basic " + base64.b64encode(("me:" + SECRET).encode()).decode()
USERS = {"me": SECRET}


class Case(RegistryCase):
    def auth_file(self, **document):
        self.env = {"REGISTRY_AUTH_FILE": self.write("auth.json", json.dumps(document))}
        self.start_client(env=self.env)

    def filed(self, *hosts):
        auth = base64.b64encode(("me:" + SECRET).encode()).decode()
        return {h: {"auth": auth} for h in hosts}

    def authorizations(self, host):
        return [e["headers"].get("authorization") for e in self.requests(host)]

    def assert_clean(self, *hosts):
        """These saw no Authorization, and nothing that looks like a secret anywhere."""
        for host in hosts:
            for e in self.requests(host):
                self.assertNotIn("authorization", e["headers"], (host, e["target"]))
                text = json.dumps(e)
                for secret in (SECRET, BASIC.split()[1], "Bearer", "x-secret"):
                    self.assertNotIn(secret, text)

    def assert_silent(self):
        """No secret in what the client has logged or told."""
        for secret in (SECRET, BASIC.split()[1], "Bearer T"):
            self.assertNotIn(secret, self.client.errors())


class Basic(Case):
    conf = {"hosts": {"main": {"auth": {"kind": "basic", "users": USERS}}, "cdn": {}, "other": {
        "auth": {"kind": "basic", "users": {"me": "another"}}}}}

    def test_a_password_is_for_its_host_alone(self):
        self.auth_file(auths=self.filed(self.registry))
        self.good(self.ask())
        self.assertEqual(self.authorizations("main"), [None, BASIC])
        self.good(self.ask())  # and is remembered
        self.assertEqual(self.authorizations("main"), [None, BASIC, BASIC])
        self.assertEqual(self.ask(host=self.hosts["other"])["r"], -errno.EACCES)
        self.assert_clean("other")
        self.assert_silent()

    def test_none_filed_is_said(self):
        self.auth_file(auths={})
        self.bad(self.ask(), errno.EACCES, "nothing is filed", "auth.json")

    def test_no_file_is_said(self):
        self.start_client()
        self.bad(self.ask(), errno.EACCES, "there is no", "config.json")

    def test_a_garbled_file_is_said(self):
        self.start_client(env={"REGISTRY_AUTH_FILE": self.write("auth.json", "{\n\"auths\": nix}")})
        self.bad(self.ask(), errno.EACCES, "auth.json", "line 2")

    def test_a_wrong_password(self):
        self.start_client(credentials="me:wrong")
        self.bad(self.ask(), errno.EACCES, "status 401")
        self.assertLessEqual(len(self.requests("main")), 3)

    def test_credentials_of_the_command_line_are_for_no_mirror(self):
        self.hosts_toml('[host."{other}"]\n')
        self.start_client(credentials="me:" + SECRET)
        self.assertEqual(self.good(self.ask())["host"], self.registry)
        self.assert_clean("other")

    def test_a_password_changes_while_we_run(self):
        self.auth_file(auths=self.filed(self.registry))
        self.good(self.ask())
        self.control("PUT", "host/main", {"auth": {"kind": "basic", "users": {"me": "new"}}})
        new = base64.b64encode(b"me:new").decode()
        self.write("auth.json", json.dumps({"auths": {self.registry: {"auth": new}}}))
        self.good(self.ask())

    def test_redirects_take_nothing_along(self):
        self.auth_file(auths=self.filed(self.registry, self.hosts["cdn"]))
        self.hosts_toml('[header]\nx-secret = "1"\n')
        for code in (301, 302, 303, 307, 308):
            self.rules({"host": "main", "path": "/blobs/", "do": "redirect", "to": "cdn",
                        "code": code})
            self.good(self.ask())
            self.good(self.ask(op="stat") | {"sha256": self.layer})
        self.assertIn("x-secret", self.requests("main")[0]["headers"])
        self.assert_clean("cdn")

    def test_to_the_same_host_they_do(self):
        self.auth_file(auths=self.filed(self.registry))
        self.rules({"path": "/v2/r/blobs/", "do": "redirect", "path": "/v2/r/", "code": 302, "to":
                    "main", "nth": 1})
        self.rules({"path": "/r/blobs/", "do": "redirect", "url": "http://%s/v2/q/blobs/%s" % (
            self.registry, self.layer)})
        self.good(self.ask())
        self.assertEqual(self.authorizations("main")[-1], BASIC)

    def test_the_target_of_a_redirect_may_not_ask(self):
        """A challenge from there is not answered: not with its credentials, not with ours."""
        self.auth_file(auths=self.filed(self.registry, self.hosts["other"]))
        self.rules({"host": "main", "path": "/blobs/", "do": "redirect", "to": "other"})
        self.bad(self.ask(), errno.EACCES, "status 401", self.hosts["other"])
        self.assert_clean("other")


class Bearer(Case):
    conf = {"hosts": {
        "main": {"auth": {"kind": "bearer", "users": USERS, "token_host": "tokens",
                          "anonymous": False, "refresh": {"REFRESH": "me"}}},
        "tokens": {}, "cdn": {}, "other": {}}}

    def change(self, **auth):
        self.control("PUT", "host/main", {"auth": {**self.conf["hosts"]["main"]["auth"], **auth}})

    def test_the_password_is_for_the_token_server_the_token_for_the_registry(self):
        self.auth_file(auths=self.filed(self.registry))
        self.good(self.ask())
        seen = self.authorizations("main")
        self.assertEqual(seen[0], None)
        self.assertTrue(seen[1].startswith("Bearer T"))
        self.assertNotIn(SECRET, json.dumps(self.requests("main")))
        self.assertEqual([e["method"] for e in self.requests("tokens")], ["GET"])
        self.assert_silent()

    def test_the_form_of_a_password(self):
        """POST is not needed: some servers answer it with 401, as if the password were wrong."""
        self.change(post=401)
        self.auth_file(auths=self.filed(self.registry))
        self.good(self.ask())
        t = self.events("token")
        self.assertEqual([e["method"] for e in t], ["GET"])
        self.assertEqual(t[0]["authorization"], BASIC)
        self.assertEqual(t[0]["query"], {"service": ["fake"], "scope": ["repository:r:pull"],
                                         "account": ["me"]})

    def test_post_where_get_is_not_served(self):
        for status in (404, 405):
            self.change(get=status)
            self.control("DELETE", "tokens/main")
            self.auth_file(auths=self.filed(self.registry))
            self.forget()
            self.good(self.ask())
            t = self.events("token")
            self.assertEqual([e["method"] for e in t], ["GET", "POST"])
            self.assertEqual(t[1]["form"], {
                "grant_type": ["password"], "service": ["fake"], "client_id": ["contentfs"],
                "scope": ["repository:r:pull"], "username": ["me"], "password": [SECRET]})

    def test_a_wrong_password_is_tried_once(self):
        self.start_client(credentials="me:wrong")
        self.bad(self.ask(), errno.EACCES, "status 401", "wrong password")
        self.assertEqual(len(self.requests("tokens")), 1)

    def test_an_identity_token(self):
        self.auth_file(auths={self.registry: {"identitytoken": "REFRESH"}})
        self.good(self.ask())
        form = self.events("token")[0]["form"]
        self.assertEqual((form["grant_type"], form["refresh_token"]), (["refresh_token"], ["REFRESH"]))

    def test_anonymous(self):
        self.change(anonymous=True)
        self.auth_file(auths={})
        self.good(self.ask())
        self.assertEqual([(e["method"], e["authorization"]) for e in self.events("token")],
                         [("GET", None)])

    def test_anonymous_is_refused(self):
        self.auth_file(auths={})
        self.bad(self.ask(), errno.EACCES, "status 401", "UNAUTHORIZED: log in", "nothing is filed")

    def test_either_field_holds_the_token(self):
        for field in ("token", "access_token"):
            self.change(field=field)
            self.auth_file(auths=self.filed(self.registry))
            self.good(self.ask())

    def test_one_token_for_many(self):
        self.auth_file(auths=self.filed(self.registry))
        self.good(self.ask(threads=32))
        self.assertEqual(len(self.events("token")), 1)
        self.good(self.ask(chunk=100000, length=SIZE))
        self.assertEqual(len(self.events("token")), 1)

    def test_one_for_each_scope(self):
        self.auth_file(auths=self.filed(self.registry))
        self.good(self.ask())
        self.good(self.ask(repository="other/r"))
        self.good(self.ask())
        self.assertEqual([e["query"]["scope"] for e in self.events("token")],
                         [["repository:r:pull"], ["repository:other/r:pull"]])

    def test_it_expires_in_the_middle_of_a_layer(self):
        self.auth_file(auths=self.filed(self.registry))
        for fault in ({"token_requests": 3}, {"token_bytes": 250000}):
            with self.subTest(fault):
                self.change(**fault)
                self.control("DELETE", "tokens/main")
                self.good(self.ask(chunk=100000, length=SIZE))
        self.rules({"host": "main", "path": "/blobs/", "do": "expire", "every": 4})
        self.good(self.ask(chunk=50000, length=SIZE))
        self.rules({"host": "main", "path": "/blobs/", "do": "cut", "at": 300000, "nth": 1},
                   {"host": "main", "path": "/blobs/", "do": "expire", "nth": 2})
        self.good(self.ask())

    def test_it_is_had_anew_before_it_expires(self):
        self.change(expires_in=1)
        self.auth_file(auths=self.filed(self.registry))
        self.good(self.ask())
        time.sleep(1)  # is what this is about
        self.forget()
        self.good(self.ask())
        self.assertIn(len(self.events("token")), (1,))

    def test_the_token_server_fails_for_a_while(self):
        self.auth_file(auths=self.filed(self.registry))
        for rule in ({"do": "status", "code": 503}, {"do": "drop"}, {"do": "status", "code": 429,
                     "headers": {"Retry-After": "1"}}, {"do": "replace", "text": "{"}):
            with self.subTest(rule):
                self.control("DELETE", "tokens/main")
                self.rules({"host": "tokens", "nth": 1, **rule})
                a = self.ask()
                if rule["do"] == "replace":
                    self.bad(a, errno.EPROTO, "no token in the reply")
                else:
                    self.good(a)

    def test_a_reply_that_is_too_long_to_hold_a_token(self):
        self.auth_file(auths=self.filed(self.registry))
        self.rules({"host": "tokens", "do": "replace", "text": 600000 * "x"})
        self.bad(self.ask(), errno.EPROTO, "/token/main?...: Protocol error")

    def test_a_token_that_no_header_can_hold(self):
        self.auth_file(auths=self.filed(self.registry))
        self.rules({"host": "tokens", "do": "replace", "text": '{"token": "a\\r\\nX-Evil: 1"}'})
        self.bad(self.ask(), errno.EPROTO, "no token in the reply")

    def test_redirects_take_no_token_along(self):
        self.auth_file(auths=self.filed(self.registry, self.hosts["cdn"]))
        self.rules({"host": "main", "path": "/blobs/", "do": "redirect", "to": "cdn"})
        self.good(self.ask())
        self.good(self.ask(chunk=100000, length=SIZE))
        self.assert_clean("cdn")

    def test_the_token_servers_redirects_take_no_password_along(self):
        self.auth_file(auths=self.filed(self.registry))
        self.rules({"host": "tokens", "method": "GET", "do": "redirect", "to": "other",
                    "path": "/token/main"})
        self.ask()
        self.assert_clean("other")
        self.assertIn(BASIC, self.authorizations("tokens"))
        # What holds the password is never sent on.
        self.change(get=405)
        self.rules({"host": "tokens", "method": "POST", "do": "redirect", "to": "other"})
        self.control("DELETE", "tokens/main")
        self.ask()
        self.assert_clean("other")

    def test_a_mirror_cannot_ask_for_what_is_the_registrys(self):
        """It names our token server in its challenge: its own credentials, none, are used."""
        realm = "http://%s/token/main" % self.hosts["tokens"]
        self.control("PUT", "host/other", {"auth": {
            "kind": "bearer", "challenge": 'Bearer realm="%s",service="fake"' % realm}})
        self.hosts_toml('[host."{other}"]\n')
        self.auth_file(auths=self.filed(self.registry))
        self.assertEqual(self.good(self.ask())["host"], self.registry)
        self.assert_clean("other")


class Challenges(Case):
    conf = {"hosts": {"main": {"auth": {"kind": "bearer", "anonymous": True}}, "other": {}}}

    def test_which_are_answered(self):
        realm = "http://%s/token/main" % self.registry
        for text, good in [
                ('Bearer realm="%s",service="fake"', True),
                ('bearer REALM=%s , service = fake', True),
                ('Basic realm="x", Bearer realm="%s"', True),
                ('Negotiate, Digest realm="a, b", nonce="x", Bearer realm="%s",scope="a b"', True),
                ('Negotiate abc==, Bearer realm="%s"', True),
                ('Bearer realm="%s', False), ('Bearer', False), ('Digest realm="x"', False),
                ('', False), ('Bearer realm="ftp://x/"', False),
                ('Bearer realm="http://u:p@127.0.0.1/"', False)]:
            with self.subTest(text):
                self.start_client()
                text = text % realm if "%s" in text else text
                self.control("PUT", "host/main", {"auth": {"kind": "bearer", "anonymous": True,
                                                           "challenge": text}})
                a = self.ask()
                if good:
                    self.good(a)
                else:
                    self.assertIn(a["r"], (-errno.EACCES, -errno.EPROTO), a["error"])


class Helpers(Case):
    conf = Basic.conf

    def helper(self, name, script):
        path = self.write("bin/docker-credential-" + name, "#!/bin/sh\n" + script)
        os.chmod(path, 0o700)
        return {"PATH": self.path("bin") + ":" + os.environ["PATH"],
                "REGISTRY_AUTH_FILE": self.path("auth.json")}

    def start(self, document, script):
        env = self.helper("test", script)
        self.write("auth.json", json.dumps(document))
        self.start_client(env=env)

    GIVES = ('read -r server || :\necho "$1 $server" >>"$HOME/asked"\n'
             'echo "{\\"ServerURL\\": \\"$server\\", \\"Username\\": \\"me\\", '
             '\\"Secret\\": \\"' + SECRET + '\\"}"\n')

    def test_it_is_asked_for_the_host_and_once(self):
        for document in ({"credsStore": "test"}, {"credHelpers": {self.registry: "test"},
                                                  "credsStore": "none"}):
            self.start(document, self.GIVES)
            self.good(self.ask())
            self.good(self.ask(chunk=200000, length=SIZE))
            with open(self.path("asked"), encoding="utf-8") as f:
                self.assertEqual(f.read(), "get %s\n" % self.registry)
            os.unlink(self.path("asked"))

    def test_it_fails(self):
        for script, words in [("echo 'credentials not found in native keychain'; exit 1", "no creden"),
                              ("echo the keychain is locked; exit 1", "the keychain is locked"),
                              ("exit 3", "failed without a word"), ("kill -9 $$", "failed without"),
                              ("echo nonsense", "nothing for"), ("yes", "docker-credential-test")]:
            with self.subTest(script):
                self.start({"credsStore": "test"}, script)
                self.bad(self.ask(), errno.EACCES, words)

    def test_there_is_none(self):
        for name in ("absent", "../x", "a b"):
            self.start({"credsStore": name}, "")
            self.bad(self.ask(), errno.EACCES, "docker-credential-" if name == "absent" else
                     "is no credential helper")

    def test_what_is_filed_serves_when_it_fails(self):
        self.start({"credsStore": "test", "auths": self.filed(self.registry)}, "exit 1")
        self.good(self.ask())

    def test_a_slow_one_holds_up_nobody_else(self):
        self.start({"credHelpers": {self.registry: "test"}}, "exec sleep 50")
        start = time.monotonic()
        self.bad(self.ask(cancel_ms=200), errno.ECANCELED)
        self.good(self.ask(host=self.hosts["cdn"]))
        self.assertLess(time.monotonic() - start, 3)
        # and its end is not waited for: see stop()

    def test_one_that_goes_on_after_its_answer_holds_up_no_stop(self):
        self.start({"credHelpers": {self.registry: "test"}},
                   self.GIVES + "exec <&- >&-\nexec sleep 50")
        self.bad(self.ask(cancel_ms=200), errno.ECANCELED)
        start = time.monotonic()
        self.assertEqual(self.client.stop(), 0)
        self.assertLess(time.monotonic() - start, 10)


class Tls(Case):
    def setUp(self):
        self.conf = {"hosts": {"plain": {}, "main": {}}}
        super().setUp()
        self.fake.terminate()
        self.fake.wait(60)
        self.make_ca()
        pair = {"cert": self.path("server.pem"), "key": self.path("server.key")}
        auth = {"kind": "basic", "users": USERS}
        self.start_fake({"hosts": {
            "main": {"tls": pair, "auth": auth},
            "plain": {}, "cdn": {"tls": pair},
            "both": {"tls": {**pair, "client_ca": self.path("ca.pem")}}}})
        self.registry = self.hosts["main"]
        for host in self.hosts:
            self.image = self.control("POST", "image/" + host, {
                "tag": "latest", "layers": [{"seed": 1, "size": SIZE}]})

    def openssl(self, *args):
        subprocess.run(["openssl", *args], check=True, stderr=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, cwd=self.dir)

    def make_ca(self):
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        self.openssl("req", "-x509", *new, "-days", "2", "-subj", "/CN=ca", "-keyout", "ca.key",
                     "-out", "ca.pem")
        self.write("san", "subjectAltName=IP:127.0.0.1")
        for name in ("server", "client"):
            self.openssl("req", *new, "-subj", "/CN=" + name, "-keyout", name + ".key", "-out",
                         name + ".csr")
            self.openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                         "-CAcreateserial", "-days", "2", "-extfile", "san", "-out", name + ".pem")

    def toml(self, text, host="main"):
        self.hosts_toml('server = "https://%s"\n' % self.hosts[host] + text, self.hosts[host])

    def test_with_its_ca_alone(self):
        self.auth_file(auths=self.filed(self.registry))
        self.toml("")
        self.bad(self.ask(), errno.EACCES, "certificate")
        self.toml('ca = "%s"\n' % self.path("ca.pem"))
        self.good(self.ask())
        self.toml('ca = ["../../ca.pem"]\n')
        self.good(self.ask())
        self.toml('skip_verify = true\n')
        self.good(self.ask())
        self.toml('ca = "absent.pem"\n')
        self.bad(self.ask(), errno.ENOENT, "absent.pem")

    def test_dockers_files(self):
        self.auth_file(auths=self.filed(self.registry))
        d = "certs.d/" + self.registry
        os.makedirs(self.path(d))
        shutil.copy(self.path("ca.pem"), self.path(d + "/ca.crt"))
        self.good(self.ask())

    def test_a_client_certificate_is_for_its_host_alone(self):
        self.start_client()
        self.toml('ca = "%s"\n' % self.path("ca.pem"), "both")
        self.assertLess(self.ask(host=self.hosts["both"])["r"], 0)
        self.toml('ca = "{0}/ca.pem"\nclient = [["{0}/client.pem", "{0}/client.key"]]\n'.format(
            self.dir), "both")
        self.good(self.ask(host=self.hosts["both"]))
        # The CDN would take it; a host that asks for one and is redirected to gets none.
        self.toml('ca = "{0}/ca.pem"\nclient = [["{0}/client.pem", "{0}/client.key"]]\n'.format(
            self.dir), "cdn")
        self.rules({"host": "cdn", "do": "redirect", "to": "both"})
        self.assertLess(self.ask(host=self.hosts["cdn"])["r"], 0)

    def test_nothing_goes_to_plain_http(self):
        self.auth_file(auths=self.filed(self.registry, self.hosts["plain"]))
        self.toml('ca = "%s"\n[header]\nx-secret = "1"\n' % self.path("ca.pem"))
        self.rules({"host": "main", "do": "redirect", "to": "plain"})
        self.good(self.ask())
        self.assert_clean("plain")
        # What has no digest to be checked against does not come that way at all.
        self.bad(self.ask(op="manifest", object="latest"), errno.EPROTO, "plain HTTP")
        self.assertEqual(self.ask(op="manifest", object=self.image["digest"])["r"], 0)

    def test_no_password_to_a_plain_token_server(self):
        realm = "http://%s/token/plain" % self.hosts["plain"]
        self.control("PUT", "host/main", {"auth": {"kind": "bearer", "challenge":
                                                   'Bearer realm="%s"' % realm}})
        self.auth_file(auths=self.filed(self.registry))
        self.toml('ca = "%s"\n' % self.path("ca.pem"))
        self.bad(self.ask(), errno.EACCES, "over plain HTTP")
        self.assertEqual(self.requests("plain"), [])

    def test_no_token_by_plain_http(self):
        realm = "https://%s/token/cdn" % self.hosts["cdn"]
        self.control("PUT", "host/main", {"auth": {"kind": "bearer", "challenge":
                                                   'Bearer realm="%s"' % realm}})
        self.toml('ca = "%s"\n' % self.path("ca.pem"))
        self.start_client()
        self.rules({"host": "cdn", "do": "redirect", "to": "plain"})
        self.bad(self.ask(), errno.EPROTO, "redirected to plain HTTP")
        self.assertEqual(self.requests("plain"), [])


class Proxies(Case):
    conf = {"hosts": {"main": {"proxy": True}, "other": {}}}

    def test_by_environment(self):
        """A name that is no loopback address goes to the proxy, which is asked for the whole URL."""
        self.hosts_toml('server = "http://registry.test"\n', "registry.test:80")
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            self.start_client(env={name: "http://" + self.registry}, max_attempts=1)
            self.forget()
            self.assertLess(self.ask(host="registry.test:80")["r"], 0)  # the proxy knows it not
            self.assertEqual(self.requests("main")[0]["absolute"], "registry.test")
        self.forget()
        self.start_client(env={"http_proxy": "http://" + self.registry, "no_proxy": "*"},
                          max_attempts=1)
        self.assertLess(self.ask(host="registry.test:80")["r"], 0)
        self.assertEqual(self.requests("main"), [])

    def test_none_for_this_machine(self):
        self.start_client(env={"http_proxy": "http://127.0.0.1:1"})
        self.good(self.ask())


class Headers(RegistryCase):
    def test_what_every_request_says(self):
        self.hosts_toml('[header]\nx-one = ["a", "b"]\nX-Two = "c"\n')
        self.good(self.ask())
        self.ask(op="manifest", object="latest")
        blob, manifest = self.requests("main")
        self.assertRegex(blob["headers"]["user-agent"], r"^contentfs/\d")
        self.assertNotIn("accept-encoding", blob["headers"])
        self.assertEqual(blob["headers"]["x-two"], "c")
        self.assertEqual(manifest["headers"]["accept"], ", ".join([
            "application/vnd.docker.distribution.manifest.v2+json",
            "application/vnd.docker.distribution.manifest.list.v2+json",
            "application/vnd.oci.image.manifest.v1+json",
            "application/vnd.oci.image.index.v1+json", "*/*"]))
        self.ask(op="manifest", object="latest", mediatype="application/x")
        self.assertEqual(self.requests("main")[2]["headers"]["accept"], "application/x, */*")

    def test_override_path(self):
        self.hosts_toml('server = "{main}/v2/prefix"\noverride_path = true\n')
        self.ask()
        self.assertTrue(self.requests("main")[0]["path"].startswith("/v2/prefix/r/blobs/"))


if __name__ == "__main__":
    if shutil.which("openssl") is None:
        print("openssl is not installed", file=sys.stderr)
        sys.exit(1 if os.environ.get("STRICT") else 77)
    unittest.main(verbosity=1)
