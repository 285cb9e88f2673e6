#!/usr/bin/python3
"""A registry that fails on demand, on loopback, for tests.

  fake_registry.py STATE_DIR [CONFIG.json]

HTTP/1.1 with keep-alive, any number of hosts in one process, each on a port of its own. Without
CONFIG there is one, "main", which is empty. Configuration:

  {"hosts": {"main": {...}, "cdn": {...}}, "rules": [...]}      and of a host, all optional:

  content        directories (OCI layouts, stores) that every repository has
  repositories   {"library/redis": [directories]}: these repositories and no others
  auth           see fake_registry_auth.py
  tls            {"cert": FILE, "key": FILE, "client_ca": FILE}
  rtt            seconds before each answer      bandwidth   bytes per second and connection
  no_blobs       true: manifests alone           mount       false: mounts are not done
  manifest_blobs true: /blobs/ also gives manifests
  read_only      true: 405 for all that writes
  upload_query   true: upload locations carry a state in their query that must come back
  chunk_min      OCI-Chunk-Min-Length
  proxy          true: also answers as a proxy (absolute URLs, CONNECT to loopback)

rules: what goes wrong, see fake_registry_faults.py.

Once everything listens, one JSON line is written to $READY_FD (or stdout):
{"control": "127.0.0.1:1", "hosts": {"main": "127.0.0.1:2"}}. STATE_DIR/log has a JSON line when a
request has been read and one when its answer has been sent (method, target, headers, range; status,
sent). The control address takes, and answers JSON:

  GET /rules  PUT /rules [RULE...]  POST /rules RULE      (with how often each was seen, applied)
  POST /blob/HOST {"seed": 1, "size": 1000}               a blob of these bytes in that host
  POST /image/HOST {"repository": R, "tag": T, "layers": [{"seed", "size"}...]}
  PUT /host/HOST {"rtt": 0.02, "up": false, ...}          up: false closes everything, true reopens
  DELETE /tokens/HOST   DELETE /log
  GET /idle              waits, some seconds, until the log has the end of every request
"""
import hashlib
import http.server
import json
import os
import re
import signal
import socket
import ssl
import sys
import threading
import time
import traceback
import urllib.parse
import uuid

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fake_registry_auth import Auth, parse_form, render  # noqa: E402
from fake_registry_content import Content  # noqa: E402
from fake_registry_faults import (  # noqa: E402
    CHANGES, Log, Reset, Response, Rules, Sender, close)

HEADERS_MAX = 256 << 10
BODY_MAX = 64 << 20  # of what is no upload


def error(status, code, headers=None):
    body = render({"errors": [{"code": code, "message": code.lower()}]})
    return Response(status, {"Content-Type": "application/json", **(headers or {})}, body)


def parse_range(value):
    """(first, last) of "bytes=first-last"; either may be None; None without such a header."""
    m = re.fullmatch(r"bytes=(\d*)-(\d*)", value or "")
    if not m:
        return None
    return tuple(int(g) if g else None for g in m.groups())


class Request:
    def __init__(self, host, conn, line, headers):
        parts = line.split(" ")
        if len(parts) != 3:
            raise ValueError("request line %r" % line)
        self.host, self.conn, self.headers = host, conn, headers
        self.method, self.target = parts[0], parts[1]
        self.absolute = None
        if "://" in self.target and self.method != "CONNECT":
            u = urllib.parse.urlsplit(self.target)
            self.absolute = u.netloc
            self.target = u.path + ("?" + u.query if u.query else "")
        self.path, _, query = self.target.partition("?")
        self.query = urllib.parse.parse_qs(query, keep_blank_values=True)
        self.range = parse_range(headers.get("range"))
        self.id = host.fake.log.new_id()
        self.length = int(headers.get("content-length") or 0)
        self.chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self.expects = headers.get("expect", "").lower() == "100-continue"
        self.n_body = 0

    def one(self, key):
        return self.query.get(key, [None])[0]

    def body_chunks(self):
        """What the client sends, piece by piece; once."""
        if self.expects:
            self.conn.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.expects = False
        if self.chunked:
            while True:
                n = int(self.conn.rfile.readline(100).split(b";")[0], 16)
                yield from self.read_exactly(n)
                self.conn.rfile.readline(10)
                if n == 0:
                    break
        else:
            yield from self.read_exactly(self.length)
        self.length, self.chunked = 0, False

    def read_exactly(self, n):
        while n > 0:
            data = self.conn.rfile.read1(min(n, 1 << 20))
            if not data:
                raise Reset("cut")
            n -= len(data)
            self.n_body += len(data)
            yield data

    def body(self):
        out = b""
        for data in self.body_chunks():
            out += data
            if len(out) > BODY_MAX:
                raise ValueError("a body of more than %d bytes" % BODY_MAX)
        return out


