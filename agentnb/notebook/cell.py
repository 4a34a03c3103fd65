"""A run driven from a cell: with a panel, an interrupt that works, and an error where the run rests."""

from __future__ import annotations

import math
import os
from argparse import Namespace
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agentnb import standing
from agentnb.agent import Agent
from agentnb.approval import Approver
from agentnb.budget import LIMITS, Budget
from agentnb.errors import AgentError, ConfigError
from agentnb.notebook.arguments import UNLIMITED, in_store
from agentnb.notebook.cell_error import CellError, in_two_lines
from agentnb.notebook.expand import expand
from agentnb.notebook.host import host_of
from agentnb.notebook.namespace import (
    alerts_named,
    function_named,
    model_named,
    params_named,
    phases_named,
    plan_named,
    policy_named,
    require_free,
    secrets_named,
    tools_named,
)
from agentnb.notebook.panel import Panel, panel_for, placed
from agentnb.notebook.pump import Pump, ask_in_cell, run_in_cell
from agentnb.notebook.telling import telemetry_of
from agentnb.run import Run
from agentnb.session import Session
from agentnb.settings import Settings
from agentnb.state import Status
from agentnb.stops import DEFAULT_STOPS
from agentnb.summary import Summary
from agentnb.tiers import phases_in
from agentnb.wording import ended_steps, marks_of, shown

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["CellAgent", "carry_out"]


class CellAgent(Agent):
    """An Agent whose runs are driven by the cell that calls it; a Run of it goes on (`approve`, `extend`) likewise.

    Args:
        shell: the shell of the cell.
        approver: answers in place of the person at the notebook; None for the person.
        idle_s: seconds without a press after which a question is left and the run rests.
        typed_store: the `--store` that was typed, so that the lines that are shown have it too; see `in_store`.
        options: as of `Agent`.

    Attributes:
        last: the last run that it drove, whatever happened to it.
    """

    def __init__(
        self,
        shell: InteractiveShell,
        *,
        approver: Approver | None = None,
        idle_s: float = 1800.0,
        typed_store: str = "",
        **options: Any,
    ) -> None:
        super().__init__(approver=ask_in_cell, runner=run_in_cell, **options)
        self._shell = shell
        self._in_place = approver
        self._idle_s = idle_s
        self._typed_store = typed_store
        self.last: Run | None = None

    def drive(self, session: Session) -> Run:
        """Carry a run on, shown while it goes on.

        Raises:
            CellError: it rests before its end; it can be resumed.
        """
        run = self.last = Run(self, session.log.run)
        host = host_of(self._shell)
        to_come = session.begun[0].seq if session.begun else math.inf
        history = [record for record in self.store.read(run.id) if record.seq < to_come]
        panel = panel_for(
            host,
            history,
            bare=self.replaying,
            store=self._typed_store,
            inside=lambda: standing.inside(session.inside),
        )
        kernel = getattr(self._shell, "kernel", None)
        pump = Pump(session, panel, host.audience, kernel, idle_s=self._idle_s, approver=self._in_place)
        try:
            pump.drive()
        except KeyboardInterrupt:
            raise _stopped(_finished(panel, run, told=pump.left)) from None
        except AgentError as error:
            _finished(panel, run)
            raise in_two_lines(error) from error
        except BaseException:
            _finished(panel, run)
            raise
        summary = _finished(panel, run, told=pump.left)
        if pump.run_again:  # an error would end what comes next, and that is this very cell
            return run
        if summary.status in (Status.SUSPENDED, Status.AWAITING_APPROVAL, Status.AWAITING_ANSWER):
            raise _resting(summary)
        return run


