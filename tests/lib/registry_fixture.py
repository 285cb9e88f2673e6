"""A fake registry, the registry client beside it, and what they say to each other, for unittest.

    class Faults(RegistryCase):
        conf = {"hosts": {...}}            of fake_registry.py
        options = {"stall_ms": 300}        of registry-get

self.ask(op="blob", object=...) is one request to self.registry; self.requests() what hosts received.
"""
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import tempfile
import unittest

LIB = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(LIB))
TESTBIN = os.environ.get("TESTBIN", os.path.join(ROOT, "build/ci/tests"))
DEADLINE = 60
SIZE = 1000003


class Client:
    """registry-get under way."""

    def __init__(self, directory, options, env=None):
        self.log = os.path.join(directory, "client.log")
        clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG"):
            clean.pop(name, None)
        clean["HOME"] = directory
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [os.path.join(TESTBIN, "registry-get")] +
                ["%s=%s" % kv for kv in options.items()],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                env={**clean, **(env or {})})

    def ask(self, **what):
        self.process.stdin.write(json.dumps(what).encode() + b"\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise AssertionError("the client is gone: " + self.errors())
        return json.loads(line)

    def errors(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return f.read()

    def stop(self):
        """Its exit status; what sanitizers have to say is a failure."""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # it has crashed: its status tells
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "it does not end"
        finally:
            self.process.stdout.close()


class FakeCase(unittest.TestCase):
    """One fake registry at work in self.dir."""

    def start_fake(self, conf):
        path = os.path.join(self.dir, "conf.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(conf, f)
        r, w = os.pipe()
        self.fake = subprocess.Popen(
            [os.path.join(LIB, "fake_registry.py"), os.path.join(self.dir, "state"), path],
            pass_fds=[w], env={**os.environ, "READY_FD": str(w)})
        os.close(w)
        with os.fdopen(r) as f:
            ready = json.loads(f.readline())
        self.control_address, self.hosts = ready["control"], ready["hosts"]

    def control(self, method, path, document=None):
        c = http.client.HTTPConnection(self.control_address, timeout=DEADLINE)
        c.request(method, "/" + path, json.dumps(document) if document is not None else None)
        r = c.getresponse()
        data = json.loads(r.read())
        c.close()
        self.assertEqual(r.status, 200, data)
        return data

    def rules(self, *rules):
        self.control("PUT", "rules", list(rules))


class RegistryCase(FakeCase):
    conf = {"hosts": {"main": {}, "other": {}}}
    options = {"stall_ms": 400, "connect_ms": 2000}

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="contentfs-registry-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.fake = None
        self.clients = []
        self.addCleanup(self.stop)
        os.mkdir(self.path("certs.d"))
        self.start_fake(self.conf)
        self.registry = self.hosts["main"]
        self.image = self.control("POST", "image/main", {
            "tag": "latest", "layers": [{"seed": 1, "size": SIZE}]})
        self.layer = self.image["layers"][0]["digest"]
        for name in self.hosts:
            if name != "main":
                self.control("POST", "image/" + name, {
                    "tag": "latest", "layers": [{"seed": 1, "size": SIZE}]})
        self.client = None

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def stop(self):
        statuses = [c.stop() for c in self.clients]
        said = "".join(c.errors() for c in self.clients)
        if self.fake is not None:
            self.fake.terminate()
            self.fake.wait(DEADLINE)
        self.assertEqual([s for s in statuses if s != 0], [], said)
        for word in ("Sanitizer", "runtime error:"):
            self.assertNotIn(word, said)

    def start_client(self, env=None, **options):
        self.client = Client(self.dir, {"hosts_dir": self.path("certs.d"), **self.options,
                                        **options}, env)
        self.clients.append(self.client)

    def ask(self, **what):
        if self.client is None:
            self.start_client()
        what = {"host": self.registry, "repository": "r", "object": self.layer, "op": "blob",
                "timeout_ms": 20000, **what}
        return self.client.ask(**what)

    def hosts_toml(self, text, registry=None):
        """text with {main}, {other}... for http://ADDRESS of fake hosts."""
        for name, address in self.hosts.items():
            text = text.replace("{%s}" % name, "http://" + address)
        directory = (registry or self.registry).replace(":", "_") + "_"
        self.write("certs.d/%s/hosts.toml" % directory, text)

    def good(self, answer, data=None):
        self.assertEqual(answer["r"], 0, answer["error"])
        if data is None:
            self.assertEqual(answer["sha256"], self.layer)
        else:
            self.assertEqual(answer["sha256"], "sha256:" + hashlib.sha256(data).hexdigest())
        return answer

    def bad(self, answer, number, *words):
        self.assertEqual(answer["r"], -number, answer["error"])
        for w in words:
            self.assertIn(w, answer["error"])
        return answer

    def applied(self):
        return [r["applied"] for r in self.control("GET", "rules")]

    def forget(self):
        """The log, and what the hosts know of tokens."""
        self.control("GET", "idle")
        self.control("DELETE", "log")

    def events(self, event):
        self.control("GET", "idle")
        with open(self.path("state/log"), encoding="utf-8") as f:
            return [e for e in map(json.loads, f) if e["event"] == event]

    def requests(self, host=None):
        return [e for e in self.events("request") if host in (None, e["host"])]
