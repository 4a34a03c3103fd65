"""Disks that fill, fail, vanish and lie: a run then stops loudly or goes on rightly, and never does anything twice."""

from __future__ import annotations

import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentnb.agent import Agent
from agentnb.errors import AgentError, StoreError
from agentnb.log import Clock
from agentnb.models.scripted import ScriptedModel
from agentnb.plan import Step
from agentnb.state import Status
from agentnb.store.disk import DiskStore
from agentnb.tools import tool
from tests.parts import add, answer
from tests.worker import carried_on, lines, work

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="faults as Linux makes them")

ROOT = Path(__file__).parents[1]
STEPS = 6
ALL = [f"EFFECT {2 * n}" for n in range(STEPS)]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return tmp_path / "world.txt"


def require_exactly_once(folder: Path, world: Path) -> None:
    """Gone on with, the run ends, and each line is there once and in order."""
    run = carried_on(folder, world, STEPS)
    assert (run.status, lines(world)) == (Status.COMPLETED, ALL)


# --- file systems -----------------------------------------------------------------------------------------------------


def mounted(*words: str) -> bool:
    return subprocess.run(["mount", *words], capture_output=True, check=False).returncode == 0  # noqa: S607


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    if not mounted("-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)):
        pytest.skip("only root may mount here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=False)  # noqa: S607


@pytest.mark.parametrize("left_kb", [0, 60, 120, 240, 400])
def test_a_full_disk_is_a_clear_error_and_room_is_all_that_is_needed(small: Path, world: Path, left_kb: int) -> None:
    """Wherever in the run the room runs out; what was recorded is there, and nothing is done that is not recorded."""
    store = DiskStore(small / "store")
    store.append(store.new_run_id(), [], {}) if False else None
    filler = small / "filler"

    def fills(n: int) -> None:
        if n == 2:
            free = shutil.disk_usage(small).free
            filler.write_bytes(b"x" * max(0, free - left_kb * 1024))

    with pytest.raises(StoreError, match=r"is full\. What was recorded before is safe\. Make room on the disk"):
        work(store, world, 200, before=fills)
    store.close()
    done = lines(world)
    filler.unlink()
    assert mounted("-o", "remount,size=40m", str(small))
    assert carried_on(small / "store", world, 200).status is Status.COMPLETED
    assert lines(world) == [f"EFFECT {2 * n}" for n in range(200)]
    assert lines(world)[: len(done)] == done


def test_a_file_system_that_can_only_be_read(half: tuple[Path, Path], tmp_path: Path) -> None:
    """Nothing is done there, and the run goes on once it can be written."""
    place, world = tmp_path / "place", tmp_path / "world.txt"
    shutil.copytree(half[0], place / "store")
    shutil.copy(half[1], world)
    if not (mounted("--bind", str(place), str(place)) and mounted("-o", "remount,bind,ro", str(place))):
        pytest.skip("only root may mount here")
    try:
        for folder in (place / "store", place / "another"):
            with pytest.raises(StoreError, match=r"cannot be (used|written)"):
                DiskStore(folder)
        assert lines(world) == lines(half[1])
        assert mounted("-o", "remount,bind,rw", str(place))
        require_exactly_once(place / "store", world)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)  # noqa: S607


@pytest.mark.parametrize("what", ["database", "log", "folder", "replaced"])
def test_a_file_that_vanishes_under_a_run_is_noticed_before_anything_acts(
    tmp_path: Path, world: Path, what: str
) -> None:
    """The system lets us write on into a deleted file; a claim that nobody could read later is none."""
    folder = tmp_path / "store"
    journal = folder / "journal"

    def vanish(n: int) -> None:
        if n != 4:
            return
        match what:
            case "database":
                (journal / "cache.db").unlink()
            case "log":
                (journal / "cache.db-wal").unlink()
            case "folder":
                shutil.rmtree(folder)
            case _:
                shutil.copy(journal / "cache.db", journal / "copy")
                (journal / "copy").replace(journal / "cache.db")

    store = DiskStore(folder)
    with pytest.raises(StoreError, match=r"was deleted, or put in another's place, while it was in use|cannot be used"):
        work(store, world, STEPS, before=vanish)
    assert lines(world) == ALL[:3]


# --- calls of the system that fail ------------------------------------------------------------------------------------

STRACE = shutil.which("strace")


def traced(*words: str) -> bool:
    command = [STRACE or "strace", *words]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


needs_strace = pytest.mark.skipif(
    not STRACE or not traced("-qq", "-e", "trace=none", "true"), reason="strace is not here, or may not trace"
)


def worked(folder: Path, world: Path, *strace: str) -> Any:
    """What came of the run in a process of its own, under strace where words for it are given."""
    command = [sys.executable, "-m", "tests.worker", str(folder), str(world), str(STEPS)]
    traced = [STRACE or "strace", "-f", "-qq", *strace] if strace else []
    done = subprocess.run([*traced, *command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@needs_strace
@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
@pytest.mark.parametrize("when", ["6", "9", "14", "17+"])
def test_a_call_of_the_system_that_fails(tmp_path: Path, world: Path, call: str, error: str, when: str) -> None:
    """Once, or from some moment on: what was not surely kept is not acted upon."""
    folder = tmp_path / "store"
    DiskStore(folder).close()
    inject = f"inject={call}:error={error}:when={when}"
    said = worked(folder, world, "-o", os.devnull, "-e", f"trace={call}", "-e", inject)
    assert ("error" in said and "StoreError" in said["error"]) or said["status"] in ("completed", "suspended"), said
    assert lines(world) == ALL[: len(lines(world))]
    require_exactly_once(folder, world)


@needs_strace
def test_every_commit_is_synced_before_what_it_announces_is_done(tmp_path: Path, world: Path) -> None:
    """A power cut takes what was not synced. No line is written while bytes of the log are not on the disk."""
    folder, trace = tmp_path / "store", tmp_path / "trace"
    said = worked(folder, world, "-y", "-o", str(trace), "-e", "trace=pwrite64,write,fdatasync,fsync")
    assert said == {"status": "completed", "detail": ""}
    unsynced, effects, commits = False, 0, 0
    for line in trace.read_text(errors="replace").splitlines():
        if "cache.db-wal" in line and "journal" in line:
            commits += unsynced and "sync(" in line
            unsynced = "sync(" not in line
        elif "EFFECT" in line:
            effects += 1
            assert not unsynced, f"effect {effects} came before its sync: {line}"
    assert effects == STEPS
    assert commits >= 2 * STEPS


@needs_strace
def test_the_folders_of_a_new_store_are_synced(tmp_path: Path, world: Path) -> None:
    """Or a power cut takes the database with all that was synced into it."""
    folder, trace = tmp_path / "store", tmp_path / "trace"
    worked(folder, world, "-y", "-o", str(trace), "-e", "trace=fsync")
    synced = re.findall(r"fsync\(\d+<([^>]+)>", trace.read_text(errors="replace"))
    assert {str(tmp_path), str(folder), str(folder / "journal")} <= set(synced)


def test_out_of_file_descriptors(tmp_path: Path, world: Path) -> None:
    """A clear error, and nothing that acts without its record."""
    store = DiskStore(tmp_path / "store")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    kept: list[int] = []

    def exhaust(n: int) -> None:
        if n == 4:
            store.close()  # as a new thread has it: it opens the database anew
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard[0], 512), hard[1]))
            while len(kept) < 4096:
                try:
                    kept.append(os.open(os.devnull, os.O_RDONLY))
                except OSError:
                    os.close(kept.pop())  # one is left for the line itself
                    break

    try:
        with pytest.raises(AgentError):
            work(store, world, STEPS, before=exhaust)
    finally:
        for handle in kept:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, hard)
    assert lines(world) == ALL[: len(lines(world))]
    require_exactly_once(tmp_path / "store", world)


