"""What can be read of a damaged store is found, and what cannot is named."""

from __future__ import annotations

import random
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from agentnb.agent import Agent
from agentnb.errors import DamagedRecord, StoreError
from agentnb.models.scripted import ScriptedModel
from agentnb.plan import Step
from agentnb.run import Run
from agentnb.store.checkup import check
from agentnb.store.disk import DiskStore
from tests.cells import notebook_in
from tests.parts import add, answer, table, verdict
from tests.stores.make import make

SURE: Any = {"non_empty": True}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with five runs, closed and written back."""
    made = tmp_path / ".agentnb"
    make(made)
    store = DiskStore(made)
    agent = Agent(ScriptedModel([verdict(), answer()]), tools=[add, table], store=store)
    agent.run("a long result", plan=[Step(tool="table", args={"rows": 90})])
    store._rows("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    return made


def alter(folder: Path, sql: str, *values: Any) -> None:
    with sqlite3.connect(folder / "journal" / "cache.db") as raw:
        assert raw.execute(sql, values).rowcount > 0
    raw.close()


def test_a_sound_store_is_said_to_be_sound_and_left_as_it_is(folder: Path) -> None:
    """All runs, all records, and not a byte is written."""
    before = (folder / "journal" / "cache.db").read_bytes()
    found = check(folder)
    assert found.sound
    assert [run.task for run in found.runs] == [
        "complete", "waits for a person", "in doubt", "at a limit", "proposes", "a long result",
    ]  # fmt: skip
    assert (folder / "journal" / "cache.db").read_bytes() == before
    store = DiskStore(folder)
    assert all(list(store.read(run.run)) == list(run.records) for run in found.runs)
    assert len(found.runs[-1].values) == 1
    store.close()


def commit(folder: Path, run: int, place: int) -> str:
    """The key of a run's commit."""
    store = DiskStore(folder)
    keys = [key for (key,) in store._rows("SELECT key FROM Cache WHERE key LIKE 'j/%' ORDER BY key")]
    found = [key for key in keys if key.startswith(f"j/{store.runs()[run]}/")]
    store.close()
    return str(found[place])


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE Cache SET value = replace(value, 'kind', 'KIND') WHERE key = ?", "is not what was written there"),
        ("DELETE FROM Cache WHERE key = ?", "record {} is missing"),
        ("UPDATE Cache SET value = NULL WHERE key = ?", "is not text"),
    ],
)
def test_a_run_is_sound_up_to_the_damage(folder: Path, sql: str, said: str) -> None:
    """The others are whole."""
    key = commit(folder, 0, 2)
    alter(folder, sql, key)
    found = check(folder)
    left = int(key.rpartition("/")[2])
    assert not found.sound
    assert (len(found.runs[0].records), found.runs[0].records[-1].seq) == (left, left - 1)
    assert said.format(left) in found.runs[0].problem
    assert not any(run.problem for run in found.runs[1:])


def test_a_missing_end_a_damaged_value_and_a_damaged_ledger_are_named(folder: Path) -> None:
    """Each by what it means."""
    alter(folder, "DELETE FROM Cache WHERE key = ?", commit(folder, 2, -1))
    alter(folder, "UPDATE Cache SET value = 'x' WHERE key LIKE 'b/%'")
    alter(folder, "UPDATE Cache SET value = replace(value, 'done', 'DONE') WHERE key LIKE 'x/l/%'")
    found = check(folder)
    assert "records were acknowledged, and" in found.runs[2].problem
    assert found.runs[-1].problem.endswith("is damaged")
    assert any("x/l/file_ticket" in problem for problem in found.problems)
    assert any(problem.startswith("the value ") for problem in found.problems)


