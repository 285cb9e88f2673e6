#!/usr/bin/python3
"""The registry client pushes: whole, in chunks, mounted, through faults, refused."""
import errno
import hashlib
import json
import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from registry_fixture import SIZE, RegistryCase  # noqa: E402

CHUNK = 100000
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Case(RegistryCase):
    def setUp(self):
        super().setUp()
        self.data = os.urandom(SIZE)
        with open(self.path("blob"), "wb") as f:
            f.write(self.data)
        self.digest = "sha256:" + hashlib.sha256(self.data).hexdigest()

    def push(self, **what):
        return self.ask(**{"op": "push", "file": self.path("blob"), "object": self.digest,
                           "repository": "new", "chunk": CHUNK, **what})

    def pushed(self, answer, how="pushed", repository="new"):
        self.assertEqual((answer["r"], answer["how"]), (0, how), answer["error"])
        back = self.ask(repository=repository, object=self.digest)
        self.assertEqual((back["r"], back["sha256"]), (0, self.digest), back["error"])

    def methods(self):
        return [e["method"] for e in self.requests()]


class Push(Case):
    conf = {"hosts": {"main": {"repositories": {"r": []}}, "other": {}}}

    def test_in_chunks(self):
        a = self.push()
        self.assertEqual(self.methods(), ["HEAD", "POST"] + 11 * ["PATCH"] + ["PUT"])
        self.assertEqual(a["n"], SIZE)
        self.pushed(a)
        self.forget()
        self.pushed(self.push(), "there")
        self.assertEqual(self.methods(), ["HEAD", "GET"])

    def test_who_pushes_may_stop(self):
        a = self.push(stop_at=3 * CHUNK)
        self.assertEqual((a["r"], a["n"]), (-errno.ECANCELED, 3 * CHUNK))
        self.assertEqual(self.methods(), ["HEAD", "POST"] + 3 * ["PATCH"])

    def test_a_reply_without_end(self):
        self.rules({"method": "POST", "do": "pad", "bytes": 1 << 20},
                   {"method": "POST", "do": "rate", "bytes_per_s": 100000})
        a = self.push()
        self.assertLess(a["ms"], 5000)
        self.pushed(a)

    def test_in_one(self):
        a = self.push(chunk=0)
        self.assertEqual(self.methods(), ["HEAD", "POST", "PATCH", "PUT"])
        self.pushed(a)

    def test_nothing_and_one_byte(self):
        for data in (b"", b"x"):
            with open(self.path("blob"), "wb") as f:
                f.write(data)
            self.digest = "sha256:" + hashlib.sha256(data).hexdigest()
            self.pushed(self.push())

    def test_mounted(self):
        self.pushed(self.push(repository="old"), repository="old")
        self.forget()
        a = self.push(**{"from": "old"})
        self.assertEqual(self.methods(), ["HEAD", "POST"])
        self.pushed(a, "mounted")

    def test_not_to_be_mounted(self):
        for conf, rule in [({"mount": False}, []), ({}, [{"method": "POST", "path": "mount=",
                                                          "do": "status", "code": 403}])]:
            self.control("PUT", "host/main", {"mount": True, **conf})
            self.rules(*rule)
            self.pushed(self.push(repository="n%d" % len(rule), **{"from": "absent"}),
                        repository="n%d" % len(rule))

    def test_the_state_in_a_location_comes_back(self):
        self.control("PUT", "host/main", {"upload_query": True})
        self.pushed(self.push())

    def test_chunks_as_large_as_the_registry_wants(self):
        self.control("PUT", "host/main", {"chunk_min": 400000})
        self.pushed(self.push())
        self.assertEqual(self.methods().count("PATCH"), 3)

    def test_chunks_are_refused(self):
        for code in (404, 405, 411):
            self.rules({"method": "PATCH", "do": "status", "code": code})
            self.pushed(self.push(repository="n%d" % code), repository="n%d" % code)

    def test_faults_on_the_way(self):
        for i, rule in enumerate([
                {"method": "PATCH", "do": "drop", "nth": 1}, {"method": "PATCH", "do": "drop", "nth": 5},
                {"method": "PATCH", "do": "status", "code": 503, "nth": [3, 4]},
                {"method": "PATCH", "do": "status", "code": 416, "nth": 3},
                {"method": "POST", "do": "status", "code": 500, "nth": 1},
                {"method": "POST", "do": "drop", "nth": 1},
                {"method": "PUT", "do": "status", "code": 500, "nth": 1},
                {"method": "PUT", "do": "drop", "nth": 1},
                {"method": "PUT", "do": "cut", "nth": 1},
                {"method": "HEAD", "do": "drop", "nth": 1},
                {"method": "PATCH", "do": "cut", "nth": 4}]):
            with self.subTest(rule):
                self.rules(rule)
                a = self.push(repository="n%d" % i)
                self.assertEqual(self.applied()[0] > 0, True)
                self.rules()
                self.pushed(a, repository="n%d" % i)

    def test_it_never_gets_better(self):
        for rule, number, words in [
                ({"method": "PATCH", "do": "drop"}, errno.EIO, "PATCH"),
                ({"method": "PATCH", "do": "status", "code": 503}, errno.EIO, "status 503"),
                ({"method": "POST", "do": "status", "code": 405}, errno.EOPNOTSUPP, "status 405"),
                ({"method": "POST", "do": "status", "code": 403}, errno.EACCES, "status 403"),
                ({"method": "PUT", "do": "status", "code": 413}, errno.E2BIG, "status 413"),
                ({"method": "POST", "do": "header", "name": "Location", "value": None},
                 errno.EPROTO, "without a Location"),
                ({"method": "POST", "do": "header", "name": "Location", "value": "ftp://x/"},
                 errno.EPROTO, "no URL")]:
            with self.subTest(rule):
                self.start_client(max_attempts=2)
                self.rules(rule)
                self.bad(self.push(), number, words)

    def test_bytes_that_are_not_those_of_the_digest(self):
        self.bad(self.push(object="sha256:" + 64 * "0"), errno.EBADMSG, "DIGEST_INVALID")

    def test_a_read_only_registry(self):
        self.control("PUT", "host/main", {"read_only": True})
        self.bad(self.push(), errno.EOPNOTSUPP, "status 405")

    def test_no_push_where_hosts_toml_says_so(self):
        self.hosts_toml('server = "{main}"\ncapabilities = ["pull"]\n[host."{other}"]\n'
                        'capabilities = ["pull", "resolve"]\n')
        self.bad(self.push(), errno.EACCES, "no host that may be pushed to")
        self.assertEqual(self.requests("other"), [])

    def test_a_manifest(self):
        self.push()
        document = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": self.digest,
            "size": SIZE}, "layers": []}).encode()
        with open(self.path("manifest"), "wb") as f:
            f.write(document)
        digest = "sha256:" + hashlib.sha256(document).hexdigest()
        what = {"op": "push_manifest", "file": self.path("manifest"), "mediatype": MANIFEST,
                "repository": "new"}
        for reference in ("v1", digest):
            self.assertEqual(self.ask(**what, object=reference)["r"], 0)
            back = self.ask(op="manifest", repository="new", object=reference)
            self.assertEqual((back["r"], back["sha256"]), (0, digest), back["error"])
        self.bad(self.ask(**what, object="a b"), errno.EINVAL)
        self.rules({"method": "PUT", "do": "header", "name": "Docker-Content-Digest",
                    "value": self.digest})
        self.bad(self.ask(**what, object="v2"), errno.EPROTO, "filed under")


