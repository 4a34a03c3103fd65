"""A chain of hashes shows what was changed, removed, inserted or moved, and names it; its head shows the rest."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentnb.hash_chain import Broken, Entry, chained, entry_of, judged
from agentnb.values import canonical, digest


def chain(many: int) -> list[dict[str, Any]]:
    """A beginning, `many` entries, and the end."""
    return list(chained([{"audit": {"of": "r1"}}, *({"said": n} for n in range(many)), {"audit": {"end": many + 1}}]))


def found(entries: list[Any]) -> list[Entry]:
    return [entry_of(place, entry) for place, entry in enumerate(entries, start=1)]


def wrong(entries: list[Any], head: str = "") -> list[Broken]:
    return judged(found(entries), head)[0]


def rehashed(entry: dict[str, Any]) -> dict[str, Any]:
    """`entry` with the hash that fits it."""
    rest = {name: value for name, value in entry.items() if name != "hash"}
    return {**rest, "hash": digest(canonical(rest))}


def rechained(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list(chained({k: v for k, v in e.items() if k not in ("n", "before", "hash")} for e in entries))


chains = st.integers(0, 12).map(chain)


@given(chains)
def test_a_chain_is_sound(entries: list[dict[str, Any]]) -> None:
    assert judged(found(entries), entries[-1]["hash"]) == ([], True)


@given(chains, st.data())
def test_an_entry_that_is_changed_is_named(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    """Whatever of it is, and whether or not it was given a hash that fits."""
    place = data.draw(st.integers(0, len(entries) - 1))
    entry, last = copy.deepcopy(entries[place]), entries[-1]["hash"]
    name = data.draw(st.sampled_from([*entry, "more"]))
    entry[name] = data.draw(st.sampled_from(["", "x", 7, -1, 10**9, None, {"end": 3}, [1.5], float("nan")]))
    if canonical_or(entry) == canonical_or(entries[place]):
        return
    if data.draw(st.booleans()) and name != "hash" and canonical_or(entry):
        entry = rehashed(entry)
    entries[place] = entry
    if place == len(entries) - 1 and entry_of(1, entry).sound:  # nothing but the head speaks for the last one
        assert {one.what for one in wrong(entries)} <= {"changed", "removed"}
        assert not judged(found(entries), last)[1]
    else:
        assert wrong(entries) == [Broken(place + 1, place, place, "changed")]


def canonical_or(entry: dict[str, Any]) -> str:
    try:
        return canonical(entry)
    except ValueError:
        return ""


@given(chains, st.data())
def test_entries_that_are_removed_are_named(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    """By their numbers, and by where they were."""
    first = data.draw(st.integers(0, len(entries) - 1))
    last = data.draw(st.integers(first, min(len(entries) - 1, first + 3)))
    many = len(entries)
    del entries[first : last + 1]
    expected = [Broken(first + 1, first, last, "removed")] if last < many - 1 else None
    if expected:
        assert wrong(entries) == expected
    else:  # nothing says how many there were
        assert [one.what for one in wrong(entries)] == ["removed"]
        assert wrong(entries)[0].place == first + 1


@given(chains, st.data())
def test_an_entry_that_is_inserted_is_named(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    """Garbage, a forgery that follows the one before it, or a second copy of one."""
    place = data.draw(st.integers(0, len(entries)))
    kind = data.draw(st.sampled_from(["garbage", "forged", "copy"]))
    if kind == "garbage":
        fresh: Any = data.draw(st.sampled_from([None, "", {}, {"n": 3}, {"n": 1, "before": "", "hash": ""}]))
    elif kind == "forged":
        before = entries[place - 1]["hash"] if place else ""
        fresh = rehashed({"said": "forged", "n": place, "before": before})
    else:
        fresh = copy.deepcopy(data.draw(st.sampled_from(entries)))
    entries.insert(place, fresh)
    (one,) = wrong(entries)
    assert one.what == "inserted"
    same = [n for n, entry in enumerate(entries, start=1) if entry == fresh]
    assert one.place in (same if kind == "copy" else [place + 1])


@given(chains, st.data())
def test_entries_that_change_places_are_named(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    """One of two neighbours, both of others."""
    one, other = sorted(data.draw(st.lists(st.integers(0, len(entries) - 1), min_size=2, max_size=2, unique=True)))
    entries[one], entries[other] = entries[other], entries[one]
    moved = wrong(entries)
    assert {m.what for m in moved} == {"moved"}
    assert {m.place for m in moved} <= {one + 1, other + 1}
    assert len(moved) == (1 if other - one == 1 else 2)


@given(chains, st.data())
def test_an_entry_that_is_put_elsewhere_is_named(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    """Of two that change places either one is."""
    one, other = data.draw(st.lists(st.integers(0, len(entries) - 1), min_size=2, max_size=2, unique=True))
    entry = entries.pop(one)
    entries.insert(other, entry)
    (moved,) = wrong(entries)
    assert moved.what == "moved"
    assert moved.n == entry["n"] or abs(one - other) == 1


@given(chains, st.data())
def test_what_is_written_anew_to_the_end_has_another_head(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    """The chain is whole then; whoever has kept the head knows."""
    place, head = data.draw(st.integers(0, len(entries) - 2)), entries[-1]["hash"]
    entries[place]["more"] = "forged"
    forged = rechained(entries)
    assert judged(found(forged), forged[-1]["hash"]) == ([], True)
    assert judged(found(forged), head) == ([], False)


@given(chains, st.data())
def test_nothing_gets_through(entries: list[dict[str, Any]], data: st.DataObject) -> None:
    """Any number of changes at once: something is said, unless nothing is another than it was."""
    was = copy.deepcopy(entries)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(0, len(entries) - 1)))
        match data.draw(st.sampled_from(["edit", "forge", "cut", "copy", "swap"])):
            case "edit" if entries:
                entries[at] = {**entries[at], "said": data.draw(st.integers(0, 3))}
            case "forge" if entries:
                entries[at] = rehashed({**entries[at], "said": 99})
            case "cut" if entries:
                del entries[at]
            case "copy" if entries:
                entries.insert(at, copy.deepcopy(data.draw(st.sampled_from(entries))))
            case "swap" if entries:
                entries[at], entries[0] = entries[0], entries[at]
            case _:
                pass
    broken, same = judged(found(entries), was[-1]["hash"])
    assert (broken == [] and same) == (entries == was)


@pytest.mark.parametrize("entries", [[], [None], [{"n": 10**9, "before": "", "hash": ""}]])
def test_what_is_no_chain_has_no_end(entries: list[Any]) -> None:
    """And is no reason to fail, or to count to a thousand million."""
    assert any(one.what in ("removed", "changed") for one in wrong(entries))


def test_a_number_that_no_chain_has_is_one_gap() -> None:
    """A hostile file cannot have them counted one by one."""
    end = rehashed({"audit": {"end": 10**9}, "n": 10**9, "before": "x"})
    assert wrong([chain(0)[0], end]) == [Broken(2, 1, 10**9 - 1, "removed")]
