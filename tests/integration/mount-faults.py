#!/usr/bin/python3
"""Everything that the fake registry does wrong, read through the mount with plain reads.

A table: each fault, at each position, strict and at-eof, alone and beside a good mirror. Of a host that
fails for good every read ends in time with an error, the reason is named, and no reader comes to a
clean end of wrong bytes; once the host is well the next read succeeds. Beside a good mirror there is no
error at all. SEED=n repeats the offsets of the random reads.
"""
import errno
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../lib"))
from mounted_store import MountedStore  # noqa: E402
from registry_fixture import FakeCase  # noqa: E402

CHUNK = 1 << 20
SIZE = 2 * CHUNK + 300001  # three chunks, asked for in several ranges
MIDDLE, LAST = CHUNK + 5003, SIZE - 1
READ_S, HOST_S = 3, 0.3
# Where no read may fail, none does on a machine that is short of time either.
PATIENT = 15, 1
SLACK_S = 1.5  # of a busy machine
AT_ONCE = 20

IO = {errno.EIO, errno.ETIMEDOUT}  # the deadline may come before the last try
WRONG = {errno.EIO, errno.EBADMSG}
REFUSED, ABSENT, BROKEN = {errno.EACCES}, {errno.ENOENT}, {errno.EIO}


class Case:
    """rules of the faulty host; errnos: None where the reader must not notice; words: of the
    reason, one of them; wrong: its bytes are, so that at-eof may have given out some."""

    def __init__(self, name, rules, errnos, *words, wrong=False):
        self.name, self.rules, self.errnos, self.words = name, rules, errnos, words
        self.wrong = wrong
        self.digest = None

    def on_wire(self, repository=None):
        path = "/v2/%s/blobs/%s" % (repository or "[^/]*", self.digest)
        return [{"host": "main", "method": "GET", "path": path, **r} for r in self.rules]


def one(do, **more):
    return [{"do": do, **more}]


def headers():
    """Faults in front of the first byte."""
    status = [(500, IO), (502, IO), (503, IO), (404, ABSENT), (410, ABSENT), (403, REFUSED),
              (401, REFUSED), (418, BROKEN), (204, BROKEN), (302, BROKEN), (416, BROKEN)]
    yield from [Case("status %d" % s, one("status", code=s), e, "status %d" % s)
                for s, e in status]
    for s, after, e in [(429, "0", IO), (429, "1", IO), (429, "3600", IO), (503, "3600", IO)]:
        yield Case("status %d, retry after %s" % (s, after),
                   one("status", code=s, headers={"Retry-After": after}), e, "status %d" % s)
    yield Case("no answer", one("drop"), IO, "GET")
    yield Case("silence", one("delay", seconds=5), IO, "no byte for")
    yield Case("dripping headers", one("drip", what="headers", bytes=1, pause=0.05), IO,
               "bytes in", "no byte for")
    yield Case("huge headers", one("huge_headers", bytes=400000), BROKEN, "header of more than")
    yield Case("redirect loop", one("redirect"), BROKEN, "in a circle")
    yield Case("redirect to ftp", one("redirect", url="ftp://127.0.0.1/x"), BROKEN, "no URL")
    yield Case("redirect with a password", one("redirect", url="http://u:p@127.0.0.1/x"), BROKEN,
               "no URL")
    yield Case("redirect to nobody", one("redirect", url="http://127.0.0.1:1/x"), IO, "connect")
    yield Case("encoding", one("header", name="Content-Encoding", value="br"), BROKEN, "encoded")
    yield Case("gzip", one("gzip"), BROKEN, "encoded")
    yield Case("gzip, cut", one("gzip", cut=100), BROKEN, "encoded")
    yield Case("200 for 206", one("ignore_range"), None)
    yield Case("no length", one("no_length"), None)
    yield Case("chunked", one("chunked"), None)
    for by in (1, 10, -1, -10):
        yield Case("length %+d" % by, one("length", by=by), BROKEN, "contradicts", "size")
        yield Case("200 for 206, length %+d" % by, one("ignore_range") + one("length", by=by),
                   BROKEN, "size")
    for value in ("bytes 0-0/1", "bytes x", "bytes */5", None):
        yield Case("content range %s" % value,
                   [{"do": "header", "name": "Content-Range", "value": value, "range": True}], BROKEN,
                   "another range", "Content-Range")
    for by in (1, -1, CHUNK):
        yield Case("content range %+d" % by, [{"do": "content_range", "by": by, "range": True}],
                   BROKEN, "another range", "Content-Range")


