"""What of a run can be seen as a figure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from agentnb.beside import Side
from agentnb.cost_curve import Against
from agentnb.curve import curve
from agentnb.errors import ConfigError
from agentnb.events import Record
from agentnb.informed import Informed
from agentnb.timeline import Window
from agentnb.trace import Trace

if TYPE_CHECKING:
    from agentnb.notebook.figure import Figure

__all__ = ["Drawn"]


class Drawn(ABC):
    """A run that can be drawn. Plotly is imported where a figure is asked for: nobody else waits for it."""

    id: str

    @property
    @abstractmethod
    def bare(self) -> bool:
        """True where a replay shows it: then nothing is shown that one replay has otherwise than the next."""

    @property
    @abstractmethod
    def events(self) -> list[Record]:
        """All records, oldest first."""

    @property
    @abstractmethod
    def trace(self) -> Trace:
        """All that it did, and the runs inside it."""

    @property
    @abstractmethod
    def informed(self) -> Informed:
        """What informed what."""

    def timeline(
        self, step: str = "", *, start: float | None = None, end: float | None = None, dark: bool | None = None
    ) -> Figure:
        """What it did when, as a Plotly figure: steps, calls of models and tools, waiting, retries, decisions.

        Args:
            step: a step by its id, to be seen alone: "s40".
            start: seconds on the run's clock, where to begin; None for its beginning.
            end: likewise, where to end.
            dark: whether the page is dark; None takes colours for both.

        Raises:
            ConfigError: `start` is after `end`, or one of them no number, or there is no such step.
        """
        from agentnb.notebook.figures import timeline

        return timeline(self.trace, Window(start, end, step), bare=self.bare, dark=dark)

    def cost_curve(self, *, against: Against = "time", dark: bool | None = None) -> Figure:
        """What it had cost at each moment, as a Plotly figure: by phase, reserved and saved, against each cap.

        Args:
            against: "time", or "steps" that were finished.
            dark: whether the page is dark; None takes colours for both.

        Raises:
            ConfigError: `against` is neither.
        """
        from agentnb.notebook.figures import cost_curve

        run = "" if self.bare else self.id
        return cost_curve(self.events, run=run, against=against, bare=self.bare, dark=dark)

    def graph(self, what: str = "", *, dark: bool | None = None) -> Figure:
        """What informed what, as a Plotly figure: task, plans, steps, people, other runs and the answer.

        Args:
            what: a step by its id, a plan ("plan 2") or "answer": only what led to it; "" for all.
            dark: whether the page is dark; None takes colours for both.

        Raises:
            ConfigError: the run has nothing of that name; says what it has.
        """
        from agentnb.notebook.figures import graph

        found = self.informed
        if what:
            try:
                found = found.leading_to(what)
            except KeyError as error:
                raise ConfigError(f"{error.args[0]}") from None
        return graph(found, run="" if self.bare else self.id, what=what, dark=dark)

    def beside(self, other: Drawn, *, dark: bool | None = None) -> Figure:
        """This run and another on one scale, as a Plotly figure; `diff` has the same as a table.

        Args:
            other: a run.
            dark: whether the page is dark; None takes colours for both.

        Raises:
            ConfigError: `other` is no run.
        """
        if not isinstance(other, Drawn):
            raise ConfigError(f"{other!r} is no run: give a Run, or two ids to agent.runs().compare(…)")
        from agentnb.notebook.figures import beside

        names = ("this run", "the other run") if self.bare else (self.id, other.id)
        return beside(self._side(names[0]), other._side(names[1]), bare=self.bare, dark=dark)

    def _side(self, name: str) -> Side:
        return Side(name, self.trace, curve(self.events, bare=self.bare))