class Connection:
    """One client's, in a thread."""

    def __init__(self, host, sock):
        self.host, self.sock = host, sock
        self.rfile = None
        self.id = host.fake.log.new_id()

    def run(self):
        how = "cut"
        try:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.host.tls is not None:
                self.sock = self.host.tls.wrap_socket(self.sock, server_side=True)
            self.rfile = self.sock.makefile("rb", buffering=1 << 16)
            while self.one_request():
                pass
        except Reset as e:
            how = e.how
        except (OSError, ValueError) as e:
            self.host.fake.log.write(event="error", host=self.host.name, conn=self.id, error=str(e))
        except Exception:  # a bug: tests show the process's stderr
            traceback.print_exc()
        finally:
            self.host.forget(self)
            # The buffered reader shares the descriptor: without its end there is no close(2).
            if self.rfile is not None and how != "reset":
                self.rfile.close()
            close(self.sock, how)
            if self.rfile is not None and how == "reset":
                self.rfile.close()

    def read_head(self):
        line = self.rfile.readline(HEADERS_MAX)
        if not line:
            return None, None
        headers, total = {}, len(line)
        while True:
            h = self.rfile.readline(HEADERS_MAX)
            total += len(h)
            if total > HEADERS_MAX or not h:
                raise ValueError("headers too long or cut")
            if h in (b"\r\n", b"\n"):
                return line.decode("latin-1").rstrip("\r\n"), headers
            name, _, value = h.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()

    def one_request(self):
        line, headers = self.read_head()
        if line is None:
            return False
        q = Request(self.host, self, line, headers)
        self.host.fake.log.write(event="request", id=q.id, conn=self.id, host=self.host.name,
                                 method=q.method, target=q.target, path=q.path, headers=headers,
                                 range=headers.get("range"), absolute=q.absolute)
        if q.method == "CONNECT" and self.host.conf.get("proxy"):
            self.host.fake.log.write(event="response", id=q.id, conn=self.id, host=self.host.name,
                                     method=q.method, path=q.path, status=200, sent=0,
                                     received=0, ended="tunnel")
            return self.tunnel(q)
        self.answer(q)
        if headers.get("connection", "").lower() == "close":
            return False
        for _ in q.body_chunks():  # what was refused unread
            pass
        return True

    def answer(self, q):
        sender = response = None
        ended = "aborted"
        try:
            response, faults, token = self.host.respond(q)
            for rule in faults:
                if rule["do"] in CHANGES:
                    CHANGES[rule["do"]](response, rule)
            sender = Sender(self.sock, response, q.method == "HEAD",
                            lambda n: self.host.auth.spend(token, n))
            sender.send()
            ended = "sent"
        except Reset as e:
            ended = e.how
            raise
        finally:
            self.host.fake.log.write(
                event="response", id=q.id, conn=self.id, host=self.host.name, method=q.method,
                path=q.path, status=response.status if response else None,
                sent=sender.sent if sender else 0, received=q.n_body, ended=ended)

    def tunnel(self, q):
        host, _, port = q.target.rpartition(":")
        if host not in ("localhost", "127.0.0.1"):
            self.sock.sendall(b"HTTP/1.1 403 Fake\r\nContent-Length: 0\r\n\r\n")
            return True
        with socket.create_connection(("127.0.0.1", int(port))) as other:
            self.sock.sendall(b"HTTP/1.1 200 Fake\r\n\r\n")
            back = threading.Thread(target=pump, args=(other, self.sock), daemon=True)
            back.start()
            pump(self.rfile.raw, other)
            back.join()
        return False


def pump(source, target):
    """Copy until either end has had enough."""
    read = source.recv if isinstance(source, socket.socket) else source.read
    try:
        while True:
            data = read(1 << 16)
            if not data:
                break
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