def bodies():
    """Faults at a byte of the blob."""
    for name, at in (("first", 0), ("second", 1), ("middle", MIDDLE), ("last", LAST)):
        for do in ("cut", "reset"):
            yield Case("%s at the %s byte" % (do, name), one(do, at=at), IO, "GET")
        yield Case("stall at the %s byte" % name, one("stall", at=at), IO, "no byte for")
        yield Case("chunked, ended early at the %s byte" % name,
                   one("chunked") + one("cut", at=at), IO, "GET")
        yield Case("no length, ended early at the %s byte" % name,
                   one("no_length") + one("cut", at=at), IO, "GET")
        yield Case("200 for 206, cut at the %s byte" % name,
                   one("ignore_range") + one("cut", at=at), IO, "GET")
        yield Case("wrong %s byte" % name, one("flip", at=at), WRONG, "unexpected digest",
                   wrong=True)
        to = {"do": "redirect", "to": "cdn", "at": at}
        yield Case("elsewhere, cut at the %s byte" % name, [to, {"host": "cdn", "do": "cut", "at": at}],
                   IO, "GET")
        yield Case("elsewhere, wrong %s byte" % name,
                   [to, {"host": "cdn", "do": "flip", "at": at}], WRONG, "unexpected digest",
                   wrong=True)
    yield Case("everything wrong", one("flip", at=0, count=SIZE), WRONG, "unexpected digest",
               wrong=True)
    yield Case("bytes of the next place", one("shift", by=1), WRONG, "unexpected digest", wrong=True)
    yield Case("dripping", one("drip", bytes=1, pause=0.05), IO, "bytes in")
    yield Case("elsewhere, refused", [{"do": "redirect", "to": "cdn"},
                                      {"host": "cdn", "do": "status", "code": 403}],
               REFUSED | IO, "status 403")


def passing(cases):
    """Those that a host gets over: it is well after some requests."""
    for c in cases:
        if c.errnos in (IO, None) and "3600" not in c.name:
            for nth in (1, [1, 2]):
                yield Case("%s, times %s" % (c.name, nth), [{**r, "nth": nth} for r in c.rules], None)


class Reading:
    """What one reader met."""

    def __init__(self):
        self.errno = None
        self.wrong = self.ended = False
        self.slowest = 0.0

    def timed(self, call):
        """What call() returns; None: an error."""
        start = time.monotonic()
        try:
            return call()
        except OSError as e:
            self.errno = e.errno
            return None
        finally:
            self.slowest = max(self.slowest, time.monotonic() - start)

    def open(self, path):
        """Strict waits here, at-eof in the reads."""
        return self.timed(lambda: os.open(path, os.O_RDONLY))

    def read(self, call, at, n, want):
        data = self.timed(call)
        if data is None:
            return None
        self.wrong = self.wrong or data != want[at:at + len(data)] or len(data) > n
        return data

    def in_order(self, path, want):
        at, fd = 0, self.open(path)
        if fd is None:
            return self
        try:
            while True:
                data = self.read(lambda: os.read(fd, 100000), at, 100000, want)
                if not data:
                    break
                at += len(data)
            self.ended = data is not None
            self.wrong = self.wrong or (self.ended and at != len(want))
        finally:
            os.close(fd)
        return self

    def here_and_there(self, path, want, rng):
        """Up to the first error; the end of the blob comes last."""
        places = [(rng.randrange(len(want)), rng.randrange(1, 50000)) for _ in range(8)]
        fd = self.open(path)
        if fd is None:
            return self
        try:
            for at, n in places + [(len(want) - 100, 100)]:
                if self.read(lambda at=at, n=n: os.pread(fd, n, at), at, n, want) is None:
                    return self
            self.ended = True
        finally:
            os.close(fd)
        return self


class Mounted(FakeCase):
    """Hosts main, mirror and cdn of the same blobs; main is the one that fails."""

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="contentfs-test.")
        self.addCleanup(shutil.rmtree, self.dir)
        made = os.path.join(self.dir, "state/main/made")
        self.blobs = os.path.join(made, "blobs/sha256")
        self.start_fake({"hosts": {"main": self.main, "mirror": {"content": [made]},
                                   "cdn": {"content": [made]}}})
        self.addCleanup(self.end_fake)
        self.fs = None
        self.n_mounts = 0

    main = {}

    def end_fake(self):
        self.fake.terminate()
        self.fake.wait(60)

    def mount(self, verify, registry, hosts, times=(READ_S, HOST_S)):
        """The repository app of registry, which hosts stand for in this order; times: how long a
        read may take, and a host be silent."""
        d = os.path.join(self.dir, "mount%d" % self.n_mounts)
        self.n_mounts += 1
        registry = self.hosts[registry]
        certs = os.path.join(d, "certs.d", registry.replace(":", "_") + "_")
        os.makedirs(certs)
        with open(certs + "/hosts.toml", "w", encoding="utf-8") as f:
            f.write('server = "http://%s"\n' % registry)
            f.writelines('[host."http://%s"]\n' % self.hosts[h] for h in hosts)
        self.read_s, host_s = times
        self.fs = MountedStore(d, "--source", registry + "/app", "--verify", verify, "--read-timeout",
                               "%ds" % self.read_s, "--host-timeout", "%dms" % (host_s * 1000),
                               "--hosts-dir", os.path.dirname(certs))

    def learn(self, image):
        with open(self.fs.path(image["digest"]), "rb") as f:
            f.read()


