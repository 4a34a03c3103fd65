"""Replies that could not be used: how many of each model's, at which layer, and what the last ones said.

Everything is counted from the records alone; see `recovery` for the layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agentnb.events import (
    ArgsBound,
    AssessmentMade,
    Event,
    MemorySummarised,
    ModelAsked,
    ModelCached,
    ModelReplied,
    PlanMade,
    Record,
    ReplyRejected,
    RunFinished,
    RunForked,
    RunStarted,
    RunSuspended,
    StepJudged,
)

__all__ = ["Malformed", "Rates", "malformed_rates"]

_LAYERS = {1: "as asked always", 2: "simplified"}


@dataclass(frozen=True, slots=True)
class Rates:
    """How often a model's replies could not be used.

    Attributes:
        asked: replies that it gave, those from the prompt cache included.
        same: of those to a request as it is asked always, the ones that could not be used.
        simpler: of those to a simplified request, the same.
        person: how often a person had to be asked after both.
    """

    asked: int = 0
    same: int = 0
    simpler: int = 0
    person: int = 0

    @property
    def rejected(self) -> int:
        """Replies that could not be used, whatever the request."""
        return self.same + self.simpler

    def __add__(self, other: Rates) -> Rates:
        return Rates(
            self.asked + other.asked,
            self.same + other.same,
            self.simpler + other.simpler,
            self.person + other.person,
        )

    def __str__(self) -> str:
        parts = [
            f"{self.rejected} of {self.asked} replies could not be used ({self.rejected / max(self.asked, 1):.0%})"
        ]
        parts += [f"{self.simpler} of them to a simplified request"] if self.simpler else []
        parts += [f"a person was asked {'once' if self.person == 1 else f'{self.person} times'}"] if self.person else []
        return "; ".join(parts)


@dataclass(slots=True)
class Malformed:
    """A run's events taken in one by one.

    Attributes:
        rates: by model.
        tried: the replies in a row that could not be used, until one could.
    """

    rates: dict[str, Rates] = field(default_factory=dict)
    tried: list[ReplyRejected] = field(default_factory=list)
    _asked: str = ""

    def add(self, event: Event) -> None:
        """Take in the next event."""
        match event:
            case ModelAsked(model=model):
                self._asked = model
            case ModelReplied():
                self._count(self._asked, Rates(asked=1))
            case ModelCached(model=model):
                self._asked = model
                self._count(model, Rates(asked=1))
            case ReplyRejected(layer=layer):
                self._count(event.model or self._asked, Rates(same=1) if layer == 1 else Rates(simpler=1))
                self.tried.append(event)
            case RunSuspended(reason="malformed_output") if self.tried:
                self._count(self.tried[-1].model or self._asked, Rates(person=1))
            case PlanMade() | ArgsBound() | AssessmentMade() | StepJudged() | MemorySummarised() | RunFinished():
                self.tried.clear()
            case RunForked():  # what came before is another run's
                self.rates.clear()
                self.tried.clear()
            case _:
                pass

    def _count(self, model: str, more: Rates) -> None:
        self.rates[model] = self.rates.get(model, Rates()) + more

    def lines(self) -> tuple[str, ...]:
        """The rates of the models that gave a reply that could not be used, one sentence each."""
        return tuple(f"{model}: {rates}" for model, rates in self.rates.items() if rates.rejected)

    def tried_lines(self) -> tuple[str, ...]:
        """All that was tried since the last reply that could be used: what was said, and what was wrong with it."""
        return tuple(_said(place, one) for place, one in enumerate(self.tried, start=1))


def _said(place: int, one: ReplyRejected) -> str:
    reply = " ".join(one.reply.split()) or "nothing"
    where = " ".join(filter(None, (one.phase, one.step)))
    return f"{place}. {where}, {_LAYERS.get(one.layer, 'asked')}: {reply!r}: {'; '.join(one.problems)}"


def malformed_rates(records: Iterable[Record]) -> Mapping[str, Rates]:
    """How often the replies of each model could not be used, by its name.

    Args:
        records: of one run, or of several one after the other. What a fork shares with the run that it parted from is
            counted with that run alone.
    """
    total: dict[str, Rates] = {}
    run = Malformed()
    for record in records:
        if isinstance(record.event, RunStarted):
            _add(total, run)
            run = Malformed()
        run.add(record.event)
    _add(total, run)
    return total


def _add(total: dict[str, Rates], run: Malformed) -> None:
    for model, rates in run.rates.items():
        total[model] = total.get(model, Rates()) + rates
