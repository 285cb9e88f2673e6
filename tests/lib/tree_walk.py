#!/usr/bin/python3
"""Everything there is to say about a tree, to compare two of them.

    tree_walk.py DIR              one line for each path
    tree_walk.py DIR OTHER        what differs, exit 1 when something does

Type, mode, owner, size and content, mtime in ns, device numbers, link targets, extended attributes
(POSIX ACLs are among them), and which names are one file.
"""
import hashlib
import os
import stat
import sys

TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink", stat.S_IFIFO: "fifo",
         stat.S_IFCHR: "char", stat.S_IFBLK: "block", stat.S_IFSOCK: "socket"}


def sha256(path):
    with open(path, "rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def describe(path, atime=False):
    st = os.lstat(path)
    kind = TYPES[stat.S_IFMT(st.st_mode)]
    d = {"type": kind, "mode": oct(stat.S_IMODE(st.st_mode)), "owner": (st.st_uid, st.st_gid),
         "mtime": st.st_mtime_ns}
    if atime:
        d["atime"] = st.st_atime_ns
    if kind == "file":
        d["size"] = st.st_size
        d["content"] = sha256(path)
    if kind == "symlink":
        d["target"] = os.readlink(path)
        del d["mode"]
    if kind in ("char", "block"):
        d["device"] = (os.major(st.st_rdev), os.minor(st.st_rdev))
    names = sorted(os.listxattr(path, follow_symlinks=False))
    d["xattrs"] = {n: os.getxattr(path, n, follow_symlinks=False).hex() for n in names}
    if kind != "dir" and st.st_nlink > 1:
        d["inode"] = (st.st_dev, st.st_ino)
    return d


def walk(root, atime=False, without=()):
    """{path below root, bytes: description}; hardlinks as the first of their names. Below the
    directories in without nothing is looked at."""
    root = os.fsencode(root)
    tree = {b".": describe(root, atime)}
    todo = [b""]
    while todo:
        sub = todo.pop()
        for name in os.listdir(os.path.join(root, sub) if sub else root):
            path = os.path.join(sub, name)
            tree[path] = describe(os.path.join(root, path), atime)
            if tree[path]["type"] == "dir" and path not in without:
                todo.append(path)
    groups = {}
    for path in sorted(tree):
        inode = tree[path].pop("inode", None)
        if inode is not None:
            tree[path]["same as"] = groups.setdefault(inode, path)
    return tree


def differences(a, b, ignore=()):
    """Lines; ignore: keys of the descriptions."""
    lines = []
    for path in sorted(set(a) | set(b)):
        if path not in a or path not in b:
            lines.append("%r is only in the %s" % (path, "first" if path in a else "second"))
            continue
        for key in sorted(set(a[path]) | set(b[path])):
            x, y = a[path].get(key), b[path].get(key)
            if x != y and key not in ignore:
                lines.append("%r: %s is %s, not %s" % (path, key, x, y))
    return lines


def main():
    trees = [walk(d) for d in sys.argv[1:3]]
    if len(trees) == 1:
        for path, d in sorted(trees[0].items()):
            print(os.fsdecode(path), d)
        return 0
    lines = differences(*trees)
    print("\n".join(lines))
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