class Table(Mounted):
    """Each way of verifying, alone and mirrored, with the same blobs, one for each case."""

    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("SEED", time.time_ns() & 0xffffffff))
        self.name, self.verify, self.mirrored = None, None, False
        self.found = []
        self.lock = threading.Lock()
        self.cases = list(headers()) + list(bodies())
        self.n_lasting = len(self.cases)
        self.cases += list(passing(self.cases))
        self.image = self.control("POST", "image/main", {
            "layers": [{"seed": i, "size": SIZE} for i in range(len(self.cases))]})
        for c, layer in zip(self.cases, self.image["layers"]):
            c.digest = layer["digest"]

    def want(self, c):
        with open(os.path.join(self.blobs, c.digest[7:]), "rb") as f:
            return f.read()

    def complain(self, c, what):
        with self.lock:
            self.found.append("%s: %s: %s (%s)" % (self.name, c.name, what, self.fs.error(c.digest)))

    def read_both(self, c, want):
        """One reader in order, one here and there, at once."""
        path, other = self.fs.path(c.digest), Reading()
        rng = random.Random("%d %s" % (self.seed, c.name))
        t = threading.Thread(target=other.here_and_there, args=(path, want, rng))
        t.start()
        first = Reading().in_order(path, want)
        t.join()
        for r in (first, other):
            if r.wrong and (r.ended or self.verify == "strict"):
                self.complain(c, "WRONG BYTES and a clean end" if r.ended else "WRONG BYTES")
            if r.slowest > self.read_s + SLACK_S:
                self.complain(c, "a read of %.1f s" % r.slowest)
        return first, other

    def try_case(self, c):
        try:
            want = self.want(c)
            for r in self.read_both(c, want):
                if c.errnos is None or self.mirrored:
                    self.is_good(c, r)
                else:
                    self.is_bad(c, r)
        except Exception as e:  # in a thread: told with the others
            self.complain(c, repr(e))

    def is_good(self, c, r):
        # At-eof a reader may have been given what turned out wrong.
        may_fail = WRONG if c.wrong and self.verify == "at-eof" else ()
        if r.errno is not None and r.errno not in may_fail:
            self.complain(c, "an error: " + os.strerror(r.errno))

    def is_bad(self, c, r):
        if r.errno is None:
            self.complain(c, "no error")
        elif r.errno not in c.errnos:
            self.complain(c, os.strerror(r.errno))
        # The other reader may have begun a new try, and what is under way has not failed.
        end = time.monotonic() + 10
        while not any(w in self.fs.error(c.digest) for w in c.words):
            if time.monotonic() > end:
                self.complain(c, "the reason is not named")
                break
            time.sleep(0.05)

    def again(self, c):
        """The host is well: so is the blob, once a try that was put off has been made."""
        try:
            want, end = self.want(c), time.monotonic() + 20
            r = Reading().in_order(self.fs.path(c.digest), want)
            while r.errno == errno.ETIMEDOUT and time.monotonic() < end:
                r = Reading().in_order(self.fs.path(c.digest), want)
            if r.errno is not None or r.wrong or not r.ended:
                self.complain(c, "afterwards: %s" % (os.strerror(r.errno or 0)))
        except Exception as e:
            self.complain(c, repr(e))

    def all_at_once(self, call, cases):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(call, cases))

    def is_told(self, cases):
        """By the log, also where nobody waits for the verdict."""
        def untold():
            lines = self.fs.log().splitlines()
            return [c for c in cases if c.errnos is not None and not any(
                c.digest in line and any(w in line for w in c.words) for line in lines)]

        end = time.monotonic() + 10
        while untold() and time.monotonic() < end:
            time.sleep(0.1)
        for c in untold():
            self.complain(c, "the log does not tell the reason")

    def run_table(self, cases):
        self.learn(self.image)
        self.rules(*[r for c in cases for r in c.on_wire()])
        self.all_at_once(self.try_case, cases)
        for r in self.control("GET", "rules"):
            if r["applied"] == 0:
                self.found.append("never met: %s" % r)
        if not self.mirrored:
            self.is_told(cases)
        self.rules()
        self.all_at_once(self.again, cases)

    def one_table(self, verify, hosts, cases, times):
        self.mount(verify, *hosts, times=times)
        try:
            self.run_table(cases)
        finally:
            self.fs.stop()
        if self.found:
            self.fail("SEED=%d\n%s" % (self.seed, "\n".join(self.found)))

    def test_every_fault_at_every_position(self):
        lasting, passing_ = self.cases[:self.n_lasting], self.cases[self.n_lasting:]
        alone = ("main", ["main"])
        for name, verify, mirrored, hosts, cases, times in (
                ("strict", "strict", False, alone, lasting, (READ_S, HOST_S)),
                ("strict, for a while", "strict", False, alone, passing_, PATIENT),
                ("at-eof", "at-eof", False, alone, lasting, (READ_S, HOST_S)),
                ("at-eof, for a while", "at-eof", False, alone, passing_, PATIENT),
                ("strict, with a mirror", "strict", True, ("main", ["main", "mirror"]), lasting, PATIENT),
                ("at-eof, with a mirror", "at-eof", True, ("mirror", ["main"]), lasting, PATIENT)):
            with self.subTest(name):
                self.name, self.verify, self.mirrored, self.found = name, verify, mirrored, []
                began = time.monotonic()
                self.one_table(verify, hosts, cases, times)
                print("%s: %d cases in %.1f s" % (name, len(cases), time.monotonic() - began))