class Host:
    def __init__(self, fake, name, conf):
        self.fake, self.name, self.conf = fake, name, conf
        self.state = os.path.join(fake.state, name)
        os.makedirs(os.path.join(self.state, "uploads"), exist_ok=True)
        self.content = Content(self.state, conf)
        self.auth = Auth(conf.get("auth"), name, fake.url_of)
        self.tls = self.make_tls(conf.get("tls"))
        self.lock = threading.Lock()
        self.connections = set()
        self.uploads = {}  # id -> {"repository", "offset", "step"}
        self.address = (conf.get("address", "127.0.0.1"), conf.get("port", 0))
        self.listener = None
        self.open()

    @staticmethod
    def make_tls(conf):
        if conf is None:
            return None
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(conf["cert"], conf["key"])
        if "client_ca" in conf:
            c.verify_mode = ssl.CERT_REQUIRED
            c.load_verify_locations(conf["client_ca"])
        return c

    def open(self):
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(self.address)
        s.listen(512)
        self.address = s.getsockname()
        self.listener = s
        threading.Thread(target=self.accept, args=(s,), daemon=True).start()

    def accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            c = Connection(self, sock)
            with self.lock:
                if self.listener is not listener:
                    sock.close()
                    return
                self.connections.add(c)
            threading.Thread(target=c.run, daemon=True).start()

    def forget(self, connection):
        with self.lock:
            self.connections.discard(connection)

    def shut(self):
        """Nothing listens any more; what is under way is reset."""
        with self.lock:
            listener, self.listener = self.listener, None
            connections = list(self.connections)
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for c in connections:
            try:
                c.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def configure(self, changes):
        up = changes.pop("up", None)
        self.conf.update(changes)
        self.auth.conf = self.conf.get("auth")
        if up is False and self.listener is not None:
            self.shut()
        elif up is True and self.listener is None:
            self.open()

    def name_port(self):
        return "%s:%d" % self.address

    # Answers.

    def respond(self, q):
        """(response, rules that change it, the token that was used)"""
        repository, actions = self.scope_of(q)
        token = True
        if q.path.startswith("/v2/") and q.absolute is None:
            token = self.auth.check(q.headers, repository, actions)
        faults = self.fake.rules.match(q, refused=token is False)
        wait = self.conf.get("rtt", 0) + sum(r["seconds"] for r in faults if r["do"] == "delay")
        if wait > 0:
            time.sleep(wait)
        response = self.instead(q, faults, repository, actions)
        if response is None and q.absolute is not None:
            response = self.forwarded(q)
        elif response is None and token is False:
            response = error(401, "UNAUTHORIZED", {
                "WWW-Authenticate": self.auth.challenge(repository, actions)})
        elif response is None:
            response = self.plain(q, repository)
        if "bandwidth" in self.conf and response.rate is None:
            response.rate = self.conf["bandwidth"]
        response.headers.setdefault("Docker-Distribution-Api-Version", "registry/2.0")
        return response, faults, token

    def scope_of(self, q):
        m = re.match(r"/v2/(.+)/(?:blobs|manifests|tags|referrers)/", q.path)
        write = q.method in ("POST", "PUT", "PATCH", "DELETE")
        return (m.group(1) if m else None), (["pull", "push"] if write else ["pull"])

    def instead(self, q, faults, repository, actions):
        for rule in faults:
            if rule["do"] == "status":
                return Response(rule["code"], rule.get("headers"), rule.get("text", "").encode())
            if rule["do"] == "drop":
                raise Reset("cut")
            if rule["do"] == "redirect":
                to = self.fake.url_of(rule["to"]) if "to" in rule else self.fake.url_of(self.name)
                return Response(rule.get("code", 307),
                                {"Location": rule.get("url") or to + rule.get("to_path", q.target)})
            if rule["do"] == "expire":
                self.auth.revoke_all()
                return error(401, "UNAUTHORIZED", {
                    "WWW-Authenticate": self.auth.challenge(repository, actions)})
        return None

    def forwarded(self, q):
        """As a proxy: the host of this process that the URL names."""
        other = self.fake.by_address(q.absolute)
        if other is None or not self.conf.get("proxy"):
            return error(502, "NO_SUCH_HOST")
        q.absolute = None
        return other.respond(q)[0]

    def plain(self, q, repository):
        if q.path.startswith("/token/"):
            return self.token(q)
        if q.path in ("/v2", "/v2/"):
            return Response(200, {"Content-Type": "application/json"}, b"{}")
        write = q.method in ("POST", "PUT", "PATCH", "DELETE")
        if repository is None:
            return error(404, "NOT_FOUND")
        if write and self.conf.get("read_only"):
            return error(405, "UNSUPPORTED")
        rest = q.path[len("/v2/" + repository + "/"):]
        kind, _, name = rest.partition("/")
        if rest.startswith("blobs/uploads/"):
            return self.upload(q, repository, name[len("uploads/"):])
        if kind == "manifests" and q.method == "PUT":
            return self.put_manifest(q, repository, name)
        if write:
            return error(405, "UNSUPPORTED")
        if not self.content.known(repository):
            return error(404, "NAME_UNKNOWN")
        if kind == "tags" and name == "list":
            return self.tag_list(q, repository)
        if kind == "manifests":
            return self.manifest(q, repository, name)
        if kind == "blobs":
            return self.blob(q, repository, name)
        return error(404, "NOT_FOUND")

    def token(self, q):
        other = self.fake.hosts.get(q.path[len("/token/"):])
        if other is None or other.auth.conf is None:
            return error(404, "NOT_FOUND")
        form = parse_form(q.body()) if q.method == "POST" else {}
        self.fake.log.write(event="token", id=q.id, host=self.name, method=q.method, form=form,
                            query=q.query, authorization=q.headers.get("authorization"))
        status, document = other.auth.grant(q.method, q.query, form,
                                            q.headers.get("authorization"))
        return Response(status, {"Content-Type": "application/json"}, render(document))

    def manifest(self, q, repository, reference):
        found = self.content.resolve(repository, reference)
        if found is None:
            return error(404, "MANIFEST_UNKNOWN")
        digest, path, kind = found
        return self.file(q, path, {"Content-Type": kind, "Docker-Content-Digest": digest},
                         ranges=False)

    def blob(self, q, repository, digest):
        path = None if self.conf.get("no_blobs") else self.content.path(repository, digest)
        if path is None or (not self.conf.get("manifest_blobs")
                            and self.content.media_type(path, digest) is not None):
            return error(404, "BLOB_UNKNOWN")
        return self.file(q, path, {"Content-Type": "application/octet-stream",
                                   "Docker-Content-Digest": digest, "Accept-Ranges": "bytes"})

    @staticmethod
    def file(q, path, headers, ranges=True):
        size = os.path.getsize(path)
        if not ranges or q.range is None or q.range == (None, None):
            return Response(200, headers, path=path, length=size, size=size)
        first, last = q.range
        if first is None:
            first, last = max(0, size - last), size - 1
        last = size - 1 if last is None else min(last, size - 1)
        if first >= size or first > last:
            return error(416, "RANGE_INVALID", {"Content-Range": "bytes */%d" % size})
        headers["Content-Range"] = "bytes %d-%d/%d" % (first, last, size)
        return Response(206, headers, path=path, offset=first, length=last - first + 1, size=size)

    def tag_list(self, q, repository):
        tags = sorted(t for t in self.content.all_tags(repository) if t > (q.one("last") or ""))
        headers = {"Content-Type": "application/json"}
        n = int(q.one("n") or len(tags) or 1)
        if len(tags) > n:
            tags = tags[:n]
            headers["Link"] = '</v2/%s/tags/list?n=%d&last=%s>; rel="next"' % (
                repository, n, urllib.parse.quote(tags[-1]))
        return Response(200, headers, render({"name": repository, "tags": tags}))

    # Uploads: distribution spec 1.1, "Pushing".

    def put_manifest(self, q, repository, reference):
        kind = q.headers.get("content-type")
        digest, bad = self.content.put_manifest(repository, reference, q.body(), kind)
        if bad is not None:
            return error(400, bad)
        return Response(201, {"Docker-Content-Digest": digest,
                              "Location": "/v2/%s/manifests/%s" % (repository, digest)})

    def upload_path(self, session):
        return os.path.join(self.state, "uploads", session)

    def session_response(self, status, session):
        u = self.uploads[session]
        query = "?_state=%d" % u["step"] if self.conf.get("upload_query") else ""
        headers = {"Location": "/v2/%s/blobs/uploads/%s%s" % (u["repository"], session, query),
                   "Range": "0-%d" % max(0, u["offset"] - 1), "Docker-Upload-UUID": session}
        if "chunk_min" in self.conf:
            headers["OCI-Chunk-Min-Length"] = str(self.conf["chunk_min"])
        return Response(status, headers)

    def upload(self, q, repository, session):
        if q.method == "POST" and session == "":
            return self.begin_upload(q, repository)
        u = self.uploads.get(session)
        if u is None or u["repository"] != repository:
            return error(404, "BLOB_UPLOAD_UNKNOWN")
        if self.conf.get("upload_query") and q.one("_state") != str(u["step"]):
            return error(400, "BLOB_UPLOAD_INVALID")
        if q.method == "GET":
            return self.session_response(204, session)
        if q.method == "DELETE":
            del self.uploads[session]
            os.unlink(self.upload_path(session))
            return Response(204)
        if q.method not in ("PATCH", "PUT"):
            return error(405, "UNSUPPORTED")
        m = re.fullmatch(r"(?:bytes )?(\d+)-(\d+)(?:/.*)?", q.headers.get("content-range", ""))
        if m and int(m.group(1)) != u["offset"]:
            return error(416, "BLOB_UPLOAD_INVALID")
        self.receive(q, session)
        u["step"] += 1
        if q.method == "PATCH":
            return self.session_response(202, session)
        return self.end_upload(session, q.one("digest") or "")

    def begin_upload(self, q, repository):
        mount, source = q.one("mount"), q.one("from")
        if mount and source and self.conf.get("mount", True):
            if self.content.mount(repository, source, mount):
                return Response(201, {"Location": "/v2/%s/blobs/%s" % (repository, mount),
                                      "Docker-Content-Digest": mount})
        session = str(uuid.uuid4())
        self.uploads[session] = {"repository": repository, "offset": 0, "step": 0}
        open(self.upload_path(session), "wb").close()
        if q.one("digest"):
            self.receive(q, session)
            return self.end_upload(session, q.one("digest"))
        return self.session_response(202, session)

    def receive(self, q, session):
        with open(self.upload_path(session), "ab") as f:
            try:
                for data in q.body_chunks():
                    f.write(data)
            finally:
                self.uploads[session]["offset"] = f.tell()

    def end_upload(self, session, digest):
        u = self.uploads.pop(session)
        path, h = self.upload_path(session), hashlib.sha256()
        with open(path, "rb") as f:
            while data := f.read(1 << 20):
                h.update(data)
        if digest != "sha256:" + h.hexdigest():
            os.unlink(path)
            return error(400, "DIGEST_INVALID")
        self.content.keep(u["repository"], path, digest)
        return Response(201, {"Location": "/v2/%s/blobs/%s" % (u["repository"], digest),
                              "Docker-Content-Digest": digest})


