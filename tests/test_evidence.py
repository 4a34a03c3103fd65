"""Records that were altered in the store are found and named, though somebody has sealed them anew."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentnb import Agent, Budget, Check, Step
from agentnb.anchors import head_of_run, read_anchor
from agentnb.checkpoint import load
from agentnb.codec import decode
from agentnb.store.disk import DiskStore
from agentnb.store.evidence import Evidence, Flaw, examine
from agentnb.store.heads import Head, Heads
from agentnb.store.seal import LENGTH, sealed, seals
from tests.audited import busy
from tests.parts import add
from tests.stores.make import Steady, agent
from tests.test_layout import STORES, unpacked

Row = tuple[str, str]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A store that nobody has altered, closed and written back, and the run in it."""
    folder = tmp_path_factory.mktemp("kept") / "store"
    store = DiskStore(folder)
    run = busy(store).id
    store._rows("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    return folder, run


@pytest.fixture
def copied(kept: tuple[Path, str], tmp_path: Path) -> Callable[[], Path]:
    """Makes a copy of it, the same as it was."""

    def copy() -> Path:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(kept[0], tmp_path / "copy")
        return tmp_path / "copy"

    return copy


def sql(folder: Path, query: str, *values: Any) -> list[Any]:
    with closing(sqlite3.connect(folder / "journal" / "cache.db")) as raw, raw:
        return raw.execute(query, values).fetchall()


def commits(folder: Path, run: str) -> list[Row]:
    return sql(folder, "SELECT key, value FROM Cache WHERE key >= ? AND key < ? ORDER BY key", f"j/{run}/", f"j/{run}0")


def put(folder: Path, key: str, value: str) -> None:
    sql(folder, "UPDATE Cache SET value = ? WHERE key = ?", value, key)


def spans(rows: list[Row]) -> list[tuple[int, int]]:
    """The records of each commit."""
    found = [[record.seq for record in decode(value[LENGTH + 1 :])] for _, value in rows]
    return [(seqs[0], seqs[-1]) for seqs in found]


def named(found: Evidence) -> set[tuple[int, int, str]]:
    return {(flaw.first, flaw.last, flaw.what) for flaw in found.flaws}


def resealed(rows: list[Row], place: int, text: str) -> str:
    """`text` as a row, with the seal that fits it there."""
    return sealed(rows[place][0], text, rows[place - 1][1][:LENGTH] if place else "")


def altered(text: str) -> str:
    """A commit's text with one of its times changed: it can be read as well as before."""
    records = json.loads(text)
    records[-1][1] += 1
    return json.dumps(records, separators=(",", ":"))


def test_what_nobody_has_altered_is_sound(kept: tuple[Path, str]) -> None:
    """All of it is anchored, the run inside it too, and the newest anchor's hash is the head."""
    folder, run = kept
    store = DiskStore(folder)
    for each in store.runs():
        found = examine(folder, each)
        assert found.flaws == ()
        assert found.anchored == found.records - 1 == store.last(each).seq
        assert found.heads[-1] == head_of_run(store, each)
    assert examine(folder, run).children == (store.runs()[1],)
    store.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.data())
def test_a_commit_that_is_changed_is_named(
    kept: tuple[Path, str], copied: Callable[[], Path], data: st.DataObject
) -> None:
    """With its old seal, with one that fits, and with all seals after it made anew as well."""
    folder, run = copied(), kept[1]
    rows = commits(folder, run)
    place = data.draw(st.integers(0, len(rows) - 1))
    how = data.draw(st.sampled_from(["text", "seal", "resealed", "chain"]))
    key, value = rows[place]
    fresh = altered(value[LENGTH + 1 :])
    if how == "text":
        put(folder, key, f"{value[:LENGTH]} {fresh}")
    elif how == "seal":
        put(folder, key, f"{'0' * LENGTH} {value[LENGTH + 1 :]}")
    else:
        put(folder, key, resealed(rows, place, fresh))
    expected = {(*spans(rows)[place], "changed")}
    if how == "chain":
        before = resealed(rows, place, fresh)[:LENGTH]
        for later, (after, kept_there) in enumerate(rows[place + 1 :], start=place + 1):
            put(folder, after, anew := sealed(after, kept_there[LENGTH + 1 :], before))
            before = anew[:LENGTH]
            expected.add((*spans(rows)[later], "changed"))
    assert named(examine(folder, run)) == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(st.data())
