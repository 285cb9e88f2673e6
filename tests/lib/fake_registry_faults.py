"""What goes wrong, when: the rules of the fake registry, and the sending that follows them.

A rule is a JSON object. Which requests it is for (all optional, all must hold):

    host, method    equal
    path            regular expression, searched in "path?query"
    range           true or false: the request has a Range header
    at              a byte of the blob: only requests whose range covers it
    nth             which of these requests: 2, or [2, 5], counted from 1 for each rule
    every           each so-manieth of them
    before_auth     true: also requests that would be refused with 401 (others never see those)

and what is done, "do":

    delay           seconds
    status          code, headers {}, text: instead of the answer. 429: headers {"Retry-After": "1"}
    redirect        to HOST [to_path, code], or url: instead of the answer; without these a loop
    drop            the connection is closed instead of an answer
    expire          every token is taken back, and this request answered with 401
    header          name, value (null: leave it out) of the answer
    huge_headers    bytes of them
    length          by: Content-Length off by so much
    no_length       the body ends with the connection
    chunked         Transfer-Encoding: chunked
    ignore_range    200 and the whole blob
    content_range   value, or by: both of its ends moved
    shift           by: the body's bytes are those so far on in the blob
    flip            at, count (1): wrong bytes
    cut reset stall at: the connection is closed, reset, or silent (seconds, else for ever) there
    rate            bytes_per_s of the body
    drip            bytes, pause (seconds between them), what: "body" or "headers"
    pad             bytes: spaces behind the body, which JSON does not mind
    replace         text: the body
    gzip            Content-Encoding: gzip; cut: so many bytes of it are missing

All rules that match are followed, in order.
"""
import gzip
import json
import os
import re
import select
import socket
import ssl
import struct
import threading
import time

CHUNK = 1 << 20


class Reset(Exception):
    """The connection ends here, as `how` says: cut or reset."""

    def __init__(self, how):
        super().__init__(how)
        self.how = how


class Rule:
    def __init__(self, spec):
        self.spec = spec
        self.pattern = re.compile(spec["path"]) if "path" in spec else None
        self.seen = self.applied = 0
        if spec["do"] not in KNOWN:
            raise ValueError("no fault \"%s\"" % spec["do"])

    def matches(self, request, refused):
        s = self.spec
        if refused and not s.get("before_auth"):
            return False
        if s.get("host", request.host.name) != request.host.name:
            return False
        if s.get("method", request.method) != request.method:
            return False
        if self.pattern is not None and not self.pattern.search(request.target):
            return False
        if "range" in s and s["range"] != (request.range is not None):
            return False
        if "at" in s and request.range is not None:
            first, last = request.range
            if first is None or s["at"] < first or (last is not None and s["at"] > last):
                return False
        return True

    def is_due(self):
        nth, every = self.spec.get("nth"), self.spec.get("every")
        if every is not None and self.seen % every != 0:
            return False
        if isinstance(nth, list):
            return nth[0] <= self.seen <= nth[1]
        return nth is None or self.seen == nth


class Rules:
    def __init__(self, specs=()):
        self.lock = threading.Lock()
        self.rules = [Rule(s) for s in specs]

    def replace(self, specs):
        rules = [Rule(s) for s in specs]
        with self.lock:
            self.rules = rules

    def add(self, spec):
        rule = Rule(spec)
        with self.lock:
            self.rules.append(rule)

    def match(self, request, refused):
        """The specs of those that this request is to suffer."""
        found = []
        with self.lock:
            for r in self.rules:
                if r.matches(request, refused):
                    r.seen += 1
                    if r.is_due():
                        r.applied += 1
                        found.append(r.spec)
        return found

    def describe(self):
        with self.lock:
            return [dict(r.spec, seen=r.seen, applied=r.applied) for r in self.rules]