class Fake:
    def __init__(self, state, conf):
        self.state = state
        os.makedirs(state, exist_ok=True)
        self.log = Log(os.path.join(state, "log"))
        self.rules = Rules(conf.get("rules", ()))
        self.hosts = {}
        for name, c in conf.get("hosts", {"main": {}}).items():
            self.hosts[name] = Host(self, name, c)

    def url_of(self, name):
        h = self.hosts[name]
        return "%s://%s" % ("https" if h.tls else "http", h.name_port())

    def by_address(self, netloc):
        port = netloc.rpartition(":")[2]
        for h in self.hosts.values():
            if str(h.address[1]) == port:
                return h
        return None

    # Control: (method, first word of the path, the second, document) -> document

    def control(self, method, what, name, document):
        if what == "rules":
            if method == "PUT":
                self.rules.replace(document)
            elif method == "POST":
                self.rules.add(document)
            return self.rules.describe()
        if what == "log" and method == "DELETE":
            self.log.clear()
            return {}
        if what == "idle":
            return {"idle": self.log.wait_idle(5)}
        host = self.hosts[name]
        if what == "blob":
            return host.content.make_blob(document["seed"], document["size"])
        if what == "image":
            return host.content.make_image(document)
        if what == "tokens" and method == "DELETE":
            host.auth.revoke_all()
            return {}
        if what == "host":
            if method == "PUT":
                host.configure(document)
            return {"address": host.name_port(), "up": host.listener is not None}
        raise KeyError(what)


