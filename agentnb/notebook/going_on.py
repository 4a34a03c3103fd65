"""The `%agent` commands that go on with a run: resume it, raise its caps, decide what it asks, carry out what waits."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from agentnb.agent import Agent
from agentnb.budget import LIMITS
from agentnb.checkpoint import load
from agentnb.errors import ConfigError, DamagedRecord, OnlyRecorded
from agentnb.events import ApprovalAsked, QuestionAsked, RunFinished, RunImported, RunSuspended
from agentnb.family import innermost
from agentnb.fork import Changed
from agentnb.ledger import open_actions
from agentnb.listing import Listing
from agentnb.notebook.arguments import UNLIMITED, in_store
from agentnb.notebook.desk import Desk, full_id, go_on, reopened
from agentnb.notebook.listing import show
from agentnb.notebook.namespace import function_named, plan_named, require_free
from agentnb.notebook.panel import show_summary
from agentnb.notebook.telling import telemetry_of
from agentnb.notebook.typed import value_of
from agentnb.notes import named
from agentnb.pending import Pending
from agentnb.resume import InDoubt
from agentnb.run import Run
from agentnb.standing import waits
from agentnb.state import Status
from agentnb.store.disk import DiskStore
from agentnb.summary import summarise

__all__ = [
    "answer",
    "approve",
    "cancel",
    "diff",
    "discard",
    "edit",
    "execute",
    "extend",
    "fork",
    "go_without",
    "pending",
    "reject",
    "resume",
    "retry",
]


def resume(desk: Desk, args: Namespace) -> None:
    """Go on where the run rests."""
    doubt, store = _doubt(args), desk.store(args)
    ended = Run(Agent(store=store.place), full_id(store, args.run, desk.names))  # for which nothing is called any more
    if ended.status.ended:
        if not (doubt and ended.state.may_have_acted):
            raise ConfigError(f"{ended.id} has ended, it is {ended.status}: {_after_end(ended, args)}")
        go_on(desk, args, ended, lambda: ended.resume(in_doubt=doubt))
        show_summary(ended.summary, in_store(args))
        return
    run = reopened(desk, args, accept_changes=args.accept_changes, outermost=True)
    go_on(desk, args, run, lambda: run.resume(in_doubt=doubt, accept_changes=args.accept_changes))


def retry(desk: Desk, args: Namespace) -> None:
    """Have it tried again where no reply could be used, or where it went round in circles; WHY is a hint."""
    run = reopened(desk, args, accept_changes=args.accept_changes, outermost=True)
    go_on(desk, args, run, lambda: run.retry(args.why, accept_changes=args.accept_changes))


def fork(desk: Desk, args: Namespace) -> None:
    """Make a new run of a run's beginning, with something changed from there on."""
    origin = reopened(desk, args, accept_changes=True)
    keeper = origin.keeper
    changed: Changed = {"plan": plan_named(args.plan, desk.names)}
    if args.changes:
        at = args.at or ""
        step = next((step for step in origin.plan.steps if step.id == at), None) if origin.plan else None
        tool = keeper.tools.get(step.tool) if step else None
        known: Mapping[str, Any] = tool.parameters["properties"] if tool else {}
        changed["args"] = {name: value_of(text, known.get(name)) for name, text in args.changes}
    if caps := {name: value for name in LIMITS if (value := getattr(args, name)) is not None}:
        caps = {name: None if value == UNLIMITED else value for name, value in caps.items()}
        changed["budget"] = replace(origin.state.budget, **caps)
    require_free(args.name, desk.names)
    try:
        origin.fork(args.at or None, **changed)
    finally:
        last = getattr(keeper, "last", None)
        if args.name and last:
            desk.bound[last.id] = args.name
            desk.names[args.name] = last


def diff(desk: Desk, args: Namespace) -> None:
    """Show two runs side by side."""
    store = desk.store(args)
    keeper = Agent(store=store.place)
    held = (desk.names.get(text) for text in (args.run, args.other))
    one, two = (
        run if isinstance(run, Run) else Run(keeper, full_id(store, text))
        for run, text in zip(held, (args.run, args.other), strict=True)
    )
    show(one.diff(two))


def extend(desk: Desk, args: Namespace) -> None:
    """Raise caps, and go on."""
    more = {name: value for name in LIMITS if (value := getattr(args, name)) is not None}
    if not more:
        raise ConfigError("which cap, and by how much: e.g. `%agent extend RUN --tokens 10000`")
    run = reopened(desk, args, accept_changes=args.accept_changes)
    go_on(desk, args, run, lambda: run.extend(accept_changes=args.accept_changes, **more))


