#!/usr/bin/python3
"""The registry client against everything that the fake registry does wrong.

Of a host that fails for good: the reason is named, in time, and no byte too many is handed out. Of one
that fails for a while, or beside one that is well: the reader sees nothing of it.
"""
import errno
import os
import random
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from registry_fixture import SIZE, RegistryCase  # noqa: E402

POSITIONS = [0, 1, 65536, SIZE // 2, SIZE - 1]


def blobs(rule):
    return {"path": "/blobs/", **rule}


# What a host may do to a blob: (rule, errno when it never stops, words of the reason). None: the
# client gets the right bytes all the same.
FAULTS = [
    ({"do": "status", "code": 500}, errno.EIO, ["status 500: the server failed"]),
    ({"do": "status", "code": 502}, errno.EIO, ["status 502"]),
    ({"do": "status", "code": 429, "headers": {"Retry-After": "0"}}, errno.EIO, ["status 429"]),
    ({"do": "status", "code": 503, "headers": {"Retry-After": "3600"}}, errno.ETIMEDOUT,
     ["status 503"]),
    ({"do": "status", "code": 403, "text": '{"errors":[{"code":"DENIED","message":"no"}]}'},
     errno.EACCES, ["status 403", "DENIED: no"]),
    ({"do": "status", "code": 404}, errno.ENOENT, ["status 404: not found"]),
    ({"do": "status", "code": 401}, errno.EACCES, ["status 401"]),
    ({"do": "status", "code": 418}, errno.EPROTO, ["/blobs/", "status 418"]),
    ({"do": "status", "code": 204}, errno.EPROTO, ["status 204"]),
    ({"do": "status", "code": 302}, errno.EPROTO, ["status 302"]),
    ({"do": "status", "code": 416}, errno.EPROTO, ["status 416"]),
    ({"do": "drop"}, errno.EIO, ["GET"]),
    ({"do": "redirect"}, errno.EPROTO, ["in a circle"]),
    ({"do": "redirect", "url": "ftp://127.0.0.1/x"}, errno.EPROTO, ["no URL"]),
    ({"do": "redirect", "url": "http://u:p@127.0.0.1/x"}, errno.EPROTO, ["no URL"]),
    ({"do": "huge_headers", "bytes": 400000}, errno.EPROTO, ["header of more than"]),
    ({"do": "header", "name": "Content-Encoding", "value": "br"}, errno.EPROTO, ["encoded"]),
    ({"do": "gzip"}, errno.EPROTO, ["encoded"]),
    ({"do": "gzip", "cut": 100}, errno.EPROTO, ["encoded"]),
    ({"do": "length", "by": 10}, errno.EPROTO, ["size"]),
    ({"do": "length", "by": -10}, errno.EPROTO, ["size"]),
    ({"do": "no_length"}, None, []),
    ({"do": "chunked"}, None, []),
    ({"do": "drip", "what": "headers", "bytes": 1, "pause": 0.1}, errno.ETIMEDOUT, ["GET"]),
    ({"do": "drip", "what": "body", "bytes": 1, "pause": 0.1}, errno.ETIMEDOUT, ["bytes in"]),
]
# Where a reply stops: at each position.
STOPS = ["cut", "reset", "stall"]
# What is wrong with a range alone.
RANGE_FAULTS = [
    ({"do": "content_range", "value": "bytes 0-0/1"}, "another range"),
    ({"do": "content_range", "by": 1}, "another range"),
    ({"do": "content_range", "by": -1}, "another range"),
    ({"do": "content_range", "value": "bytes x"}, "without a valid Content-Range"),
    ({"do": "content_range", "value": "bytes */5"}, "without a valid Content-Range"),
    ({"do": "header", "name": "Content-Range", "value": None}, "without a valid Content-Range"),
    ({"do": "length", "by": 1}, "contradicts"),
]


class Alone(RegistryCase):
    """One host, which never stops failing."""
    options = {"stall_ms": 300, "connect_ms": 2000, "max_attempts": 3}

    def test_the_reason_is_named_in_time(self):
        for rule, number, words in FAULTS:
            with self.subTest(rule):
                self.rules(blobs(rule))
                start = time.monotonic()
                a = self.ask(size=SIZE, timeout_ms=8000)
                self.assertLess(time.monotonic() - start, 9)
                if number is None:
                    self.good(a)
                else:
                    self.bad(a, number, *words)
                    self.assertLess(a["n"], SIZE)
                self.assertGreater(self.applied()[0], 0)

    def test_a_wrong_content_range(self):
        for rule, words in RANGE_FAULTS:
            for first in [1, SIZE // 3]:
                with self.subTest(rule, first=first):
                    self.rules(blobs({**rule, "range": True}))
                    a = self.ask(offset=first, length=5000)
                    self.bad(a, errno.EPROTO, words)
                    self.assertEqual(a["n"], 0)

    def test_a_reply_that_always_stops_at_the_same_byte(self):
        for do, number in [("cut", errno.EIO), ("stall", errno.ETIMEDOUT)]:
            for at in POSITIONS:
                with self.subTest(do, at=at):
                    self.rules(blobs({"do": do, "at": at}))
                    a = self.ask(size=SIZE)
                    self.bad(a, number, "GET")
                    self.assertEqual(a["n"], at)

    def test_a_reply_that_stops_at_once_every_time(self):
        for do, number in [("cut", errno.EIO), ("reset", errno.EIO), ("stall", errno.ETIMEDOUT)]:
            with self.subTest(do):
                self.rules(blobs({"do": do}))
                a = self.ask(size=SIZE)
                self.bad(a, number, "GET")
                self.assertEqual(a["n"], 0)

    def test_a_deadline_ends_it(self):
        self.rules(blobs({"do": "rate", "bytes_per_s": 20000}))
        start = time.monotonic()
        self.bad(self.ask(size=SIZE, timeout_ms=1000), errno.ETIMEDOUT, "deadline passed")
        self.assertLess(time.monotonic() - start, 2)

    def test_nobody_listens(self):
        self.control("PUT", "host/main", {"up": False})
        self.bad(self.ask(), errno.EIO, "connect")

    def test_huge_manifests(self):
        for by in [{"do": "pad", "bytes": 5 << 20}, {"do": "pad", "bytes": 5 << 20, "and": 1}]:
            more = [{"do": "chunked", "path": "/manifests/"}] if "and" in by else []
            self.rules({"path": "/manifests/", **by}, *more)
            self.bad(self.ask(op="manifest", object="latest"), errno.E2BIG, "more than 4 MiB")
            self.bad(self.ask(op="manifest", object=self.image["digest"]), errno.E2BIG)
        self.rules({"path": "/manifests/", "do": "pad", "bytes": 5 << 20})
        self.bad(self.ask(op="resolve", object="latest"), errno.E2BIG, "more than 4 MiB")

    def test_a_manifest_that_contradicts_its_digest(self):
        self.rules({"path": "/manifests/", "do": "replace", "text": "{}"})
        for what in ("latest", self.image["digest"]):
            a = self.ask(op="manifest", object=what)
            self.bad(a, errno.EBADMSG, "contradict the digest")
            self.assertEqual(a["n"], 0)

    def test_a_blob_of_another_size(self):
        self.bad(self.ask(size=SIZE + 1), errno.EPROTO, "not the size that it should have")
        self.bad(self.ask(size=SIZE - 1), errno.EPROTO, "not the size that it should have")
        self.bad(self.ask(offset=SIZE + 5, length=5), errno.EPROTO)

    def test_cancelling_takes_no_time(self):
        self.rules(blobs({"do": "stall", "at": 100}))
        a = self.ask(cancel_ms=150)
        self.bad(a, errno.ECANCELED)
        self.assertLess(a["ms"], 100)

    def test_what_is_no_name(self):
        for what in [{"repository": "../x"}, {"repository": ""}, {"repository": "a//b"},
                     {"object": "latest"}, {"object": "sha256:00"}, {"host": "a/b"},
                     {"host": ""}, {"object": "sha512:" + 128 * "0"}, {"repository": "a?b"},
                     {"mediatype": "a\r\nX: y"}, {"repository": "a\nb"}]:
            with self.subTest(what):
                self.bad(self.ask(**what), errno.EINVAL)


class ForAWhile(RegistryCase):
    """One host, which fails once or some times."""
    options = {"stall_ms": 300, "connect_ms": 2000}

    def test_nobody_notices(self):
        passing = [f[0] for f in FAULTS if f[1] in (errno.EIO, errno.ETIMEDOUT, None)
                   and f[0].get("headers", {}).get("Retry-After") != "3600"]
        for rule in passing:
            for nth in [1, [1, 2]]:
                with self.subTest(rule, nth=nth):
                    self.rules(blobs({**rule, "nth": nth}))
                    self.good(self.ask(size=SIZE))
                    self.good(self.ask())

    def test_wherever_it_stops(self):
        for do in STOPS:
            for at in POSITIONS:
                with self.subTest(do, at=at):
                    self.rules(blobs({"do": do, "at": at, "nth": [1, 2]}))
                    self.forget()
                    self.good(self.ask())
                    firsts = [e["range"] for e in self.requests()]
                    self.assertIsNone(firsts[0])
                    if at > 1 and do != "reset":  # a reset may take bytes back
                        self.assertEqual(firsts[1], "bytes=%d-%d" % (at, SIZE - 1))

    def test_ranges_are_ignored(self):
        self.rules(blobs({"do": "cut", "at": 600000, "nth": 1}), blobs({"do": "ignore_range"}))
        self.good(self.ask())
        whole = self.ask(offset=0, length=SIZE)
        part = self.ask(offset=500000, length=1000)
        self.assertEqual((part["r"], part["n"], part["size"]), (0, 1000, SIZE))
        self.rules()
        self.assertEqual(part["sha256"], self.ask(offset=500000, length=1000)["sha256"])
        self.good(whole)

    def test_retry_after_is_waited_for(self):
        self.rules(blobs({"do": "status", "code": 429, "nth": 1, "headers": {"Retry-After": "1"}}))
        start = time.monotonic()
        self.good(self.ask())
        self.assertGreater(time.monotonic() - start, 0.99)
        self.assertEqual(len(self.requests()), 2)

    def test_a_burst_of_errors(self):
        self.rules(blobs({"do": "status", "code": 503, "nth": [1, 4]}))
        self.good(self.ask())
        self.assertEqual(len(self.requests()), 5)

    def test_many_breaks_in_one_blob(self):
        """Each reply a hundred kilobytes: progress, so that it may go on for ever."""
        self.rules(*[blobs({"do": "cut", "at": 100000 * k, "nth": [1, k]}) for k in range(1, 11)])
        self.good(self.ask())
        self.assertEqual(self.ask()["stats"]["failovers"], 0)

    def test_a_slow_reader(self):
        a = self.ask(slow_ms=50, size=SIZE)
        self.good(a)
        self.assertEqual(a["stats"]["retries"], 0)

    def test_head_is_not_served(self):
        for code in [405, 400, 501]:
            self.rules({"method": "HEAD", "do": "status", "code": code})
            a = self.ask(op="resolve", object="latest")
            self.assertEqual((a["r"], a["digest"]), (0, self.image["digest"]))
            a = self.ask(op="stat")
            self.assertEqual((a["r"], a["size"]), (0, SIZE))

    def test_head_says_too_little(self):
        for name in ["Docker-Content-Digest", "Content-Length"]:
            self.rules({"method": "HEAD", "do": "header", "name": name, "value": None})
            a = self.ask(op="resolve", object="latest")
            self.assertEqual((a["r"], a["digest"]), (0, self.image["digest"]), a["error"])
            self.assertGreater(a["size"], 100)

    def test_random_ranges_through_random_faults(self):
        seed = int(os.environ.get("SEED", time.time_ns() & 0xffffffff))
        rng = random.Random(seed)
        self.rules()
        self.good(self.ask(out=self.path("blob")))
        with open(self.path("blob"), "rb") as f:
            data = f.read()
        for i in range(60):
            rule = rng.choice([f[0] for f in FAULTS if f[1] in (errno.EIO, None)] + [
                {"do": d, "at": rng.randrange(SIZE)} for d in STOPS] + [{"do": "ignore_range"}])
            first = rng.randrange(SIZE)
            n = rng.randrange(1, SIZE - first + 1)
            with self.subTest(seed=seed, i=i, rule=rule, first=first, n=n):
                self.rules(blobs({**rule, "nth": [1, rng.randrange(1, 3)]}))
                self.good(self.ask(offset=first, length=n), data[first:first + n])


class Mirrors(RegistryCase):
    """A mirror that fails, then the registry, which is well."""
    options = {"stall_ms": 300, "connect_ms": 2000}

    def setUp(self):
        super().setUp()
        self.hosts_toml('[host."{other}"]\ncapabilities = ["pull", "resolve"]\n')

    def test_the_mirror_comes_first_and_is_told_whose_it_is(self):
        self.assertEqual(self.good(self.ask())["host"], self.hosts["other"])
        self.assertEqual([e["host"] for e in self.requests()], ["other"])
        self.assertTrue(self.requests()[0]["target"].endswith(
            "?ns=" + self.registry.replace(":", "%3A")))

    def test_no_fault_of_it_is_seen(self):
        for rule, _, _ in FAULTS:
            with self.subTest(rule):
                self.rules(blobs({**rule, "host": "other"}))
                self.good(self.ask(size=SIZE))
                if rule["do"] != "length":  # without the size nobody can tell
                    self.good(self.ask())

    def test_nor_wherever_it_stops(self):
        for do in STOPS:
            for at in POSITIONS:
                with self.subTest(do, at=at):
                    self.rules(blobs({"do": do, "at": at, "host": "other"}))
                    self.good(self.ask())

    def test_nor_what_is_wrong_with_its_ranges(self):
        for rule, _ in RANGE_FAULTS:
            with self.subTest(rule):
                self.rules()
                want = self.ask(offset=7, length=70000)
                self.rules(blobs({**rule, "host": "other", "range": True}))
                a = self.ask(offset=7, length=70000)
                self.assertEqual((a["r"], a["sha256"]), (0, want["sha256"]), a["error"])

    def test_nor_its_manifests(self):
        for rule in [{"do": "replace", "text": "{}"}, {"do": "pad", "bytes": 5 << 20},
                     {"do": "pad", "bytes": 1}, {"do": "status", "code": 404}, {"do": "cut", "at": 10},
                     {"do": "gzip", "cut": 3}]:
            with self.subTest(rule):
                self.rules({**rule, "path": "/manifests/", "host": "other"})
                a = self.ask(op="manifest", object="latest")
                self.assertEqual((a["r"], a["digest"]), (0, self.image["digest"]), a["error"])

    def test_it_is_gone(self):
        self.control("PUT", "host/other", {"up": False})
        start = time.monotonic()
        self.good(self.ask())
        self.assertLess(time.monotonic() - start, 1)

    def test_its_break_in_the_middle_is_gone_on_with_elsewhere(self):
        self.rules(blobs({"do": "stall", "at": 500000, "host": "other"}))
        self.good(self.ask())
        self.assertEqual([(e["host"], e["range"]) for e in self.requests()],
                         [("other", None), ("main", "bytes=500000-%d" % (SIZE - 1))])

    def test_it_is_avoided(self):
        a = self.good(self.ask(avoid=self.hosts["other"]))
        self.assertEqual(a["host"], self.registry)
        both = "%s %s" % (self.registry, self.hosts["other"])
        self.bad(self.ask(avoid=both), errno.EIO, "no host is left")

    def test_both_say_no(self):
        self.rules(blobs({"do": "status", "code": 404, "host": "main"}),
                   blobs({"do": "status", "code": 500, "host": "other"}))
        self.bad(self.ask(), errno.ENOENT, self.registry)

    def test_what_a_host_may_be_asked(self):
        self.hosts_toml('[host."{other}"]\ncapabilities = ["pull"]\n')
        self.assertEqual(self.ask(op="resolve", object="latest")["host"], self.registry)
        self.assertEqual(self.ask()["host"], self.hosts["other"])

    def test_the_file_is_read_again_when_it_changes(self):
        self.assertEqual(self.ask()["host"], self.hosts["other"])
        self.hosts_toml("")
        self.assertEqual(self.ask()["host"], self.registry)
        self.hosts_toml('server = "{other}"\n')
        self.assertEqual(self.ask()["host"], self.hosts["other"])
        self.hosts_toml('server = {other}\n')
        self.bad(self.ask(), errno.EINVAL, "hosts.toml", "line 1")
        os.unlink(self.path("certs.d/%s_/hosts.toml" % self.registry.replace(":", "_")))
        self.assertEqual(self.ask()["host"], self.registry)


class Many(RegistryCase):
    def test_many_at_once(self):
        self.rules(blobs({"do": "cut", "every": 3}), blobs({"do": "status", "code": 500, "every": 7}))
        self.good(self.ask(threads=48))

    def test_connections_are_kept(self):
        self.good(self.ask(chunk=10000, length=SIZE))
        self.assertEqual(len(self.requests()), 101)
        self.assertEqual(len({e["conn"] for e in self.requests()}), 1)


if __name__ == "__main__":
    unittest.main(verbosity=1)