class Control(http.server.BaseHTTPRequestHandler):
    fake = None

    def handle_any(self):
        parts = self.path.split("/") + ["", ""]
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            out = self.fake.control(self.command, parts[1], parts[2],
                                    json.loads(data) if data else None)
            status = 200
        except (KeyError, ValueError, TypeError) as e:
            status, out = 400, {"error": repr(e)}
        body = json.dumps(out).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = handle_any

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        pass


def start(state, conf):
    """In this process: (Fake, control server); the control server's thread runs."""
    fake = Fake(state, conf)
    control = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), type("BoundControl", (Control,), {"fake": fake}))
    threading.Thread(target=control.serve_forever, daemon=True).start()
    return fake, control


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: fake_registry.py STATE_DIR [CONFIG.json]")
    conf = {}
    if len(sys.argv) == 3:
        with open(sys.argv[2], encoding="utf-8") as f:
            conf = json.load(f)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    fake, control = start(sys.argv[1], conf)
    ready = json.dumps({"control": "127.0.0.1:%d" % control.server_address[1],
                        "hosts": {n: h.name_port() for n, h in fake.hosts.items()}}) + "\n"
    os.write(int(os.environ.get("READY_FD", "1")), ready.encode())
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    os._exit(0)


if __name__ == "__main__":
    main()
