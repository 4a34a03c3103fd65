"""What a run cost, as it is read: a title, a table of its phases, and what was saved and used of each cap."""

from __future__ import annotations

from agentnb.listing import columns
from agentnb.markdown import line
from agentnb.summary import PhaseCost, Summary
from agentnb.wording import money, number, priced, used_of

__all__ = ["TOTAL", "cost_table", "cost_title", "said_below"]

TOTAL = "total"
"""The name of a row that sums up the others."""

_NAME = 36
"""Columns of a phase and its models: so that a line of the plain text stays under 100."""

_DEAR = 6
"""Phases that are named in the title of the costs."""


def cost_title(s: Summary) -> str:
    """What the dearest phases cost: "Cost: plan $0.021, answer $0.010"; in tokens where there are no dollars."""
    dear = sorted(s.phases, key=lambda phase: (phase.usd, phase.tokens), reverse=True)[:_DEAR]
    amounts = ((p.phase, money(p.usd) if priced(s) else number(p.tokens)) for p in s.phases if p in dear)
    return f"{'Cost' if priced(s) else 'Tokens'}: {', '.join(f'{line(phase, 20)} {of}' for phase, of in amounts)}"


def cost_table(s: Summary) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of what each phase cost; the dearer alternative and the models where there are any."""
    tiers = any(phase.strong_usd is not None for phase in s.phases)
    several = len({model for phase in s.phases for model in phase.models}) > 1
    heads = ["Phase", "Calls", "Tokens", *["Dollars"] * priced(s), *["On the strong model"] * tiers]
    rows = [[_asked(phase, several=several), *_amounts(s, phase, tiers=tiers)] for phase in s.phases]
    if tiers:
        total = PhaseCost(
            TOTAL,
            sum(phase.calls for phase in s.phases),
            sum(phase.tokens for phase in s.phases),
            sum(phase.usd for phase in s.phases),
            sum(phase.usd if phase.strong_usd is None else phase.strong_usd for phase in s.phases),
        )
        rows.append([total.phase, *_amounts(s, total, tiers=True)])
    return heads, rows


def _asked(phase: PhaseCost, *, several: bool) -> str:
    """The phase, with its models where the run has several: without their providers, to stay short."""
    models = [model.partition(":")[2] or model for model in phase.models]
    named = f" · {', '.join(models)}" if several and models else ""
    said = line(f"{line(phase.phase, 20)}{named}", _NAME)
    return said if columns(said) <= _NAME else line(said, _NAME // 2)


def _amounts(s: Summary, phase: PhaseCost, *, tiers: bool) -> list[str]:
    strong = phase.usd if phase.strong_usd is None else phase.strong_usd
    amounts = [number(phase.calls), number(phase.tokens)]
    return [*amounts, *[money(phase.usd)] * priced(s), *[money(strong)] * tiers]


def said_below(s: Summary) -> list[str]:
    """What stands below the table, each a sentence: what was saved in which way, and what was used of each cap."""
    used = ", ".join(map(used_of, s.gauges))
    return list(filter(None, ("; ".join(_saved(s)).capitalize(), used and f"Used of its budget: {used}")))


def _saved(s: Summary) -> list[str]:
    """What was saved in each way, in dollars; [] where the prompt cache was the only one, which the cost tells."""
    ways = (
        (s.saved.cache.usd, "by the prompt cache", ""),
        (s.saved.provider.usd, "by the provider's cache", "the provider's cache cost {} more than it saved"),
        (s.saved.tiers.usd, "by cheaper models", "other models cost {} more than the strong one would have"),
    )
    if not any(usd for usd, _, _ in ways[1:]):
        return []
    return [f"saved {money(usd)} {by}" if usd > 0 else dear.format(money(-usd)) for usd, by, dear in ways if usd]