@pytest.mark.parametrize("where", [0.15, 0.4, 0.6, 0.8, 0.95])
def test_around_pages_that_cannot_be_read_all_else_is_read(folder: Path, where: float) -> None:
    """A whole page of nonsense: what is sound of each run is found, and nothing is made up."""
    store = DiskStore(folder)
    whole = {run: list(store.read(run)) for run in store.runs()}
    store.close()
    database = folder / "journal" / "cache.db"
    data = bytearray(database.read_bytes())
    at = int(len(data) * where) // 4096 * 4096
    data[at : at + 4096] = b"\xa5" * 4096
    database.write_bytes(data)
    found = check(folder)
    for run in found.runs:
        assert list(run.records) == whole[run.run][: len(run.records)]
    if found.sound:  # nothing was on that page
        assert {run.run: list(run.records) for run in found.runs} == whole


def test_what_is_no_store_is_no_store(tmp_path: Path) -> None:
    """And is not made."""
    with pytest.raises(FileNotFoundError):
        check(tmp_path)
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "cache.db").write_bytes(b"hello" * 1000)
    found = check(tmp_path)
    assert (found.runs, found.sound) == ([], False)


def test_the_doctor_says_it_and_saves_what_there_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it saves is taken in elsewhere: whole runs as they are, the others to look at and to fork."""
    store = DiskStore(folder)
    first = store.runs()[0]
    store.close()
    key = commit(folder, 0, 2)
    with notebook_in(tmp_path, monkeypatch) as cells:
        assert "The store is sound" in cells.line(f"doctor --store {folder}")
        alter(folder, "DELETE FROM Cache WHERE key = ?", key)
        shown = cells.line(f"doctor --store {folder}")
        assert "The store is damaged" in shown
        assert f"record {int(key[-9:])} is missing" in shown
        assert "--save DIR" in shown
        assert "6 runs were written to saved" in cells.line(f"doctor --store {folder} --save saved")
        taken = cells.line(f"import saved/{first}.jsonl --store fresh")
        assert "whatever in it acts is asked about" in taken
        assert "Cancelled" in cells.line("show r1 --store fresh")
        assert cells.line("doctor").startswith("agentnb here")
        assert "there is no store at" in str(cells.line_error("doctor --store nowhere"))


def test_a_damaged_run_stops_loudly_and_names_the_doctor(folder: Path) -> None:
    """Whoever goes on with it is not left alone."""
    alter(folder, "UPDATE Cache SET value = replace(value, 'post', 'POST') WHERE key = ?", commit(folder, 2, 0))
    store = DiskStore(folder)
    with pytest.raises(DamagedRecord, match="nothing of it is used"):
        Run(Agent(ScriptedModel([]), store=store), store.runs()[2]).resume()


def test_a_store_that_is_being_written_to_is_no_damage(tmp_path: Path) -> None:
    """What it looks at is of one moment, and the notes are older than that."""
    store = DiskStore(tmp_path / "s")
    agent = Agent(ScriptedModel([answer()] * 99), tools=[add], store=store)
    done = threading.Event()

    def work() -> None:
        for _ in range(12):
            agent.run("x", plan=[Step(tool="add", args={"a": n, "b": n}, check=SURE) for n in range(1, 20)])
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    checks = 0
    while not done.is_set():
        if store.runs():
            assert check(tmp_path / "s").sound
            checks += 1
    thread.join()
    assert checks > 2


@pytest.mark.parametrize("version", [0, 9])
def test_a_damaged_version_hides_no_run(folder: Path, version: int) -> None:
    """Whether a row is sealed is seen in the row."""
    alter_version(folder, version)
    found = check(folder)
    assert all(run.records and not run.problem for run in found.runs)


def alter_version(folder: Path, version: int) -> None:
    with sqlite3.connect(folder / "journal" / "cache.db") as raw:
        raw.execute(f"PRAGMA user_version = {version}")
    raw.close()


def test_odd_keys_and_numbers_of_rows_stop_nobody(folder: Path) -> None:
    """A key that is no text, one that is no UTF-8, a row with an enormous number; and no file is made."""
    alter(folder, "INSERT INTO Cache (rowid, key, raw, value) VALUES (?, ?, 1, 'x')", 2**45, b"\xff\xfe")
    alter(
        folder, "INSERT INTO Cache (key, raw, value) VALUES (CAST(? AS TEXT), 1, CAST(? AS TEXT))", b"j/\xff", b"\xfe"
    )
    before = {path.name for path in (folder / "journal").iterdir()}
    found = check(folder)
    assert len(found.runs) == 6
    assert {
        path.name for path in (folder / "journal").iterdir()
    } <= before  # a log may go, once its last reader is collected


def test_random_damage_never_ends_in_an_error(folder: Path, tmp_path: Path) -> None:
    """Sixty files of which a part was overwritten."""
    whole = {run.run: list(run.records) for run in check(folder).runs}
    data = (folder / "journal" / "cache.db").read_bytes()
    rng = random.Random(7)
    place = tmp_path / "copy"
    (place / "journal").mkdir(parents=True)
    for _ in range(60):
        spoilt = bytearray(data)
        at = rng.randrange(len(data))
        length = rng.choice([1, 4, 50, 5000])
        spoilt[at : at + length] = rng.randbytes(length)
        (place / "journal" / "cache.db").write_bytes(spoilt[: len(data) if rng.random() < 0.8 else at])
        for run in check(place).runs:
            assert list(run.records) == whole.get(run.run, [])[: len(run.records)]


def test_runs_of_which_nothing_is_left_are_named(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The notes of their ends know that there were some; without the rest of its id a run is known by its number."""
    store = DiskStore(folder)
    _, second, _, fourth, *_ = store.runs()
    store.close()
    for run in (second, fourth):
        alter(folder, "DELETE FROM Cache WHERE key LIKE ?", f"j/{run}/%")
    alter(folder, "DELETE FROM Cache WHERE value LIKE ? AND key LIKE 'r/%'", f"%{fourth}")
    found = check(folder)
    assert (found.lost, found.sound, len(found.runs)) == ([second, "r4"], False, 4)
    with notebook_in(tmp_path, monkeypatch) as cells:
        shown = cells.line(f"doctor --store {folder}")
        assert f"Of {second} and r4 nothing is left. %agent doctor --store {folder} --save DIR" in shown
        assert shown.count("✗ nothing of it is left") == 2
        shown = cells.line(f"doctor --store {folder} --save saved")
        assert f"Of {second} and r4 nothing is left. 4 runs were written" in shown
        fresh = cells.line(f"import saved/{found.runs[0].run}.jsonl --store 'a b'")
        assert "%agent show r1-" in fresh
        assert "--store 'a b'; whatever" in fresh


def test_what_was_taken_away_on_purpose_is_not_lost(tmp_path: Path) -> None:
    """Its note goes with it."""
    store = DiskStore(tmp_path / "s")
    agent = Agent(ScriptedModel([answer(), answer()]), tools=[add], store=store)
    steps = [Step(tool="add", args={"a": 1, "b": 1}, check=SURE)]
    gone, stays = agent.run("x", plan=steps), agent.run("y", plan=steps)
    assert store.remove([gone.id], [], store.newest())
    found = check(tmp_path / "s")
    assert ([run.run for run in found.runs], found.lost, found.sound) == ([stays.id], [], True)


def test_a_damaged_database_is_not_said_to_be_safe(folder: Path) -> None:
    """Whatever SQLite stumbles over: the error names the line that looks at this very store."""
    database = folder / "journal" / "cache.db"
    data = bytearray(database.read_bytes())
    data[4096:] = bytes((byte + 7) % 256 for byte in data[4096:])
    database.write_bytes(data)
    with pytest.raises(StoreError) as caught:
        DiskStore(folder).runs()
    assert "is safe" not in str(caught.value)
    assert f"`%agent doctor --store {folder}` says what can be read" in str(caught.value)