def test_a_commit_that_is_removed_inserted_or_moved_is_named(
    kept: tuple[Path, str], copied: Callable[[], Path], data: st.DataObject
) -> None:
    """Each by its records."""
    folder, run = copied(), kept[1]
    rows = commits(folder, run)
    all_of_them = spans(rows)
    place = data.draw(st.integers(0, len(rows) - 1))
    match data.draw(st.sampled_from(["removed", "inserted", "moved", "swapped"])):
        case "removed":
            sql(folder, "DELETE FROM Cache WHERE key = ?", rows[place][0])
            assert named(examine(folder, run)) == {(*all_of_them[place], "removed")}
        case "inserted":
            seq = data.draw(st.integers(0, all_of_them[-1][1] + 2).filter(lambda n: n not in dict(all_of_them)))
            last = json.loads(rows[-1][1][LENGTH + 1 :])[-1]
            text = json.dumps([[seq, *last[1:]]])
            before = max((n for n, (first, _) in enumerate(all_of_them) if first < seq), default=0)
            key = f"j/{run}/{seq:010d}"
            fresh = sealed(key, text, rows[before][1][:LENGTH])
            sql(folder, "INSERT INTO Cache (key, raw, mode, value) VALUES (?, 1, 1, ?)", key, fresh)
            found = named(examine(folder, run))
            gap = {(all_of_them[-1][1] + 1, seq - 1, "removed")} if seq > all_of_them[-1][1] + 1 else set()
            assert found == (gap or {(seq, seq, "inserted")})
        case "moved":
            other = data.draw(st.integers(0, len(rows) - 1).filter(lambda n: n != place))
            put(folder, rows[other][0], rows[place][1])
            sql(folder, "DELETE FROM Cache WHERE key = ?", rows[place][0])
            assert named(examine(folder, run)) == {(*all_of_them[place], "moved"), (*all_of_them[other], "removed")}
        case _:
            other = data.draw(st.integers(0, len(rows) - 1).filter(lambda n: n != place))
            put(folder, rows[other][0], rows[place][1])
            put(folder, rows[place][0], rows[other][1])
            assert named(examine(folder, run)) == {(*all_of_them[place], "moved"), (*all_of_them[other], "moved")}


def test_records_of_one_commit_are_named_one_by_one(kept: tuple[Path, str], copied: Callable[[], Path]) -> None:
    """Where one is taken out of it, put into it, or two change places."""
    folder, run = copied(), kept[1]
    rows = commits(folder, run)
    place = next(n for n, (first, last) in enumerate(spans(rows)) if last - first >= 2)
    first, last = spans(rows)[place]
    records = json.loads(rows[place][1][LENGTH + 1 :])

    def found(changed: list[Any]) -> set[tuple[int, int, str]]:
        put(folder, rows[place][0], resealed(rows, place, json.dumps(changed)))
        return named(examine(folder, run))

    assert found([records[0], *records[2:]]) == {(first + 1, first + 1, "removed")}
    assert found([*records, [last + 1, *records[-1][1:]]]) == {(last + 1, last + 1, "inserted")}
    assert found([records[1], records[0], *records[2:]]) == {(first, last, "moved")}
    assert found(["nothing"]) == {(first, last, "changed")}


def test_a_value_kept_aside_is_held_against_its_hash(kept: tuple[Path, str], copied: Callable[[], Path]) -> None:
    """And named by the commit that refers to it."""
    folder, run = copied(), kept[1]
    [(key,)] = sql(folder, "SELECT key FROM Cache WHERE key LIKE 'b/%' AND value LIKE '%late parcels 17%'")
    put(folder, key, '["nothing"]')
    (flaw,) = examine(folder, run).flaws
    assert (flaw.what, "value" in flaw.said) == ("changed", True)
    sql(folder, "DELETE FROM Cache WHERE key = ?", key)
    assert [flaw.what for flaw in examine(folder, run).flaws] == ["removed"]