class Response:
    """status, headers, and a body: bytes, or [offset, offset + length) of a file of `size`."""

    def __init__(self, status, headers=None, body=b"", path=None, offset=0, length=None, size=0):
        self.status = status
        self.headers = dict(headers or {})
        self.body = body
        self.path = path
        self.offset = offset
        self.length = len(body) if path is None else length
        self.size = size if path is not None else len(body)
        # What rules ask for beside a changed answer:
        self.flips = []       # (offset in the blob, count)
        self.stops = []       # (position in the body, rule)
        self.rate = None
        self.drips = {}       # "body" or "headers" -> rule
        self.length_by = 0
        self.framing = "length"
        self.extra_headers = 0

    def load(self):
        """Turn the file's part into bytes."""
        if self.path is not None:
            with open(self.path, "rb") as f:
                f.seek(self.offset)
                self.body = f.read(self.length)
            self.path = None

    def set_body(self, data):
        self.path, self.body, self.length = None, data, len(data)


# Faults that change an answer, by name: (response, rule).

def _content_range(r, s):
    value = s.get("value")
    if value is None:
        first = r.offset + s.get("by", 0)
        value = "bytes %d-%d/%d" % (first, first + r.length - 1, r.size)
    r.headers["Content-Range"] = value


def _ignore_range(r, _):
    if r.status == 206:
        r.status, r.offset, r.length = 200, 0, r.size
        r.headers.pop("Content-Range", None)


def _shift(r, s):
    if r.path is not None:
        with open(r.path, "rb") as f:
            f.seek(max(0, r.offset + s["by"]))
            data = f.read(r.length)
        r.set_body(data + b"\0" * (r.length - len(data)))


def _stop(r, s):
    r.stops.append((max(0, s.get("at", r.offset) - r.offset), s))


def _header(r, s):
    r.headers[s["name"]] = s.get("value")


def _pad(r, s):
    r.load()
    r.set_body(r.body + b" " * s["bytes"])


def _gzip(r, s):
    r.load()
    data = gzip.compress(r.body)
    r.set_body(data[:len(data) - s.get("cut", 0)])
    r.headers["Content-Encoding"] = "gzip"


CHANGES = {
    "header": _header,
    "content_range": _content_range,
    "ignore_range": _ignore_range,
    "shift": _shift,
    "cut": _stop,
    "reset": _stop,
    "stall": _stop,
    "pad": _pad,
    "gzip": _gzip,
    "replace": lambda r, s: r.set_body(s["text"].encode()),
    "huge_headers": lambda r, s: setattr(r, "extra_headers", s["bytes"]),
    "length": lambda r, s: setattr(r, "length_by", s["by"]),
    "no_length": lambda r, s: setattr(r, "framing", "close"),
    "chunked": lambda r, s: setattr(r, "framing", "chunked"),
    "flip": lambda r, s: r.flips.append((s["at"], s.get("count", 1))),
    "rate": lambda r, s: setattr(r, "rate", s["bytes_per_s"]),
    "drip": lambda r, s: r.drips.__setitem__(s.get("what", "body"), s),
}
INSTEAD = {"status", "redirect", "drop", "expire"}  # of an answer; delay: before any
KNOWN = set(CHANGES) | INSTEAD | {"delay"}


