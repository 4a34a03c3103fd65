"""A JupyterLab of the tests' own, and a headless Chromium to use it with; skipped where there is none."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --disable-dev-shm-usage"
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a JupyterLab that replays, and the folder that it serves."""
    folder = tmp_path_factory.mktemp("lab")
    served = folder / "served"
    shutil.copytree(ROOT / "notebooks", served, ignore=shutil.ignore_patterns(".*"))
    settings = folder / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)  # a question about news would lie over what is tested
    settings.joinpath("notification.jupyterlab-settings").write_text('{"fetchNews": "false"}')
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "run",
        "IPYTHONDIR": "ip",
    }
    env = os.environ | {name: str(folder / place) for name, place in places.items()}
    env |= {"AGENTNB_MODE": "replay", "AGENTNB_NO_NETWORK": "1", "PYTHONPATH": str(ROOT)}
    options = [
        "--allow-root", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0",
        "--IdentityProvider.token=", f"--ServerApp.root_dir={served}", "--LabApp.news_url=None",
        "--LabApp.expose_app_in_browser=True",  # so that a test can ask whether a notebook has its kernel
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], env=env, stdout=log, stderr=log)
        try:
            _await(f"http://127.0.0.1:{port}/api/status", folder / "log")
            yield f"http://127.0.0.1:{port}/lab/tree", served
        finally:
            server.terminate()
            server.wait(20)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A page of a fresh browser."""
    with opened_in(tmp_path) as opened:
        # On a loaded machine JupyterLab may ask something before it is ready; no test waits for a dialog of its own.
        dialog = opened.locator("dialog.jp-Dialog")
        opened.add_locator_handler(dialog.first, lambda: _accept(opened), no_wait_after=True)
        yield opened


@pytest.fixture(scope="module")
def sheet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page for tests that put something onto it themselves: one browser for all of a module."""
    with opened_in(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@contextmanager
def opened_in(folder: Path) -> Iterator[Page]:
    """A page of a browser that keeps its things in `folder`; skips where there is none."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            folder,
            executable_path=CHROMIUM,
            headless=True,
            viewport={"width": 1180, "height": 1000},
            args=FLAGS.split(),
        )
        yield context.new_page()
        context.close()


def _accept(page: Page) -> None:
    """Say yes to what JupyterLab asks: on a loaded machine it may ask for a kernel before it has heard of any."""
    page.locator("dialog.jp-Dialog button.jp-mod-accept").first.click()


def _await(address: str, log: Path) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(address, timeout=1).close()  # noqa: S310 - our own server
        except OSError:
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-2000:]}")
