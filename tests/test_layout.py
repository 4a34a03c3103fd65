"""Stores of every layout there has been are opened and gone on with; those of newer releases are refused."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import zipfile
from pathlib import Path

import pytest

from agentnb.errors import DamagedRecord, StoreError
from agentnb.state import Status
from agentnb.store import layout
from agentnb.store.disk import DiskStore
from agentnb.store.layout import LAYOUT
from tests.stores.make import agent
from tests.test_store import rec, started

STORES = sorted((Path(__file__).parent / "stores").glob("layout-*.zip"), key=lambda path: int(path.stem[7:]))


def unpacked(file: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    with zipfile.ZipFile(file) as packed:
        packed.extractall(folder)
    return folder


def version(folder: Path) -> int:
    with sqlite3.connect(folder / "journal" / "cache.db") as raw:
        [(number,)] = raw.execute("PRAGMA user_version")
    raw.close()
    return int(number)


def test_one_store_is_kept_for_every_layout() -> None:
    """`python -m tests.stores.make N` makes the newest, when a layout is new."""
    assert [path.stem for path in STORES] == [f"layout-{n}" for n in range(1, LAYOUT + 1)]


@pytest.mark.parametrize("file", STORES, ids=lambda path: path.stem)
def test_a_store_of_every_layout_is_opened_and_gone_on_with(file: Path, tmp_path: Path) -> None:
    """Its runs are as they were left, and each goes on: answered, settled, extended, executed."""
    folder = unpacked(file, tmp_path)
    yes = agent(folder)
    proposes, limited, doubted, waits, complete = yes.runs()
    assert [run.status for run in (complete, waits, doubted, limited, proposes)] == [
        "completed", "awaiting_approval", "suspended", "stopped", "completed",
    ]  # fmt: skip
    assert version(folder) == LAYOUT
    assert complete.result("s1")["text"] == "x" * 980
    assert waits.approve(by="ada").status is Status.COMPLETED
    assert doubted.resume(in_doubt="done").status is Status.COMPLETED
    assert limited.extend(steps=5).status is Status.COMPLETED
    assert proposes.execute(1).pending == ()
    again = yes.run("once more", plan=[{"tool": "file_ticket", "args": {"title": "first"}}])
    assert "done before" in repr(again)
    assert [run.status for run in agent(folder).runs()] == ["completed"] * 6


def test_a_newer_store_is_refused_and_left_as_it_is(store: DiskStore) -> None:
    """Nobody guesses at what a newer release has written."""
    run = started(store)
    store._rows(f"PRAGMA user_version = {LAYOUT + 1}", ())
    store.close()
    with pytest.raises(
        StoreError, match=rf"layout {LAYOUT + 1}, and this agentnb reads up to {LAYOUT}: install a newer"
    ):
        DiskStore(store.place)
    with sqlite3.connect(Path(store.place) / "journal" / "cache.db") as raw:
        assert not raw.execute("SELECT 1 FROM sqlite_master WHERE type = 'trigger'").fetchall()
        raw.execute(f"PRAGMA user_version = {LAYOUT}")
    raw.close()
    assert list(DiskStore(store.place).read(run)) == [rec(0)]


def test_a_migration_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is one transaction: the old layout is whole, and the next try succeeds."""
    folder = unpacked(STORES[0], tmp_path)
    before = (folder / "journal" / "cache.db").read_bytes()

    def dies(rows: layout.Rows) -> None:
        layout._seal_rows(rows)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(layout, "_MIGRATIONS", {1: dies})
        with pytest.raises(KeyboardInterrupt):
            DiskStore(folder)
    assert version(folder) == 0
    assert len(agent(folder).runs()) == 5
    assert before


def test_rows_that_are_not_of_the_old_layout_are_not_taken_for_it(store: DiskStore) -> None:
    """A version that was flipped to an older one must not have sealed rows sealed once more."""
    run = started(store)
    store._rows("PRAGMA user_version = 1", ())
    store.close()
    with pytest.raises(DamagedRecord, match="has not the form of layout 1: nothing was changed"):
        DiskStore(store.place)
    store._rows(f"PRAGMA user_version = {LAYOUT}", ())
    assert list(DiskStore(store.place).read(run)) == [rec(0)]


def test_two_processes_bring_it_up_once(tmp_path: Path) -> None:
    """Whoever comes second finds it done."""
    folder = unpacked(STORES[0], tmp_path)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(len(DiskStore(folder).runs()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [5] * 4
    shutil.rmtree(folder)