def anchors(folder: Path, run: str) -> list[Row]:
    return sql(folder, "SELECT key, value FROM Cache WHERE key LIKE ? ORDER BY key", f"x/h/{run}/%")


def test_anchors_are_held_against_each_other(kept: tuple[Path, str], copied: Callable[[], Path]) -> None:
    """One that is changed, sealed anew or not, or taken away."""
    folder, run = copied(), kept[1]
    rows = anchors(folder, run)
    assert len(rows) > 2
    key, value = rows[1]
    put(folder, key, value[:-9] + "0" + value[-8:])
    assert {flaw.where for flaw in examine(folder, run).flaws} == {"anchors"}
    anchor = asdict(read_anchor(value[LENGTH + 1 :]))
    put(folder, key, sealed(key, json.dumps({**anchor, "text": "0" * 64})))
    said = " ".join(flaw.said for flaw in examine(folder, run).flaws)
    assert f"the anchor at record {int(rows[2][0][-10:])} does not follow" in said
    sql(folder, "DELETE FROM Cache WHERE key = ?", key)
    assert any("does not follow" in flaw.said for flaw in examine(folder, run).flaws)
    folder = copied()
    sql(folder, "DELETE FROM Cache WHERE key = ?", rows[0][0])
    assert named(examine(folder, run)) == {(-1, -1, "removed")}
    folder = copied()
    sql(folder, "DELETE FROM Cache WHERE key = ?", rows[-1][0])
    assert named(examine(folder, run)) == {(-1, -1, "removed")}


def test_whoever_rewrites_all_leaves_another_head(kept: tuple[Path, str], copied: Callable[[], Path]) -> None:
    """Rows, seals, anchors and the note of the end: nothing is wrong but the head."""
    folder, run = copied(), kept[1]
    was, rows, before = examine(folder, run), commits(folder, run), ""
    for place, (key, value) in enumerate(rows):
        text = altered(value[LENGTH + 1 :]) if place == 3 else value[LENGTH + 1 :]
        put(folder, key, sealed(key, text, before))
        before = seals(key, text, before)
    fresh = {int(key[-10:]): value for key, value in commits(folder, run)}
    head = ""
    for key, value in anchors(folder, run):
        anchor = read_anchor(value[LENGTH + 1 :])
        listed = " ".join(f"{seq}:{fresh[seq][:LENGTH]}" for seq in anchor.commits)
        made = asdict(anchor) | {"seals": listed, "before": head}
        text = json.dumps(made)
        head = read_anchor(text).head
        put(folder, key, sealed(key, text))
    Heads(folder / "heads").note(run, Head(was.records - 1, before))
    now = examine(folder, run)
    assert now.flaws == ()
    assert was.heads[-1] not in now.heads


class TestWithoutAnchors:
    """The chain of seals alone, as of a run that was recorded before there were anchors, or never came to rest."""

    @pytest.fixture
    def folder(self, kept: tuple[Path, str], copied: Callable[[], Path]) -> Path:
        folder = copied()
        sql(folder, "DELETE FROM Cache WHERE key LIKE 'x/h/%'")
        assert examine(folder, kept[1]).flaws == ()
        assert examine(folder, kept[1]).anchored == -1
        return folder

    def test_a_change_is_found_at_every_place(self, kept: tuple[Path, str], folder: Path) -> None:
        """And named together with its neighbour at most."""
        rows = commits(folder, kept[1])
        for place, (key, value) in enumerate(rows):
            first, last = spans(rows)[place]
            for fresh in (
                f"{value[:LENGTH]} {altered(value[LENGTH + 1 :])}",
                resealed(rows, place, altered(value[LENGTH + 1 :])),
            ):
                put(folder, key, fresh)
                found = examine(folder, kept[1]).flaws
                assert found, place
                assert all(flaw.what == "changed" for flaw in found)
                assert any(flaw.first <= first and last <= flaw.last for flaw in found)
                assert len(found) <= 2
            put(folder, key, value)

    def test_a_gap_and_a_lost_end_are_named(self, kept: tuple[Path, str], folder: Path) -> None:
        """The note of the last commit stands outside the database."""
        rows = commits(folder, kept[1])
        first, last = spans(rows)[2]
        sql(folder, "DELETE FROM Cache WHERE key = ?", rows[2][0])
        assert (first, last, "removed") in named(examine(folder, kept[1]))
        put(folder, rows[2][0], rows[2][1])
        sql(folder, "DELETE FROM Cache WHERE key = ?", rows[-1][0])
        assert (*spans(rows)[-1], "removed") in named(examine(folder, kept[1]))


