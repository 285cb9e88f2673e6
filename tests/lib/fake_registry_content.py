"""What the fake registry has: directories of blobs, tags, blobs made from seeds, what was pushed.

A directory is an OCI image layout or the root of a store: both keep blobs/sha256/<hex>.
"""
import hashlib
import json
import os
import random
import threading

MANIFEST_MAX = 32 << 20
BLOCK = 1 << 20
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def manifest_type(data, fallback=None):
    """The media type of a manifest or index, None where data is neither."""
    try:
        m = json.loads(data)
    except ValueError:
        return None
    if not isinstance(m, dict) or not (isinstance(m.get("layers"), list)
                                       or isinstance(m.get("manifests"), list)):
        return None
    return m.get("mediaType") or fallback or (INDEX if "manifests" in m else MANIFEST)


class Content:
    """Of one host. Repositories that were not named share what is in `content`."""

    def __init__(self, state, conf):
        self.state = state
        self.lock = threading.Lock()
        self.shared = [os.path.abspath(d) for d in conf.get("content", [])]
        self.named = {n: [os.path.abspath(d) for d in dirs]
                      for n, dirs in conf.get("repositories", {}).items()}
        self.made = os.path.join(state, "made")      # of every repository
        self.pushed = os.path.join(state, "pushed")  # of those in self.members
        self.members = {}  # repository -> digests pushed or mounted
        self.tags = {}     # (repository or None, tag) -> digest
        self.types = {}    # digest -> media type or None, of what was looked into
        for d in (self.made, self.pushed):
            os.makedirs(os.path.join(d, "blobs/sha256"), exist_ok=True)

    def dirs(self, repository):
        if self.named and repository not in self.named:
            return [] if repository not in self.members else [self.made]
        return self.named.get(repository, self.shared) + [self.made]

    def path(self, repository, digest):
        """Where the bytes of a digest are, None where the repository has none of them."""
        hexes = digest.partition(":")[2]
        if not digest.startswith("sha256:") or len(hexes) != 64 or "/" in hexes:
            return None
        dirs = self.dirs(repository)
        if digest in self.members.get(repository, ()):
            dirs = dirs + [self.pushed]
        for d in dirs:
            p = os.path.join(d, "blobs/sha256", hexes)
            if os.path.exists(p):
                return p
        return None

    def media_type(self, path, digest):
        """Of a manifest; None where the digest is that of a blob."""
        if digest not in self.types:
            kind = None
            if os.path.getsize(path) <= MANIFEST_MAX:
                with open(path, "rb") as f:
                    if f.read(1) == b"{":
                        f.seek(0)
                        kind = manifest_type(f.read())
            self.types[digest] = kind
        return self.types[digest]

    def layout_tags(self, repository):
        found = {}
        for d in self.dirs(repository):
            try:
                with open(os.path.join(d, "index.json"), "rb") as f:
                    entries = json.load(f)["manifests"]
            except (OSError, ValueError, KeyError):
                continue
            for e in entries:
                name = e.get("annotations", {}).get("org.opencontainers.image.ref.name", "")
                if name:
                    found.setdefault(name.rpartition(":")[2], e["digest"])
                    if e.get("mediaType"):
                        self.types.setdefault(e["digest"], e["mediaType"])
        return found

    def all_tags(self, repository):
        found = self.layout_tags(repository)
        for (r, tag), digest in self.tags.items():
            if r in (None, repository):
                found[tag] = digest
        return found

    def resolve(self, repository, reference):
        """A tag or digest of a manifest to (digest, path, media type), or None."""
        digest = reference
        if ":" not in reference:
            digest = self.all_tags(repository).get(reference)
        path = self.path(repository, digest) if digest else None
        if path is None:
            return None
        kind = self.media_type(path, digest)
        return (digest, path, kind) if kind else None

    def known(self, repository):
        return not self.named or repository in self.named or repository in self.members

    # What tests have made.

    def put(self, data):
        digest = digest_of(data)
        path = os.path.join(self.made, "blobs/sha256", digest[7:])
        if not os.path.exists(path):
            with open(path + ".tmp", "wb") as f:
                f.write(data)
            os.rename(path + ".tmp", path)
        return digest

    def make_blob(self, seed, size):
        """size bytes, no two blocks the same, the same ones for the same seed."""
        rng, h = random.Random(seed), hashlib.sha256()
        tmp = os.path.join(self.made, "blob-%s-%s" % (seed, size))
        with open(tmp, "wb") as f:
            left = size
            while left > 0:
                block = rng.randbytes(min(BLOCK, left))
                h.update(block)
                f.write(block)
                left -= len(block)
        os.rename(tmp, os.path.join(self.made, "blobs/sha256", h.hexdigest()))
        return {"digest": "sha256:" + h.hexdigest(), "size": size}

    def make_image(self, spec):
        """An image whose layers are made blobs (no tars); returns its manifest's descriptor."""
        layers = [dict(self.make_blob(l["seed"], l["size"]), mediaType=LAYER)
                  for l in spec["layers"]]
        config = json.dumps({
            "architecture": spec.get("architecture", "amd64"), "os": spec.get("os", "linux"),
            "rootfs": {"type": "layers", "diff_ids": [l["digest"] for l in layers]},
            "config": {}}).encode()
        manifest = json.dumps({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": self.put(config), "size": len(config)},
            "layers": layers}).encode()
        digest = self.put(manifest)
        if "tag" in spec:
            self.tags[(spec.get("repository"), spec["tag"])] = digest
        return {"mediaType": MANIFEST, "digest": digest, "size": len(manifest),
                "config": digest_of(config), "layers": layers}

    # What clients push.

    def add_member(self, repository, digest):
        with self.lock:
            self.members.setdefault(repository, set()).add(digest)

    def keep(self, repository, tmp_path, digest):
        os.rename(tmp_path, os.path.join(self.pushed, "blobs/sha256", digest[7:]))
        self.add_member(repository, digest)

    def mount(self, repository, source, digest):
        """Whether the digest is now in repository because source has it."""
        path = self.path(source, digest)
        if path is None:
            return False
        target = os.path.join(self.pushed, "blobs/sha256", digest[7:])
        if not os.path.exists(target):
            os.symlink(path, target)
        self.add_member(repository, digest)
        return True

    def put_manifest(self, repository, reference, data, kind):
        """(digest, None), or (None, the error's code)."""
        digest = digest_of(data)
        if manifest_type(data) is None:
            return None, "MANIFEST_INVALID"
        if ":" in reference and reference != digest:
            return None, "DIGEST_INVALID"
        m = json.loads(data)
        for d in [m.get("config")] + m.get("layers", []) + m.get("manifests", []):
            if d is not None and self.path(repository, d["digest"]) is None:
                return None, "MANIFEST_BLOB_UNKNOWN"
        tmp = os.path.join(self.state, "manifest-%d" % threading.get_ident())
        with open(tmp, "wb") as f:
            f.write(data)
        self.keep(repository, tmp, digest)
        self.types[digest] = kind or manifest_type(data)
        if ":" not in reference:
            self.tags[(repository, reference)] = digest
        return digest, None