TOKEN_FAULTS = [
    Case("no token: status 500", one("status", code=500), IO, "/token/main", "status 500"),
    Case("no token: status 403", one("status", code=403), REFUSED, "status 403"),
    Case("no token: dropped", one("drop"), IO, "/token/main"),
    Case("no token: silence", one("delay", seconds=5), IO, "no byte for"),
    Case("a token that is cut", one("cut", at=20), IO, "/token/main"),
    Case("a token that stalls", one("stall", at=20), IO, "no byte for"),
    Case("a token that is no JSON", one("replace", text='{"token": "abc'), BROKEN, "token"),
    Case("a token in gzip", one("gzip"), BROKEN, "encoded"),
    Case("a token of no use", one("replace", text='{"token": "abc"}'), REFUSED, "status 401"),
    Case("a token too large", one("pad", bytes=5 << 20), BROKEN | IO, "token"),
]


class Tokens(Mounted):
    """What goes wrong with the tokens of a registry that wants them."""
    main = {"auth": {"kind": "bearer", "token_bytes": CHUNK}}

    def setUp(self):
        super().setUp()
        self.image = self.control("POST", "image/main", {
            "layers": [{"seed": i, "size": SIZE} for i in range(len(TOKEN_FAULTS) + 1)]})
        self.layers = [layer["digest"] for layer in self.image["layers"]]

    def read_layer(self, digest):
        with open(os.path.join(self.blobs, digest[7:]), "rb") as f:
            r = Reading().in_order(self.fs.path(digest), f.read())
        self.assertFalse(r.wrong)
        self.assertLess(r.slowest, self.read_s + SLACK_S)
        return r

    def test_they_end_in_the_middle(self):
        """Of the limit of bytes, and all at once; the reader does not notice."""
        self.mount("at-eof", "main", ["main"], PATIENT)
        try:
            self.learn(self.image)
            self.rules({"path": "/blobs/", "do": "expire", "nth": 2})
            for digest in self.layers[:3]:
                self.assertTrue(self.read_layer(digest).ended, self.fs.error(digest))
            self.assertEqual(self.control("GET", "rules")[0]["applied"], 1)
        finally:
            self.fs.stop()

    def faults(self, hosts, check):
        self.mount("strict", "main", hosts, PATIENT if "mirror" in hosts else (READ_S, HOST_S))
        try:
            self.learn(self.image)
            for c, digest in zip(TOKEN_FAULTS, self.layers):
                with self.subTest(c.name, hosts=hosts):
                    self.rules({"path": "/token/main", **c.rules[0]})
                    self.control("DELETE", "tokens/main")
                    check(c, self.read_layer(digest), digest)
                    self.assertGreater(self.control("GET", "rules")[0]["applied"], 0)
                    self.rules()
        finally:
            self.fs.stop()

    def test_there_are_none(self):
        def check(c, r, digest):
            self.assertIn(r.errno, c.errnos, self.fs.error(digest))
            self.assertTrue(any(w in self.fs.error(digest) for w in c.words),
                            self.fs.error(digest))

        self.faults(["main"], check)

    def test_there_are_none_but_a_mirror(self):
        self.faults(["main", "mirror"],
                    lambda c, r, digest: self.assertTrue(r.ended, self.fs.error(digest)))


if __name__ == "__main__":
    lacking = None
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        lacking = "root and FUSE are needed"
    if lacking is not None:
        print(lacking, file=sys.stderr)
        sys.exit(1 if os.environ.get("STRICT") else 77)
    unittest.main(verbosity=1)