class Authorized(Case):
    conf = {"hosts": {"main": {"repositories": {"r": []}, "auth": {
        "kind": "bearer", "users": {"me": "word"}, "anonymous": True}}, "other": {}}}
    options = {**RegistryCase.options, "credentials": "me:word"}

    def test_with_a_token_for_pushing(self):
        self.pushed(self.push())
        scopes = [e["query"]["scope"] for e in self.events("token")]
        self.assertEqual(scopes[0][0], "repository:new:pull,push")

    def test_with_one_for_both_repositories(self):
        self.pushed(self.push(repository="old"), repository="old")
        self.forget()
        self.pushed(self.push(**{"from": "old"}), "mounted")
        self.assertIn("repository:old:pull", self.events("token")[0]["query"]["scope"])

    def test_it_is_taken_back_in_the_middle(self):
        self.rules({"method": "PATCH", "do": "expire", "nth": [3, 3]})
        self.pushed(self.push())

    def test_not_anonymously(self):
        self.start_client(credentials="")
        self.assertEqual(self.push()["r"], -errno.EACCES)

    def test_a_location_elsewhere_gets_no_token(self):
        self.rules({"method": "POST", "do": "header", "name": "Location",
                    "value": "http://%s/v2/x/blobs/uploads/1" % self.hosts["other"]})
        self.assertLess(self.push()["r"], 0)
        self.assertGreater(len(self.requests("other")), 0)
        for e in self.requests("other"):
            self.assertNotIn("authorization", e["headers"])


if __name__ == "__main__":
    unittest.main(verbosity=1)