def approve(desk: Desk, args: Namespace) -> None:
    """Allow the call that waits, and go on."""
    which = _numbers(args)
    _decide(desk, args, lambda run: run.approve(*which))


def reject(desk: Desk, args: Namespace) -> None:
    """Refuse the call that waits, and go on."""
    if not args.why:
        raise ConfigError(f"why: write `%agent reject {args.run} REASON`; it is kept, and a planner is told it")
    _decide(desk, args, lambda run: run.reject(args.why))


def answer(desk: Desk, args: Namespace) -> None:
    """Answer what a call rests on, and go on."""
    if not args.why:
        raise ConfigError(
            f"the answer is missing: write `%agent answer {args.run} TEXT`, or `%agent go-on {args.run}` to do without"
        )
    _decide(desk, args, lambda run: run.answer(args.why))


def go_without(desk: Desk, args: Namespace) -> None:
    """Go on without the answer that a run asks for."""
    _decide(desk, args, lambda run: run.go_on())


def edit(desk: Desk, args: Namespace) -> None:
    """Allow the call that waits with other arguments, and go on."""
    run = reopened(desk, args, outermost=True)
    log = innermost(run.keeper.store, run.id)
    asked = log.state.approval
    tool = run.tools_of(log.run).get(asked.tool) if asked else None
    known: Mapping[str, Any] = tool.parameters["properties"] if tool else {}
    changes = {name: value_of(text, known.get(name)) for name, text in args.changes}
    go_on(desk, args, run, lambda: run.edit(changes))
    if run.status is Status.IN_PROGRESS:
        _say_left(run, in_store(args))


def execute(desk: Desk, args: Namespace) -> None:
    """Do what a dry run has shown, or carry out actions that wait."""
    which, doubt = _numbers(args), _doubt(args)
    run = reopened(desk, args)
    validator = function_named(args.validator, desk.names, "--validator")
    if run.state.head.dry:
        require_free(args.name, desk.names)
        done = run.execute(*which, validator=validator, in_doubt=doubt)
        if args.name:
            desk.bound[done.id] = args.name
            desk.names[args.name] = done
        return
    go_on(desk, args, run, lambda: run.execute(*which, validator=validator, in_doubt=doubt))
    show_summary(run.summary, in_store(args))


def discard(desk: Desk, args: Namespace) -> None:
    """Take actions that wait out of the queue."""
    which = _numbers(args)
    run = reopened(desk, args)
    go_on(desk, args, run, lambda: run.discard(*which))
    show_summary(run.summary, in_store(args))


def pending(desk: Desk, args: Namespace) -> None:
    """List what waits for a person, in one run or in all of them."""
    store = desk.store(args)
    keeper = Agent(store=store.place)
    runs = [full_id(store, args.run, desk.names)] if args.run else _waiting(store)
    items = [item for run in runs for item in _pending(Run(keeper, run), quiet=not args.run)]
    items = items if args.run else [item for n, item in enumerate(items) if item not in items[:n]]  # its parent's too
    rows = [(f"{item.run} {item.number}", item.kind, item.step, _call(item), _why(item)) for item in items]
    ways = "%agent approve RUN [N …] · reject RUN WHY · edit RUN ARG=VALUE · execute RUN [N …] · discard RUN [N …]"
    ways += " · answer RUN TEXT · go-on RUN" if any(item.kind == "question" for item in items) else ""
    ways += " · resume RUN --done | --not-done" if any(item.kind == "doubt" for item in items) else ""
    title = f"What waits for you in {store.place}" if rows else f"Nothing waits for you in {store.place}"
    resting = [] if args.run else _resting(store, {item.run for item in items})
    rest = f"Cut short, and wait for no answer: {named(resting)}; %agent resume RUN{in_store(args)}" if resting else ""
    note = "   ".join(filter(None, (ways if rows else "", rest)))
    show(Listing(title, ("run and number", "kind", "step", "call", "why"), rows, note))


def _pending(run: Run, *, quiet: bool) -> Sequence[Pending]:
    """What waits in a run; nothing of one that cannot be read, where others are listed with it."""
    try:
        return run.pending
    except DamagedRecord:
        if not quiet:
            raise
        return ()