# --- what is written lies ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A store whose run was killed in the middle of a call that had acted, its log not written back; and the world."""
    place = tmp_path_factory.mktemp("half")
    world = place / "world.txt"
    code = f"""
import os
from pathlib import Path
from agentnb.store.disk import DiskStore
from tests.worker import work
def dies(n):
    if n == 6:
        with open({str(world)!r}, "a") as file:
            file.write("EFFECT 6\\n")
        os._exit(0)
work(DiskStore({str(place / "store")!r}), Path({str(world)!r}), {STEPS}, before=dies)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    assert lines(world) == ALL[:4]
    assert used(place / "store", "journal/cache.db-wal") > 50_000
    return place / "store", world


def used(folder: Path, name: str) -> int:
    """Bytes of a file that hold something; of the log those up to its last commit, as its index says."""
    if not name.endswith("-wal"):
        return len((folder / name).read_bytes().rstrip(b"\0"))
    index = (folder / "journal" / "cache.db-shm").read_bytes()
    return 32 + int.from_bytes(index[16:20], sys.byteorder) * (24 + 4096)


def damaged(half: tuple[Path, Path], tmp_path: Path, name: str, spoil: Callable[[bytearray], None]) -> str:
    """What comes of going on where one file of the store was spoilt: "went on" or "stopped"; never anything else."""
    folder, world = tmp_path / "store", tmp_path / "world.txt"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(half[0], folder)
    shutil.copy(half[1], world)
    data = bytearray((folder / name).read_bytes())
    spoil(data)
    (folder / name).write_bytes(data)
    (folder / "journal" / "cache.db-shm").unlink(missing_ok=True)
    store = None
    try:
        store = DiskStore(folder)
        if not store.runs():
            return "stopped"  # nothing of it is believed, and whoever looks sees that it is gone
        run = work(store, world, STEPS)
        assert run.status is Status.COMPLETED
    except StoreError:
        assert lines(world) == ALL[: len(lines(world))]
        return "stopped"
    finally:
        if store is not None:
            store.close()
    assert lines(world) == ALL, "something was done twice, or not at all"
    return "went on"


def test_any_flipped_bit_stops_the_run_or_changes_nothing(half: tuple[Path, Path], tmp_path: Path) -> None:
    """Over the database, its log and the notes, two hundred of them, in every part of each file."""
    assert damaged(half, tmp_path, "heads", lambda _: None) == "went on"
    rng = random.Random(4)
    came: dict[str, int] = {}
    for name, many in (("journal/cache.db-wal", 110), ("journal/cache.db", 70), ("heads", 20)):
        size = used(half[0], name)
        for n in range(many):
            at = (size * n + rng.randrange(size)) // many

            def flip(data: bytearray, at: int = at) -> None:
                data[at] ^= 1 << rng.randrange(8)

            how = damaged(half, tmp_path, name, flip)
            came[how] = came.get(how, 0) + 1
    assert came["stopped"] > 20
    assert came["went on"] > 20


@pytest.mark.parametrize("name", ["journal/cache.db-wal", "journal/cache.db", "heads"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_file(half: tuple[Path, Path], tmp_path: Path, name: str, share: float) -> None:
    """Whichever, and wherever it ends."""

    def cut(data: bytearray) -> None:
        del data[int(used(half[0], name) * share) :]

    how = damaged(half, tmp_path, name, cut)
    assert not name.endswith("-wal") or how == "stopped"  # all else is in the log, or can be missing


# --- clocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jumps", [(3, -3, 3), (-9, -9, -9), (0, 400, -400), (-20_000, 1, 1)])
def test_a_clock_that_jumps_by_days_changes_nothing(store: DiskStore, jumps: tuple[int, ...]) -> None:
    """During the run and from one process to the next, in both directions; the run's own clock never goes back."""
    wall = [1.8e9]
    sent: list[int] = []

    @tool(effect="write", reversibility="full")
    def send(n: int) -> int:
        """Send it.

        Args:
            n: which.
        """
        sent.append(n)
        wall[0] += jumps[len(sent) % len(jumps)] * 86_400
        return n

    ticks = iter(range(10**6))
    clock = Clock(wall=lambda: wall[0], monotonic=lambda: next(ticks) / 1000)
    plan = [Step(tool="send", args={"n": n}) for n in range(6)]
    for n, day in enumerate((*jumps, *jumps)):
        wall[0] += day * 86_400
        agent = Agent(ScriptedModel([answer()]), tools=[send, add], store=store, clock=clock, approve="auto")
        session = agent.reopen(store.runs()[0]) if n else agent.begin("send", plan=plan)
        for record in session:
            if record.event.kind == "tool_returned":
                break
        session.suspend()
        del session
    run = Agent(ScriptedModel([answer()]), tools=[send, add], store=store, clock=clock, approve="auto").runs()[0]
    if not run.status.ended:
        run.resume()
    assert (run.status, sent) == (Status.COMPLETED, [*range(6)])
    times = [record.t for record in run.events]
    assert times == sorted(times)