class Sender:
    """One answer on its way; sent: bytes of the body that the kernel took. spend(n) is told of
    them before they go: a client that has them all may be back before we are."""

    def __init__(self, sock, response, head_only, spend=lambda n: None):
        self.sock = sock
        self.tls = isinstance(sock, ssl.SSLSocket)
        self.r = response
        self.head_only = head_only
        self.spend = spend
        self.sent = 0
        self.began = None

    def header_bytes(self):
        r, headers = self.r, dict(self.r.headers)
        if r.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        elif r.framing == "length" and r.status not in (204, 304) and r.status >= 200:
            headers.setdefault("Content-Length", str(r.length + r.length_by))
        left, i = r.extra_headers, 0
        while left > 0:
            headers["X-Filler-%d" % i] = "x" * min(left, 4000)
            left, i = left - 4000, i + 1
        lines = ["HTTP/1.1 %d Fake" % r.status]
        lines += ["%s: %s" % kv for kv in headers.items() if kv[1] is not None]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def wait(self, seconds):
        """Sleep, but not longer than the client stays."""
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            left = 0.5 if end is None else max(0, min(0.5, end - time.monotonic()))
            ready, _, _ = select.select([self.sock], [], [], left)
            if not ready:
                continue
            if self.tls or self.sock.recv(1, socket.MSG_PEEK) == b"":
                raise Reset("cut")
            time.sleep(left)

    def drip(self, data, rule):
        step = rule.get("bytes", 1)
        for i in range(0, len(data), step):
            self.sock.sendall(data[i:i + step])
            yield min(step, len(data) - i)
            self.wait(rule.get("pause", 0.1))

    def send(self):
        head = self.header_bytes()
        if "headers" in self.r.drips:
            for _ in self.drip(head, self.r.drips["headers"]):
                pass
        else:
            more = 0 if self.tls or self.head_only or self.r.length == 0 else socket.MSG_MORE
            self.sock.sendall(head, *([more] if more else []))
        if self.head_only or self.r.status in (204, 304):
            return
        self.send_body()
        if self.r.framing == "chunked":
            self.sock.sendall(b"0\r\n\r\n")
        if self.r.framing == "close" or self.r.length_by > 0:
            raise Reset("cut")

    def send_body(self):
        r, pos = self.r, 0
        self.began = time.monotonic()
        f = open(r.path, "rb") if r.path is not None else None
        try:
            for at, rule in sorted(r.stops, key=lambda s: s[0]):
                if at > r.length:
                    continue
                self.send_span(f, pos, at)
                pos = at
                if rule["do"] == "stall":
                    self.wait(rule.get("seconds"))
                else:
                    raise Reset(rule["do"])
            self.send_span(f, pos, r.length)
        finally:
            if f is not None:
                f.close()

    def send_span(self, f, pos, end):
        r = self.r
        plain = f is not None and not self.tls and not r.flips and "body" not in r.drips and (
            r.framing != "chunked")
        step = CHUNK if r.rate is None else max(1024, min(CHUNK, int(r.rate / 50)))
        while pos < end:
            n = min(step, end - pos)
            self.spend(n)
            if plain:
                asked, n = n, os.sendfile(self.sock.fileno(), f.fileno(), r.offset + pos, n)
                self.spend(n - asked)
            else:
                self.send_bytes(self.changed(f, pos, n))
            pos += n
            if "body" not in r.drips:
                self.sent += n
            if r.rate is not None:
                ahead = self.sent / r.rate - (time.monotonic() - self.began)
                if ahead > 0:
                    time.sleep(ahead)

    def send_bytes(self, data):
        if self.r.framing == "chunked":
            data = b"%x\r\n%s\r\n" % (len(data), data)
        if "body" in self.r.drips:
            for n in self.drip(data, self.r.drips["body"]):
                self.sent += n
        else:
            self.sock.sendall(data)

    def changed(self, f, pos, n):
        r = self.r
        if f is None:
            data = bytearray(r.body[pos:pos + n])
        else:
            f.seek(r.offset + pos)
            data = bytearray(f.read(n))
        for at, count in r.flips:
            for i in range(max(at, r.offset + pos), min(at + count, r.offset + pos + n)):
                data[i - r.offset - pos] ^= 0xff
        return bytes(data)


def close(sock, how):
    """End a connection in order, or with a reset."""
    try:
        if how == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    sock.close()


class Log:
    """JSON lines: {"event": "request"|"response", "id": ...}, whole and in order."""

    def __init__(self, path):
        self.changed = threading.Condition()
        self.file = open(path, "w", encoding="utf-8")
        self.next_id = 0
        self.unanswered = set()

    def new_id(self):
        with self.changed:
            self.next_id += 1
            return self.next_id

    def write(self, **fields):
        line = json.dumps(dict(fields, t=round(time.monotonic(), 4))) + "\n"
        with self.changed:
            self.file.write(line)
            self.file.flush()
            if fields["event"] == "request":
                self.unanswered.add(fields["id"])
            elif fields["event"] == "response":
                self.unanswered.discard(fields["id"])
                self.changed.notify_all()

    def wait_idle(self, seconds):
        """Whether every request has been answered to its end, within so long."""
        with self.changed:
            return self.changed.wait_for(lambda: not self.unanswered, seconds)

    def clear(self):
        with self.changed:
            self.file.seek(0)
            self.file.truncate()