def _resting(store: DiskStore, asking: Collection[str]) -> list[str]:
    """The runs that were stopped, or whose process is gone, and ask nothing; newest first."""
    found = []
    for run in reversed(store.runs()):
        with suppress(DamagedRecord):
            if run in asking or isinstance(store.last(run).event, RunFinished):
                continue
            state, _ = load(store, run)
            if not (state.status.ended or waits(state) or store.is_driven(run)):
                found.append(run)
    return found


def _waiting(store: DiskStore) -> list[str]:
    """Runs in which something waits, newest first; one that cannot be read is passed over."""
    found = {run for run, _ in open_actions(store)}
    for run in store.runs():
        with suppress(DamagedRecord):
            last = store.last(run).event
            over = isinstance(last, RunFinished) and last.status == "cancelled"  # perhaps in the midst of a call
            if over or isinstance(last, (ApprovalAsked, QuestionAsked, RunSuspended, RunImported)):
                found.add(run)
    return [run for run in reversed(store.runs()) if run in found]


def _call(item: Pending) -> str:
    args = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in item.args.items())
    return f"{item.tool}({args})"


def _why(item: Pending) -> str:
    doubt = f"in doubt: {item.in_doubt}" if item.in_doubt else ""
    return "; ".join(filter(None, (doubt, *item.reasons))) or item.title


def _decide(desk: Desk, args: Namespace, work: Callable[[Run], Run]) -> None:
    """Answer what a run asks. Where it is driven, and where its tools are not here, the answer is left for others."""
    store = desk.store(args)
    bare = Run(Agent(store=store.place), full_id(store, args.run, desk.names))
    if bare.status is Status.IN_PROGRESS:
        work(bare)
        _say_left(bare, in_store(args))
        return
    run, missing = bare, ""
    try:
        run = reopened(desk, args, outermost=True)
    except ConfigError as error:
        missing = str(error)
    try:
        go_on(desk, args, run, lambda: work(run))
    except OnlyRecorded as error:  # all that could be done here is done
        why = missing or str(error.__cause__ or error)
        flags = (" --accept-changes" if "--accept-changes" in why else "") + in_store(args)
        asking = innermost(store, run.id).run
        decided = f"{asking} is {summarise(store.read(asking)).reason}"
        show(Listing(decided, (), (), f"{why.rstrip('.')}. Then: %agent resume {run.id}{flags}"))


def _numbers(args: Namespace) -> list[int]:
    """The numbers of the line; a name among its words is where the run is bound to."""
    numbers = [int(word) for word in args.which if word.isdecimal()]
    names = [word for word in args.which if not word.isdecimal()]
    if len(names) > 1 or any(not name.isidentifier() for name in names):
        raise ConfigError(f"{names[-1]!r} is no number: `%agent pending {args.run}` lists what waits, numbered")
    args.name = names[0] if names else None
    return numbers


def _doubt(args: Namespace) -> InDoubt | None:
    if args.done and args.not_done:
        raise ConfigError("--done and --not-done exclude each other: look whether it happened, then give one")
    return "done" if args.done else "not_done" if args.not_done else None


def _say_left(run: Run, flag: str) -> None:
    """Which call the answer was left for: it may be another one than was asked about a moment ago."""
    asked = run.state.asks or run.state.approval
    call = f" about {asked.step} {asked.tool}" if asked else ""
    said = f"Your answer{call} is left for the process that drives {run.id}, which takes it in"
    show(Listing(said, (), (), f"If nobody drives it any more: %agent resume {run.id}{flag}"))


def cancel(desk: Desk, args: Namespace) -> None:
    """End a run where it is."""
    store = desk.store(args)
    keeper = Agent(
        store=store.place, telemetry=telemetry_of(desk.settings)
    )  # with none of the run's tools and models: nothing is called any more
    run = Run(keeper, full_id(store, args.run, desk.names))
    go_on(desk, args, run, lambda: run.cancel(args.why))
    show_summary(run.summary, in_store(args))


def _after_end(run: Run, args: Namespace) -> str:
    """What to type in place of `%agent resume`, with the flags that were typed and still mean something."""
    limit, store = run.state.limit, in_store(args)
    if limit is None:
        return f"`%agent show {run.id}{store}` shows it"
    flags = f"--{limit.limit.replace('_', '-')} N" + (" --accept-changes" if args.accept_changes else "") + store
    return f"`%agent extend {run.id} {flags}` raises the cap that it reached"
