"""Layers made entry by entry, honest and hostile ones.

    layer = Layer().dir("etc").file("etc/passwd", b"x").symlink("lnk", "/etc").whiteout("old")
    layer.write(path)                     plain; or packed by "gzip", "zstd", "xz", "bzip2"
"""
import bz2
import gzip
import io
import lzma
import subprocess
import tarfile

MTIME = 1500000000  # of every entry that does not say otherwise


class Layer:
    def __init__(self, tar_format=tarfile.PAX_FORMAT):
        self.buffer = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.buffer, mode="w", format=tar_format)
        self.tail = b""

    def add(self, name, kind, data=b"", link="", mode=None, uid=0, gid=0, mtime=MTIME, device=(0, 0),
            pax=None):
        info = tarfile.TarInfo(name)
        info.type = kind
        info.mode = mode if mode is not None else 0o755 if kind == tarfile.DIRTYPE else 0o644
        info.uid, info.gid, info.mtime = uid, gid, mtime
        info.linkname = link
        info.devmajor, info.devminor = device
        info.pax_headers = dict(pax or {})
        info.size = len(data)
        self.tar.addfile(info, io.BytesIO(data))
        return self

    def file(self, name, data=b"", **kw):
        return self.add(name, tarfile.REGTYPE, data, **kw)

    def dir(self, name, **kw):
        return self.add(name, tarfile.DIRTYPE, **kw)

    def symlink(self, name, target, **kw):
        return self.add(name, tarfile.SYMTYPE, link=target, **kw)

    def link(self, name, target, **kw):
        return self.add(name, tarfile.LNKTYPE, link=target, **kw)

    def char(self, name, major, minor, **kw):
        return self.add(name, tarfile.CHRTYPE, device=(major, minor), **kw)

    def block(self, name, major, minor, **kw):
        return self.add(name, tarfile.BLKTYPE, device=(major, minor), **kw)

    def fifo(self, name, **kw):
        return self.add(name, tarfile.FIFOTYPE, **kw)

    def whiteout(self, name):
        head, _, base = name.rpartition("/")
        return self.file((head + "/" if head else "") + ".wh." + base, mode=0o600)

    def opaque(self, directory=""):
        return self.file((directory + "/" if directory else "") + ".wh..wh..opq", mode=0o600)

    def raw(self, data):
        """Bytes of the archive, as they are, after what is there."""
        self.buffer.write(data)
        self.tar.offset += len(data)
        return self

    def bytes(self, packing="plain"):
        self.tar.close()
        return pack(self.buffer.getvalue() + self.tail, packing)

    def write(self, path, packing="plain"):
        with open(path, "wb") as f:
            f.write(self.bytes(packing))
        return path


def pack(data, packing):
    if packing == "plain":
        return data
    if packing == "gzip":
        return gzip.compress(data, 6, mtime=0)
    if packing == "xz":
        return lzma.compress(data, preset=1)
    if packing == "bzip2":
        return bz2.compress(data, 1)
    if packing == "zstd":
        return subprocess.run(["zstd", "-q", "-c"], input=data, stdout=subprocess.PIPE,
                              check=True).stdout
    raise ValueError(packing)


def skippable_frame(data):
    """Of zstd: RFC 8878, 3.1.2."""
    return b"\x5a\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data
