"""What informed what: the task, plans, steps, people and the answer of a run, and what led from one to another.

All of it stands in the records: a plan refers to results, an assessment names its sources, a person decides about one
call, a plan is made anew because of one step.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, Literal

from agentnb.approval import who
from agentnb.events import (
    ActionSettled,
    ApprovalAnswered,
    ArgsBound,
    AssessmentMade,
    CallInDoubt,
    DoubtResolved,
    EarlierResult,
    Event,
    GateRaised,
    LoopNoticed,
    PlanMade,
    QuestionAnswered,
    Record,
    RunFinished,
    RunForked,
    RunStarted,
    StepJudged,
    ToolClaimed,
    ToolRefused,
    ToolReturned,
)
from agentnb.markdown import line
from agentnb.notes import brief_args, brief_result, first_line, name_of, refused, returned
from agentnb.plan import Step, references
from agentnb.wording import without_runs

__all__ = ["KNOWN", "Edge", "Informed", "Node", "informed"]

KNOWN: Final = "was known to the model that filled in arguments"
"""Why every finished step informed one whose arguments a model has filled in."""
Kind = Literal["task", "plan", "step", "person", "run", "answer"]


@dataclass(frozen=True, slots=True)
class Node:
    """One thing that informed others, or was informed.

    Attributes:
        id: "task", "plan 2", "s3", "answer"; of what a person said, the record with it, "person 17".
        kind: what it is.
        title: it, in a few words.
        said: what came of it, or what was said, one line.
        status: of a step: "ok", "empty", "failed" and so on; "todo" where it was not carried out.
        seq: the record in which it came up; -1 of another run.
    """

    id: str
    kind: Kind
    title: str
    said: str = ""
    status: str = "ok"
    seq: int = -1


@dataclass(frozen=True, slots=True)
class Edge:
    """That one thing informed another.

    Attributes:
        source: the `id` of what informed.
        target: the `id` of what was informed.
        why: how, in a few words.
    """

    source: str
    target: str
    why: str


@dataclass(frozen=True)
class Informed:
    """A graph without cycles: what comes later was informed by what came before.

    Attributes:
        nodes: in the order in which they came up.
        edges: from what informed to what was informed.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]

    def __getitem__(self, name: str) -> Node:
        """The node of that id.

        Raises:
            KeyError: there is none; says which there are.
        """
        if name in self._named:
            return self._named[name]
        none = "there is no answer" if name == "answer" else f"nothing is called {name!r}"
        raise KeyError(f"{none}: there are {', '.join(self._named)}")

    @cached_property
    def _named(self) -> Mapping[str, Node]:
        return {node.id: node for node in self.nodes}

    @cached_property
    def _into(self) -> Mapping[str, Sequence[Edge]]:
        """The edges to each node: a run whose arguments are filled in has as many as the square of its steps."""
        found: dict[str, list[Edge]] = {}
        for edge in self.edges:
            found.setdefault(edge.target, []).append(edge)
        return found

    def sources(self, name: str) -> tuple[Edge, ...]:
        """What informed that node."""
        return tuple(self._into.get(name, ()))

    def leading_to(self, name: str) -> Informed:
        """The part of it that led to that node, itself included."""
        wanted, open_ = {self[name].id}, [name]
        while open_:
            fresh = {edge.source for edge in self.sources(open_.pop())} - wanted
            wanted |= fresh
            open_.extend(fresh)
        nodes = tuple(node for node in self.nodes if node.id in wanted)
        return Informed(nodes, tuple(edge for edge in self.edges if {edge.source, edge.target} <= wanted))

    @property
    def mermaid(self) -> str:
        """It as a Mermaid flowchart, which GitHub and JupyterLab draw; every text in it is a quoted label."""
        names = {node.id: f"n{place}" for place, node in enumerate(self.nodes)}
        shapes = {"task": ("([", "])"), "person": ("{{", "}}"), "plan": ("[[", "]]"), "answer": ("([", "])")}
        lines = ["flowchart TD"]
        for node in self.nodes:
            opening, closing = shapes.get(node.kind, ("[", "]"))
            lines.append(f"  {names[node.id]}{opening}{_label(node.title, node.said)}{closing}")
        lines += [
            f"  {names[edge.source]} -->{f'|{_label(edge.why)}|' if edge.why else ''} {names[edge.target]}"
            for edge in self.edges
        ]
        return "\n".join(lines)


