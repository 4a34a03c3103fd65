"""`%load_ext agentnb` in a new process, over IPython alone, and which heavy libraries it brought along."""

from __future__ import annotations

import json
import sys
import tempfile
import time

from tests.bench.measuring import Job, Options, Row, Target, median_of

__all__ = ["HEAVY", "TARGETS", "rows"]

HEAVY = (
    "anthropic", "openai", "httpx", "httpx2", "xllamacpp", "genai_prices",  # model SDKs
    "plotly", "ipywidgets", "anywidget", "matplotlib", "pandas", "numpy",  # plots, widgets, tables
    "pydantic", "tenacity", "jsonschema", "sqlalchemy",
)  # fmt: skip
"""None of these has any business in a notebook that has not run an agent yet."""

_MORE = 5
"""Processes for each of the options' repeats: one takes half a second, and imports are noisy."""

TARGETS = (Target("%load_ext over IPython alone, ms, under 30", "wall ms", 30, lambda row: row["who"] == "agentnb"),)


def rows(options: Options) -> list[Row]:
    """A line for `%load_ext agentnb`, and one for an extension that IPython ships."""
    return median_of([Job("load", (who,)) for who in _EXTENSIONS], options.repeats * _MORE)


_EXTENSIONS = {"agentnb": "agentnb", "IPython's autoreload": "autoreload"}


def measure(who: str) -> Row:
    """One `%load_ext` in a shell of this process."""
    from IPython.core.interactiveshell import InteractiveShell

    with tempfile.TemporaryDirectory() as folder:
        shell = InteractiveShell.instance(ipython_dir=folder)
        before = set(sys.modules)
        wall, cpu = time.perf_counter(), time.process_time()
        shell.run_line_magic("load_ext", _EXTENSIONS[who])
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        new = set(sys.modules) - before
        if shell.history_manager:
            shell.history_manager.end_session()
    if who == "agentnb" and "agent" not in shell.magics_manager.magics["cell"]:
        raise AssertionError("%load_ext agentnb did not register %%agent")
    heavy = " ".join(name for name in HEAVY if name in new) or "none"
    return {"who": who, "wall ms": wall * 1e3, "cpu ms": cpu * 1e3, "modules": len(new), "heavy": heavy}


if __name__ == "__main__":
    print(json.dumps(measure(*sys.argv[1:])))