def carry_out(
    shell: InteractiveShell,
    settings: Settings,
    args: Namespace,
    text: str,
    bound: dict[str, str],
    *,
    idle_s: float = 1800.0,
) -> Run:
    """The run of a `%%agent` cell; it is bound to the cell's NAME whatever happens to it.

    Args:
        shell: the shell, for its namespace.
        settings: what holds where `args` says nothing.
        args: the cell's first line, see `arguments.py`.
        text: the cell's body.
        bound: told which variable the run is bound to, so that a later `%agent resume` binds it again.
        idle_s: seconds without a press after which a question is left and the run rests.

    Raises:
        AgentError: something on the first line or in the body cannot be used; nothing was started.
        CellError: the run rests.
    """
    names = shell.user_ns
    require_free(args.name, names)
    if args.replay and args.record:
        raise ConfigError("--record and --replay exclude each other: give the one that is meant")
    mode = "replay" if args.replay else {"all": "record", "new": "new"}.get(args.record or "")
    chosen = settings.with_(store=args.store, cassette=args.cassette, mode=mode)
    task = expand(text, params_named(args.params, names), names)
    plan = plan_named(args.plan, names)
    agent = CellAgent(
        shell,
        model=model_named(args.model or chosen.model, names),
        cheap_model=model_named(args.cheap_model or chosen.cheap_model, names) or None,
        phases=phases_named({**phases_in(chosen.phases), **dict(args.phase or ())}, names),
        escalate=args.escalate,
        tools=tools_named(args.tools, names),
        budget=budget_of(args),
        approve=policy_named(args.approve, names),
        assess=True if args.assess is None else args.assess,
        stops=args.stops or DEFAULT_STOPS,
        store=chosen.store,
        cassette=chosen.cassette or None,
        mode=chosen.mode,
        fresh=args.fresh,
        secrets=secrets_named(f"{settings.secrets},{args.secrets}", names, os.environ),
        approver=function_named(args.approver, names, "--approver"),
        notify=function_named(args.notify, names, "--notify"),
        alerts=alerts_named(args.alert or (), names),
        telemetry=telemetry_of(settings),
        idle_s=idle_s,
        typed_store=in_store(args),
    )
    try:
        return agent.run(task, plan=plan, tags=dict(args.tag or ()), dry_run=args.dry_run)
    finally:
        if args.name and agent.last:
            names[args.name] = agent.last
            bound[agent.last.id] = args.name


def budget_of(args: Namespace) -> Budget:
    """The budget that the flags give: a default cap holds unless another, or none, is given.

    Raises:
        ConfigError: a cap that allows nothing, or no cap left.
    """
    given = {name: value for name in LIMITS if (value := getattr(args, name)) is not None}
    return Budget(**{name: None if value == UNLIMITED else value for name, value in given.items()})


def _finished(panel: Panel, run: Run, *, told: bool = False) -> Summary:
    """What the run's records say at the end, displayed; what the panel has seen where they cannot be read.

    Args:
        panel: where it is displayed.
        run: the run.
        told: True where what to do next is said below it already.
    """
    try:
        summary = placed(run.summary, panel.store)
    except AgentError:
        summary = panel.summary
    panel.finish(replace(summary, next="") if told else summary)
    return summary


def _stopped(summary: Summary) -> CellError:
    summary = _told(summary)
    done = ended_steps(summary)
    where = f"after step {done} of {marks_of(summary).total()}" if summary.steps else "before it had a plan"
    if summary.status.ended:
        return CellError(f"{summary.run} was stopped by you as it ended", f"%agent show {summary.run} shows it")
    return CellError(f"{summary.run} was stopped by you {where}", _way_on(summary))


def _told(summary: Summary) -> Summary:
    """`summary`; by replay without ids, so that an error is the same each time."""
    return replace(shown(summary), run="the run") if summary.bare else summary


def _resting(summary: Summary) -> CellError:
    summary = _told(summary)
    asks = next((f"{step.id} {step.call}" for step in summary.steps if step.mark == "waiting"), "")
    what = ", ".join(filter(None, (summary.reason, summary.detail or asks)))
    return CellError(f"{summary.run} rests: {what}", _way_on(summary))


def _way_on(summary: Summary) -> str:
    """What to do next as a sentence: what is to be typed, or what to look at before."""
    return f"go on with {summary.next}" if summary.next.startswith("%") else summary.next