def _label(*texts: str) -> str:
    """Texts as a label that Mermaid takes for nothing else: whatever is not a letter or a digit, by its number."""
    said = [re.sub(r"[^\w ,.:-]", lambda found: f"#{ord(found[0])};", line(text, 80)) for text in texts if text]
    return f'"{"<br>".join(said)}"'


@dataclass(slots=True)
class _Weaver:
    """The records of a run, taken in one by one."""

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: dict[tuple[str, str], Edge] = field(default_factory=dict)
    _plan: str = ""
    _steps: dict[str, Step] = field(default_factory=dict)
    _args: str = ""
    _cause: tuple[str, str] = ("", "")
    """What makes the next plan necessary, and why."""

    def add(self, record: Record) -> None:
        event, seq = record.event, record.seq
        match event:
            case RunStarted():
                self._node(Node("task", "task", "task", event.task, seq=seq))
                if event.parent:
                    self._node(Node("parent", "run", event.parent, f"calls it in {event.parent_step}"))
                    self._edge("parent", "task", "gives it")
            case PlanMade():
                self._planned(event, seq)
            case RunForked():
                self._node(Node("fork", "run", event.origin, f"was forked at {event.at}"))
                self._cause = "fork", f"changed at {event.at}"
                if event.steps is not None:
                    self._changed(event.steps, seq)
            case RunFinished(output=output) if output:
                self._answered(event, seq)
            case QuestionAnswered() | ApprovalAnswered() | DoubtResolved():
                self._person(event, seq)
            case _:
                self._of_a_step(event)

    def _node(self, node: Node) -> None:
        self.nodes[node.id] = node

    def _edge(self, source: str, target: str, why: str = "") -> None:
        """One edge between two nodes; what is known of it first comes first."""
        if source in self.nodes and target in self.nodes and source != target:
            was = self.edges.get((source, target))
            said = "; ".join(dict.fromkeys(filter(None, (was.why if was else "", why))))
            self.edges[source, target] = Edge(source, target, said)

    def _say(self, step: str, said: str, status: str = "") -> None:
        if step in self.nodes:
            was = self.nodes[step]
            self.nodes[step] = replace(was, said=said or was.said, status=status or was.status)

    def _planned(self, event: PlanMade, seq: int) -> None:
        name = f"plan {event.version}"
        by = "" if event.by in event.reason else f"by the {event.by}"
        self._node(Node(name, "plan", name, "; ".join(filter(None, (by, event.reason))), seq=seq))
        self._edge("task", name, "" if event.version > 1 else "asks for it")
        self._edge(self._plan, name, "takes its place")
        self._edge(*self._because(name))
        self._plan = name
        self._new_steps(event.steps, seq)

    def _changed(self, steps: Sequence[Step], seq: int) -> None:
        """The plan of a fork, as whoever forked it changed it."""
        name = f"{self._plan or 'plan'}, changed"
        self._node(Node(name, "plan", name, self._cause[1], seq=seq))
        self._edge(self._plan, name, "takes its place")
        self._edge(*self._because(name))
        self._plan = name
        self._new_steps(steps, seq)

    def _because(self, target: str) -> tuple[str, str, str]:
        (source, why), self._cause = self._cause, ("", "")
        return source, target, why

    def _new_steps(self, steps: Iterable[Step], seq: int) -> None:
        steps = tuple(steps)
        self._drop({step.id for step in steps})
        for step in steps:
            title = " ".join(filter(None, (step.id, name_of(step))))
            self._node(Node(step.id, "step", title, status="todo", seq=seq))
            self._steps[step.id] = step
            self._edge(self._plan, step.id, f"assumes: {'; '.join(step.assumes)}" if step.assumes else "")
            for source in dict.fromkeys((*references(step.args), *step.depends_on)):
                named = ", ".join(key for key, value in step.args.items() if source in references({"": value}))
                self._edge(source, step.id, f"gives {named}" if named else "comes before it")

    def _drop(self, steps: set[str]) -> None:
        """Steps that were planned and not carried out make room for others."""
        if there := steps & self.nodes.keys():
            self.nodes = {name: node for name, node in self.nodes.items() if name not in there}
            self.edges = {ends: edge for ends, edge in self.edges.items() if there.isdisjoint(ends)}

    def _answered(self, event: RunFinished, seq: int) -> None:
        self._node(Node("answer", "answer", "answer", event.output, seq=seq))
        done = [node for node in self.nodes.values() if node.kind == "step" and node.status != "todo"]
        for node in done:
            self._edge(node.id, "answer", first_line(node.said) if node.status == "failed" else "")
        if not done:
            self._edge(self._plan or "task", "answer")

    def _person(self, event: QuestionAnswered | ApprovalAnswered | DoubtResolved, seq: int) -> None:
        """What somebody said of one call: a policy that lets it pass is nobody."""
        if event.by in ("policy", "reconcile") or (isinstance(event, ApprovalAnswered) and event.earlier):
            return
        name = f"person {seq}"
        match event:
            case ApprovalAnswered():
                said, why = event.reason, {"approve": "approves it", "edit": "changes it"}.get(event.decision, "")
            case QuestionAnswered():
                said, why = event.text, {"go_on": "goes on without an answer"}.get(event.decision, "")
            case DoubtResolved():
                said, why = event.reason, f"finds that it {'happened' if event.happened else 'did not happen'}"
        no = isinstance(event, ApprovalAnswered)
        does = why or ("rejects it" if no else "answers what it rests on")
        self._node(Node(name, "person", who(event.by), f"{does}: {said}" if said else does, seq=seq))
        self._edge(name, event.step, does)
        if not why:  # the rest of the plan is made anew with it, or the run ends
            self._cause = event.step if no else name, first_line(said)

    def _of_a_step(self, event: Event) -> None:  # noqa: C901, PLR0912 - a table, one case a kind
        match event:
            case ToolClaimed():
                self._args = brief_args(event.args)
            case ArgsBound():
                for source in self._finished():
                    self._edge(source, event.step, KNOWN)
            case AssessmentMade():
                for statement in event.established:
                    for source in statement.sources:
                        self._edge(source, event.step, f"establishes: {statement.text}")
            case ToolReturned():
                came = returned(event, 1) or brief_result(event.result)
                self._say(event.step, f"{self._args} → {came}" if came else self._args, event.status)
            case ToolRefused():
                self._say(event.step, refused(event), "failed")
            case CallInDoubt():
                self._say(event.step, event.message, "in_doubt")
            case EarlierResult():
                name = f"{event.run} {event.at_step}"
                self._node(Node(name, "run", name, "did it before"))
                self._edge(name, event.step, "its result is given back")
                self._say(event.step, "done before", "ok")
            case GateRaised():
                self._say(event.step, f"asks for leave: {'; '.join(event.reasons)}")
            case ActionSettled():
                self._say(event.step, f"{event.status} by {who(event.by)}", event.status)
            case LoopNoticed(then="revise"):
                self._cause = event.step, event.said
            case StepJudged():
                self._judged(event)
            case _:
                pass

    def _judged(self, event: StepJudged) -> None:
        status = "" if event.verdict == "continue" else "failed"
        found = event.finding or (event.reason if status else "")
        was = self.nodes[event.step].said if event.step in self.nodes else ""
        more = "" if first_line(found) in was else first_line(found)
        self._say(event.step, "; ".join(filter(None, (was, more))), status)
        if event.verdict == "revise":
            self._cause = event.step, f"made it necessary: {event.reason}"

    def _finished(self) -> Iterator[str]:
        return (n.id for n in self.nodes.values() if n.kind == "step" and n.status not in _UNDONE)


_UNDONE: Final = frozenset({"todo", "failed", "in_doubt"})


def informed(records: Iterable[Record], *, bare: bool = False) -> Informed:
    """What informed what in a run with these records; `bare` without ids of runs, which each replay has otherwise."""
    weaver = _Weaver()
    for record in records:
        weaver.add(record)
    if not bare:
        return Informed(tuple(weaver.nodes.values()), tuple(weaver.edges.values()))
    same = without_runs
    nodes = [replace(n, id=same(n.id), title=same(n.title), said=same(n.said)) for n in weaver.nodes.values()]
    edges = [Edge(same(e.source), same(e.target), same(e.why)) for e in weaver.edges.values()]
    one_each = {(edge.source, edge.target): edge for edge in edges}
    return Informed(tuple({node.id: node for node in nodes}.values()), tuple(one_each.values()))