def test_a_run_that_goes_on_is_anchored_from_where_it_rested(tmp_path: Path) -> None:
    """Each anchor lists the commits since the last one, so that all of them together grow with the run."""
    store = DiskStore(tmp_path / "store")
    steps = [Step(tool="add", args={"a": n, "b": 1}, check=Check(non_empty=True)) for n in range(6)]
    adding = Agent(Steady(), tools=[add], store=store, assess=False, budget=Budget(steps=3))
    run = adding.run("add", plan=steps)
    run.extend(steps=2)
    run.extend(steps=9)
    found = [read_anchor(text) for _, text in store.rows(f"h/{run.id}/")]
    assert [anchor.before for anchor in found] == ["", *(anchor.head for anchor in found[:-1])]
    starts = [seq for anchor in found for seq in anchor.commits]
    assert starts == sorted(set(starts))
    assert examine(tmp_path / "store", run.id).flaws == ()
    assert found[-1].upto == load(store, run.id)[0].seq
    store.close()


def test_a_flaw_says_where() -> None:
    assert [Flaw(n, last, "changed", "").where for n, last in ((-1, -1), (3, 3), (3, 5))] == [
        "anchors", "record 3", "records 3–5",
    ]  # fmt: skip


@pytest.mark.parametrize("archive", STORES, ids=lambda path: path.stem)
def test_a_store_of_an_older_release_is_sound_and_not_anchored(archive: Path, tmp_path: Path) -> None:
    """As it is, and once it is brought up; the next rest anchors all of it."""
    folder = unpacked(archive, tmp_path)
    runs = sorted({key.split("/")[1] for (key,) in sql(folder, "SELECT key FROM Cache WHERE key LIKE 'j/%'")})
    assert [examine(folder, run).flaws for run in runs] == [()] * 5
    store = DiskStore(folder)
    found = [examine(folder, run) for run in store.runs()]
    assert [one.flaws for one in found] == [()] * 5
    assert {one.anchored for one in found} == {-1}
    stopped = next(run for run in agent(folder).runs() if run.stop_reason == "steps")
    stopped.extend(steps=50)
    assert examine(folder, stopped.id).anchored == store.last(stopped.id).seq
    assert examine(folder, stopped.id).flaws == ()
    store.close()


@pytest.mark.parametrize("value", [None, b"\xff\xfe", 7, "", "no seal", "[]", "{" * 9999])
def test_rows_of_another_form_are_named(kept: tuple[Path, str], copied: Callable[[], Path], value: Any) -> None:
    """And read by nobody."""
    folder, run = copied(), kept[1]
    rows = commits(folder, run)
    put(folder, rows[1][0], value)
    put(folder, anchors(folder, run)[-1][0], value)
    found = named(examine(folder, run))
    assert (-1, -1, "changed") in found
    assert any(first <= spans(rows)[1][0] <= last for first, last, _ in found)
    sql(folder, "UPDATE Cache SET key = ? WHERE key = ?", f"j/{run}/xyz", rows[2][0])
    assert any(what == "inserted" for _, _, what in named(examine(folder, run)))


def test_a_run_that_was_taken_away_whole_is_missed(kept: tuple[Path, str], copied: Callable[[], Path]) -> None:
    """The note of its end is left; where there is no store there is nothing to say."""
    folder, run = copied(), kept[1]
    was = examine(folder, run).records
    sql(folder, "DELETE FROM Cache WHERE key LIKE ?", f"%/{run}/%")
    assert named(examine(folder, run)) == {(0, was - 1, "removed")}
    with pytest.raises(FileNotFoundError):
        examine(folder / "nothing", run)
