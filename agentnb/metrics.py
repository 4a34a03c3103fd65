"""How runs go, as plain numbers: rates, latencies, what people are asked, what it costs and how that drifts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from agentnb.cost import NOTHING_SAVED, Saved

__all__ = ["CallMetrics", "CostMetrics", "Metrics", "ModelMetrics", "Waiting"]


@dataclass(frozen=True, slots=True)
class CallMetrics:
    """How the calls of one phase, or of one tool, ended.

    What a dry run simulated is no call, nor is what was only proposed; it is one once a person has it carried out.

    Attributes:
        calls: how many there were, tries of the same counted each; those that a limit or a guard held back included.
        ok: that gave what was wanted, or found nothing.
        failed: that ended with a failure, time-outs included; of a phase also replies that could not be used.
        timeouts: of those, the ones that took too long.
        limits: that a cap of the budget held back.
        refused: that never reached the function: wrong arguments, a guard, a person's no, a tool that keeps failing.
        open: whose end is not known: under way, in doubt, or lost with their process.
        retries: of the calls, those that made another one again.
        p50_seconds: half of those that ended took at most so long; None where none did.
        p95_seconds: the same for 95 of 100, by the nearest rank.
    """

    calls: int = 0
    ok: int = 0
    failed: int = 0
    timeouts: int = 0
    limits: int = 0
    refused: int = 0
    open: int = 0
    retries: int = 0
    p50_seconds: float | None = None
    p95_seconds: float | None = None

    @property
    def success_rate(self) -> float | None:
        """`ok` of `calls`; None where there were none."""
        return share(self.ok, self.calls)

    @property
    def failure_rate(self) -> float | None:
        """`failed` of `calls`; None where there were none."""
        return share(self.failed, self.calls)

    @property
    def timeout_rate(self) -> float | None:
        """`timeouts` of `calls`; None where there were none."""
        return share(self.timeouts, self.calls)

    @property
    def limit_rate(self) -> float | None:
        """`limits` of `calls`; None where there were none."""
        return share(self.limits, self.calls)


@dataclass(frozen=True, slots=True)
class ModelMetrics:
    """What one model was asked, and how it did.

    Attributes:
        calls: requests that reached its provider, tries of the same counted each.
        failed: of those, the ones that ended with a failure.
        p50_seconds: half of its replies took at most so long; None where it gave none.
        p95_seconds: the same for 95 of 100, by the nearest rank.
        replies: that it gave, those out of our prompt cache included.
        malformed: of those, the ones that could not be used.
        cached: replies out of our prompt cache.
        input_tokens: sent to it.
        output_tokens: received from it.
        usd: charged for it, in US dollars.
    """

    calls: int = 0
    failed: int = 0
    p50_seconds: float | None = None
    p95_seconds: float | None = None
    replies: int = 0
    malformed: int = 0
    cached: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0

    @property
    def malformed_rate(self) -> float | None:
        """`malformed` of `replies`; None where it gave none."""
        return share(self.malformed, self.replies)


@dataclass(frozen=True, slots=True)
class CostMetrics:
    """What the runs of one kind of task cost, and what they cost before.

    Attributes:
        runs: how many there are.
        usd: US dollars of all of them.
        mean_usd: of one on average.
        p95_usd: what 95 of 100 cost at most, by the nearest rank.
        before_runs: how many there were in the stretch of time of the same length before; where no start was given,
            the older half of the runs (and the newer half is then compared with it).
        before_mean_usd: of one of those on average; None where there are none.
        drift: how much dearer one is on average than one of those was: 0.2 for a fifth; None where there are none,
            or they cost nothing.
    """

    runs: int = 0
    usd: float = 0.0
    mean_usd: float | None = None
    p95_usd: float | None = None
    before_runs: int = 0
    before_mean_usd: float | None = None
    drift: float | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """One thing that waits for a person now.

    Attributes:
        run: whose it is.
        what: in a few words: "approval s3 create_ticket", "2 actions".
        since: seconds since 1970, UTC.
        age_s: how long that is ago.
        task_type: of the run, or "".
    """

    run: str
    what: str
    since: float
    age_s: float
    task_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """How some runs go. What cannot be told, for want of runs, is None and never 0.

    Attributes:
        runs: how many there are, those inside others not counted.
        ended: of those, the ones that have ended.
        statuses: how many there are of each status: "completed", "stopped" and so on.
        reasons: of those that stopped or failed: how many for each reason.
        completed: of those that have ended, the ones that did what they were to do.
        failed: the ones that failed.
        limited: the ones that a cap of their budget stopped, time included.
        timeouts: of those, the ones that a cap on seconds stopped.
        usd: US dollars of all of them.
        tokens: sent and received by all of them.
        p50_usd: half of those that have ended cost at most so much.
        p95_usd: the same for 95 of 100, by the nearest rank.
        p50_seconds: half of those that have ended took at most so long on their clock, waiting included.
        p95_seconds: the same for 95 of 100.
        retries: calls of models and tools that made another one again.
        calls: of models and tools, all tries counted; what was only simulated or proposed is none.
        asked: runs in which a person was asked for something, or was needed.
        p50_wait_seconds: half of what people were asked was answered within so long.
        waiting: what waits for a person now, the oldest first.
        phases: of model calls, by what they were for, in the order of a run.
        tools: of tool calls, by the tool's name.
        models: by the model's name.
        task_types: costs by the tag `task_type`; "" for runs without.
        replies: that models gave, those out of our prompt cache included.
        cached: of those, the ones out of our prompt cache.
        input_tokens: sent.
        provider_cached_tokens: of those, the ones that the providers read from their cache.
        saved: what was saved, each way apart.
        since: the start of the stretch of time that is looked at, in seconds since 1970; None for all.
        until: its end.
    """

    runs: int = 0
    ended: int = 0
    statuses: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)
    completed: int = 0
    failed: int = 0
    limited: int = 0
    timeouts: int = 0
    usd: float = 0.0
    tokens: int = 0
    p50_usd: float | None = None
    p95_usd: float | None = None
    p50_seconds: float | None = None
    p95_seconds: float | None = None
    retries: int = 0
    calls: int = 0
    asked: int = 0
    p50_wait_seconds: float | None = None
    waiting: tuple[Waiting, ...] = ()
    phases: Mapping[str, CallMetrics] = field(default_factory=dict)
    tools: Mapping[str, CallMetrics] = field(default_factory=dict)
    models: Mapping[str, ModelMetrics] = field(default_factory=dict)
    task_types: Mapping[str, CostMetrics] = field(default_factory=dict)
    replies: int = 0
    cached: int = 0
    input_tokens: int = 0
    provider_cached_tokens: int = 0
    saved: Saved = NOTHING_SAVED
    since: float | None = None
    until: float | None = None

    @property
    def success_rate(self) -> float | None:
        """`completed` of `ended`; None where none has ended."""
        return share(self.completed, self.ended)

    @property
    def failure_rate(self) -> float | None:
        """`failed` of `ended`; None where none has ended."""
        return share(self.failed, self.ended)

    @property
    def limit_rate(self) -> float | None:
        """`limited` of `ended`; None where none has ended."""
        return share(self.limited, self.ended)

    @property
    def timeout_rate(self) -> float | None:
        """`timeouts` of `ended`; None where none has ended."""
        return share(self.timeouts, self.ended)

    @property
    def retry_rate(self) -> float | None:
        """`retries` of `calls`; None where there were none."""
        return share(self.retries, self.calls)

    @property
    def intervention_rate(self) -> float | None:
        """`asked` of `runs`; None where there are none."""
        return share(self.asked, self.runs)

    @property
    def malformed_rate(self) -> float | None:
        """Replies that could not be used, of all; None where there were none."""
        return share(sum(model.malformed for model in self.models.values()), self.replies)

    @property
    def cache_hit_rate(self) -> float | None:
        """`cached` of `replies`; None where there were none."""
        return share(self.cached, self.replies)

    @property
    def provider_cache_rate(self) -> float | None:
        """`provider_cached_tokens` of `input_tokens`; None where none were sent."""
        return share(self.provider_cached_tokens, self.input_tokens)

    @property
    def queue_depth(self) -> int:
        """How many things wait for a person now."""
        return len(self.waiting)

    @property
    def oldest_wait_s(self) -> float | None:
        """For how long the oldest of them has waited; None where nothing waits."""
        return max((one.age_s for one in self.waiting), default=None)


def share(part: float, whole: float) -> float | None:
    """`part` of `whole`; None where that is 0.

    >>> share(1, 4)
    0.25
    """
    return part / whole if whole else None
