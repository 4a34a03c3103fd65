"""Executes a notebook in a fresh kernel, shows how far it is, and prints what its agent answered.

    python tools/run_notebook.py notebooks/01_quickstart.ipynb build/01_quickstart.ipynb

The kernel runs in TARGET's folder, so that its store and what the cells write land there. TARGET may be SOURCE: then it
is executed in place. What was executed is written even where a cell failed; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import zmq
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config


def main() -> int:
    """0 where every cell ran, 1 where one failed."""
    options = _arguments()
    target: Path = options.target
    notebook = nbformat.read(options.source, as_version=4)
    target.parent.mkdir(parents=True, exist_ok=True)
    client = NotebookClient(
        notebook,
        timeout=options.timeout,
        kernel_name="python3",
        record_timing=False,  # clocks would make every run differ
        config=Config({"KernelManager": {"transport_encryption": "auto" if zmq.has("curve") else "disabled"}}),
        resources={"metadata": {"path": str(target.parent)}},
        on_cell_start=_Progress(notebook).started,
    )
    try:
        client.execute()
    except CellExecutionError as error:
        print(f"\nA cell failed: {error.ename}: {error.evalue}", file=sys.stderr)
        print(f"The notebook as far as it came: {target}", file=sys.stderr)
        return 1
    finally:
        nbformat.write(notebook, target)
    answer = final_answer(notebook)
    print(f"\n{answer or 'No %%agent cell has shown anything.'}\n")
    print(f"Executed notebook: {target}")
    return 0


def final_answer(notebook: Any) -> str | None:
    """The plain text of the last output of the last `%%agent` cell that has any, or None."""
    for cell in reversed(notebook.cells):
        if cell.cell_type != "code" or not cell.source.lstrip().startswith("%%agent"):
            continue
        for output in reversed(cell.outputs):
            text = output.get("data", {}).get("text/plain") or output.get("text")
            if text:
                return str(text).strip()
    return None


class _Progress:
    """One line for each code cell, as it starts: number, seconds since the beginning, first line of its source."""

    def __init__(self, notebook: Any) -> None:
        self.total = sum(cell.cell_type == "code" for cell in notebook.cells)
        self.done = 0
        self.began = time.monotonic()

    def started(self, cell: Any, cell_index: int) -> None:  # noqa: ARG002 - nbclient names both
        if cell.cell_type == "code":
            self.done += 1
            head = next(iter(cell.source.strip().splitlines()), "")[:80]
            print(f"   {time.monotonic() - self.began:5.0f} s   {self.done}/{self.total}   {head}", flush=True)


def _arguments() -> argparse.Namespace:
    summary, *rest = (__doc__ or "").split("\n\n", 1)
    parser = argparse.ArgumentParser(
        description=summary, epilog="".join(rest), formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, help="the notebook to execute")
    parser.add_argument("target", type=Path, help="where the executed notebook goes")
    parser.add_argument("--timeout", type=int, default=900, metavar="S", help="seconds for one cell (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
