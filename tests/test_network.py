"""A store is refused where the locks of a database do not hold."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agentnb.errors import StoreError
from agentnb.store import text_cache
from agentnb.store.disk import DiskStore
from agentnb.store.network import network_type


def mount(place: Path | str, kind: str, opts: str = "rw") -> Any:
    return SimpleNamespace(mountpoint=str(place), fstype=kind, opts=opts)


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "SMB3", "9p", "fuse.sshfs", "lustre", "afpfs"])
def test_network_file_systems_are_known(tmp_path: Path, kind: str) -> None:
    """By the name that the system gives them; a folder that is not there yet counts as where it will be."""
    mounts = [mount("/", "ext4"), mount(tmp_path, kind)]
    assert network_type(tmp_path / "not" / "yet", mounts) == kind
    assert network_type(tmp_path.parent, mounts) == ""


def test_the_nearest_mount_counts_and_of_two_the_later(tmp_path: Path) -> None:
    """A disk below a network folder is a disk; what was mounted over it hides it."""
    (tmp_path / "disk").mkdir()
    mounts = [mount("/", "nfs"), mount(tmp_path / "disk", "nfs"), mount(tmp_path / "disk", "xfs")]
    assert network_type(tmp_path / "disk", mounts) == ""
    assert network_type(tmp_path, mounts) == "nfs"


def test_a_link_is_followed_and_a_drive_of_windows_says_so_itself(tmp_path: Path) -> None:
    """What counts is where the bytes go."""
    (tmp_path / "far").mkdir()
    (tmp_path / "near").symlink_to(tmp_path / "far")
    assert network_type(tmp_path / "near", [mount("/", "ext4"), mount(tmp_path / "far", "nfs")]) == "nfs"
    assert network_type(tmp_path, [mount("/", "NTFS", "rw,remote")]) == "NTFS"


def test_here_is_no_network(tmp_path: Path) -> None:
    """Asked of this system, for a disk and for memory."""
    assert network_type(tmp_path) == ""
    assert network_type(Path("/dev/shm/x") if Path("/dev/shm").is_dir() else tmp_path) == ""  # noqa: S108 - only looked at


def test_a_store_there_is_refused_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is made."""
    monkeypatch.setattr(text_cache, "network_type", lambda _: "nfs4")
    with pytest.raises(StoreError, match=r"network file system \(nfs4\).*AGENTNB_STORE"):
        DiskStore(tmp_path / "s")
    assert not (tmp_path / "s").exists()
