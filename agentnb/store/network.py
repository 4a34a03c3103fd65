"""Whether a folder is on a file system that a store must not be on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

__all__ = ["Mount", "network_type"]

_NETWORK: Final = {
    "9p", "afpfs", "afs", "beegfs", "ceph", "cifs", "davfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs",
    "nfs4", "ocfs2", "orangefs", "pvfs2", "smb", "smb2", "smb3", "smbfs", "webdav",
    "fuse.ceph", "fuse.davfs2", "fuse.gcsfuse", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.sshfs",
}  # fmt: skip
"""Locks and the shared memory of a write-ahead log do not hold on these, so two processes would write at once."""


class Mount(Protocol):
    """A mounted file system, as psutil gives it."""

    mountpoint: str
    fstype: str
    opts: str


def network_type(folder: Path, mounts: Iterable[Mount] | None = None) -> str:
    """The type of the network file system that `folder` is on, such as "nfs4"; "" where it is on none.

    Args:
        folder: absolute; it need not exist yet.
        mounts: what is mounted; asked of the system if left out.
    """
    there = next(place for place in (folder, *folder.parents) if place.exists())
    if mounts is None:
        if sys.platform == "linux" and os.major(there.stat().st_dev):
            return ""  # on a block device; what comes over a network has none
        import psutil

        mounts = psutil.disk_partitions(all=True)
    real = there.resolve()
    above = [mount for mount in mounts if real.is_relative_to(mount.mountpoint)]
    if not above:
        return ""
    nearest = max(len(Path(mount.mountpoint).parts) for mount in above)
    mount = [mount for mount in above if len(Path(mount.mountpoint).parts) == nearest][-1]  # which covers the others
    remote = "remote" in mount.opts.split(",")  # as Windows says
    return mount.fstype if remote or mount.fstype.lower() in _NETWORK else ""
