"""A journal that ends before its note has lost something, and that is not passed over."""

from __future__ import annotations

import gc
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentnb.errors import DamagedRecord, RunNotFound
from agentnb.store.disk import DiskStore
from agentnb.store.heads import Head, Heads
from tests.test_store import rec, started

SEAL = "0123456789abcdef" * 2


def test_notes_are_read_back_by_another_process_run_by_run(tmp_path: Path) -> None:
    """Each run has its own place, and a run of another name in it is another run."""
    heads = Heads(tmp_path / "heads")
    heads.note("r2-heron", Head(7, SEAL))
    heads.note("r1-crane", Head(0, SEAL[::-1]))
    other = Heads(tmp_path / "heads")
    assert other.noted("r2-heron") == Head(7, SEAL)
    assert other.noted("r1-crane") == Head(0, SEAL[::-1])
    assert other.noted("r2-crane") is None
    heads.note("r2-heron", None)
    assert other.noted("r2-heron") is None
    heads.close()


@pytest.mark.parametrize("run", ["", "r", "x1", "rx-1", "r-1", "r٣-heron", "r12345678901-heron"])
def test_what_has_no_number_is_not_noted(tmp_path: Path, run: str) -> None:
    """It is less protected, and no error."""
    heads = Heads(tmp_path / "heads")
    heads.note(run, Head(1, SEAL))
    assert heads.noted(run) is None
    assert not (tmp_path / "heads").exists()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 8 * 32 - 1))
def test_a_damaged_note_is_none(tmp_path: Path, bit: int) -> None:
    """Whichever bit of it is flipped."""
    heads = Heads(tmp_path / "heads")
    heads.note("r0-heron", Head(7, SEAL))
    heads.close()
    data = bytearray((tmp_path / "heads").read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    (tmp_path / "heads").write_bytes(data)
    assert Heads(tmp_path / "heads").noted("r0-heron") is None


def with_three_commits(store: DiskStore) -> str:
    run = started(store)
    store.append(run, [rec(1), rec(2)], {})
    store.append(run, [rec(3)], {})
    return run


def forget(store: DiskStore, run: str, *seqs: int) -> None:
    with sqlite3.connect(Path(store.place) / "journal" / "cache.db") as raw:
        for seq in seqs:
            assert raw.execute("DELETE FROM Cache WHERE key = ?", (f"j/{run}/{seq:010d}",)).rowcount == 1
    raw.close()


def test_a_missing_end_is_loud(store: DiskStore) -> None:
    """The last commits are gone without a trace in the database: the note still knows of them."""
    run = with_three_commits(store)
    forget(store, run, 3)
    for read in (lambda: list(store.read(run)), lambda: store.last(run)):
        with pytest.raises(DamagedRecord, match=f"{run}: 4 records were acknowledged, and 3 are in .*may have acted"):
            read()
    forget(store, run, 0, 1)
    with pytest.raises(DamagedRecord, match=f"{run}: 4 records were acknowledged, and 0 are in"):
        list(store.read(run))


def test_an_older_note_is_no_error(store: DiskStore) -> None:
    """After a power cut the note may be behind the journal, or not there at all."""
    run = with_three_commits(store)
    before = list(store.read(run))
    first = next(iter(store._rows("SELECT value FROM Cache WHERE key LIKE 'j/%0000'", ())))[0][:32]
    store._heads.note(run, Head(0, first))
    assert list(store.read(run)) == before
    (Path(store.place) / "heads").unlink()
    assert list(DiskStore(store.place).read(run)) == before
    with pytest.raises(RunNotFound):
        DiskStore(store.place).read("r9-heron")


def test_another_history_of_the_same_length_is_loud(store: DiskStore) -> None:
    """The seal is noted with the place."""
    run = with_three_commits(store)
    store._heads.note(run, Head(3, SEAL))
    with pytest.raises(DamagedRecord, match="record 3 is another than was acknowledged"):
        list(store.read(run))


def test_a_database_put_back_from_a_copy_is_loud_until_that_is_meant(tmp_path: Path) -> None:
    """The message says what to delete where it was meant."""
    store = DiskStore(tmp_path / "s")
    run = started(store)
    store.close()
    shutil.copytree(tmp_path / "s" / "journal", tmp_path / "copy")
    again = DiskStore(tmp_path / "s")
    again.append(run, [rec(1)], {})
    again.close()
    shutil.rmtree(tmp_path / "s" / "journal")
    shutil.copytree(tmp_path / "copy", tmp_path / "s" / "journal")
    restored = DiskStore(tmp_path / "s")
    with pytest.raises(DamagedRecord, match=f"delete {tmp_path / 's' / 'heads'}"):
        list(restored.read(run))
    (tmp_path / "s" / "heads").unlink()
    assert list(restored.read(run)) == [rec(0)]
    restored.append(run, [rec(1)], {})
    restored.close()


@pytest.mark.skipif(os.name != "posix", reason="a folder that cannot be written, as POSIX has it")
def test_where_it_cannot_be_noted_the_commit_stands(store: DiskStore) -> None:
    """A note protects; the lack of one stops nobody."""
    run = started(store)
    store.close()
    (Path(store.place) / "heads").unlink()
    (Path(store.place) / "heads").mkdir()
    store.append(run, [rec(1)], {})
    assert list(store.read(run)) == [rec(0), rec(1)]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="descriptors are counted as Linux shows them")
def test_a_store_that_is_dropped_leaves_no_descriptor(tmp_path: Path) -> None:
    """Each `%agent` command opens one: a kernel that lives for weeks must not run out of descriptors."""

    def noted() -> int:
        links = (entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())
        return sum(link == tmp_path / "heads" for link in links)

    heads = Heads(tmp_path / "heads")
    heads.note("r1-crane", Head(0, SEAL))
    assert noted() == 1
    del heads
    gc.collect()
    assert noted() == 0
    closed = Heads(tmp_path / "heads")
    closed.note("r1-crane", Head(1, SEAL))
    closed.close()
    closed.note("r1-crane", Head(2, SEAL))
    closed.close()
    assert (noted(), closed.noted("r1-crane")) == (0, Head(2, SEAL))
