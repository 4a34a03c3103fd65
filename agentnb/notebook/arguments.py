"""What can be typed after `%%agent` and `%agent`: every flag with its help, and what is said to an unknown one."""

from __future__ import annotations

import argparse
import keyword
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, TypeVar

from IPython.core.error import UsageError
from IPython.core.magic_arguments import MagicArgumentParser, argument, magic_arguments

from agentnb.cost import PHASES
from agentnb.errors import ConfigError
from agentnb.stops import Stops

if TYPE_CHECKING:
    from agentnb.policy import Assess

__all__ = [
    "APPROVE",
    "CAPS",
    "CELL_FLAGS",
    "COMMANDS",
    "UNLIMITED",
    "BadArguments",
    "Command",
    "cell_arguments",
    "command_arguments",
    "help_of",
    "in_store",
    "parsed",
    "parser_of",
    "wants_help",
]

F = TypeVar("F", bound=Callable[..., Any])

APPROVE: Final = ("ask", "deny", "auto", "confidence")
UNLIMITED: Final = "none"
"""What lifts a cap that is there by default."""

CAPS: Final[Mapping[str, tuple[type[int | float], str]]] = {
    "usd": (float, "US dollars at the provider's list price"),
    "input_tokens": (int, "tokens sent, cached ones included"),
    "output_tokens": (int, "tokens received, reasoning included"),
    "tokens": (int, "tokens sent and received together; 50000 if not given"),
    "model_calls": (int, "calls that reach a model's provider"),
    "steps": (int, "steps of the plan; 25 if not given"),
    "tool_calls": (int, "tool calls, retries included"),
    "seconds": (float, "seconds on the wall clock, waiting included"),
    "working_seconds": (float, "seconds in model and tool calls; 120 if not given"),
}
"""Each cap of a budget: its type, and its unit in words."""


class BadArguments(ConfigError):
    """A line that cannot be read; the message names what was probably meant."""


Spec = tuple[tuple[str, ...], dict[str, Any]]


def _spec(*names: str, **options: Any) -> Spec:
    return names, options


def _number(kind: type[int | float], flag: str, unit: str, *, liftable: bool) -> Callable[[str], float | str]:
    def number(text: str) -> float | str:
        if liftable and text.lower() == UNLIMITED:
            return UNLIMITED
        try:
            value = kind(text)
            float(value)  # four hundred digits are an int, and no number of anything
        except (ValueError, OverflowError):
            what = "a whole number" if kind is int else "a number"
            example = "1000" if kind is int else "0.5"
            lift = f", or {UNLIMITED} to lift the cap" if liftable else ""
            raise argparse.ArgumentTypeError(
                f"{text!r} is not {what} of {unit}: give e.g. {flag} {example}{lift}"
            ) from None
        return value

    return number


def _caps(*, liftable: bool) -> list[Spec]:
    specs = []
    for name, (kind, unit) in CAPS.items():
        flag = f"--{name.replace('_', '-')}"
        short = unit.partition(";")[0]
        text = f"at most so many {unit}" if liftable else f"so many more {short}"
        specs.append(_spec(flag, type=_number(kind, flag, short, liftable=liftable), metavar="N", help=text))
    return specs


def _one_of(*allowed: str) -> Callable[[str], str]:
    def one(text: str) -> str:
        if text not in allowed:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(allowed)}{_nearest(text, allowed)}")
        return text

    return one


def _policy(text: str) -> str:
    """A policy by its name, "confidence:medium" included; a name of the notebook may hold a Policy."""
    known = _one_of(*APPROVE)
    name, colon, level = text.partition(":")
    if colon and name == "confidence":
        return f"{name}:{_one_of('low', 'medium', 'high')(level)}"
    return text if text.isidentifier() and not get_close_matches(text, APPROVE) else known(text)


def _assess(text: str) -> Assess | bool:
    """Every so many steps, or never; before each call that acts too, where it does at all."""
    if text.lower() == "off":
        return False
    if not (text.isascii() and text.isdecimal() and int(text[:9]) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is neither off nor a number of steps: give e.g. --assess 5")
    from agentnb.policy import Assess

    return Assess(every=int(text[:9]))


def _stops(text: str) -> Stops:
    try:
        return Stops.of(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("stops ")) from None  # the flag's name stands before


def _name(text: str) -> str:
    if not text.isidentifier() or keyword.iskeyword(text):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be a variable: the result is bound to a name like `result`")
    return text


def _list(text: str) -> str:
    if text.endswith(","):
        raise argparse.ArgumentTypeError(f"{text!r} ends with a comma: leave no space after commas, as in --tools a,b")
    return text


def _tag(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (equals and key):
        raise argparse.ArgumentTypeError(f"{text!r} is no tag: write key=value")
    return key, value


def _phase(text: str) -> tuple[str, str]:
    phase, equals, model = text.partition("=")
    if not (equals and model):
        raise argparse.ArgumentTypeError(f"{text!r} gives no phase a model: write PHASE=MODEL, as in critique=local:")
    return _one_of(*PHASES)(phase), model


def _change(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (equals and name):
        raise argparse.ArgumentTypeError(f"{text!r} changes no argument: write name=value, quoted if it has spaces")
    return name, value


_CELL: Final[Sequence[Spec]] = (
    _spec("name", nargs="?", type=_name, metavar="NAME", help="variable that the Run is bound to, whatever happens"),
    _spec("--model", metavar="MODEL", help='plans and answers: "anthropic:NAME", "openai:NAME", "local:NAME"'),
    _spec("--cheap-model", metavar="MODEL", help="fills in arguments and criticises; the same as --model if not given"),
    _spec("--phase", action="append", type=_phase, metavar="PHASE=MODEL",
          help=f"another model for {', '.join(PHASES)}; may be given more than once"),
    _spec("--escalate", action="store_true", help="ask --model once where a cheaper one gives nothing usable"),
    _spec("--tools", type=_list, metavar="A,B", default="", help="functions that may be called, by name"),
    *_caps(liftable=True),
    _spec("--approve", type=_policy, metavar="|".join(APPROVE),
          help="before a call that acts: ask a person, refuse it, let it (and ask if it cannot be undone), or ask"
          " where the planner is not sure"),
    _spec("--assess", type=_assess, metavar="N|off",
          help="every so many steps, and before a call that acts, say what is established, assumed and unknown, and"
          " ask you what is critical and nobody has said; 10 if not given"),
    _spec("--approver", metavar="NAME", help="function that answers in place of the person here"),
    _spec("--notify", metavar="NAME", help="function that is told when something waits for a person"),
    _spec("--stops", type=_stops, metavar="RULES", help="when a run in circles is stopped: repeats=3,cycles=none"),
    _spec("--dry-run", action="store_true", help="read for real, only simulate what acts, and list it"),
    _spec("--fresh", action="store_true", help="ask models anew instead of taking replies from the prompt cache"),
    _spec("--replay", action="store_true", help="take every reply from the cassette: no key, no network, no cost"),
    _spec("--record", type=_one_of("all", "new"), metavar="all|new",
          help="write every model call to the cassette; =new asks only for what it lacks"),
    _spec("--cassette", metavar="FILE", help="file of recorded model calls"),
    _spec("--plan", metavar="NAME", help="variable with the steps to carry out; models fill only what starts with $?"),
    _spec("--params", metavar="NAME", help="variable with a mapping, in which the cell's {names} are looked up first"),
    _spec("--alert", action="append", metavar="usd=N|METRIC>N/7d",
          help="warn above so many usd, tokens, seconds or working_seconds, or on a metric of the last runs, such as"
          " failure_rate>0.2/7d or success_rate<0.9/50; or a variable with an Alert"),
    _spec("--tag", action="append", type=_tag, metavar="K=V", help="kept with the run; may be given more than once"),
    _spec("--secrets", type=_list, metavar="A,B", default="",
          help="variables, here or of the environment, whose texts are never recorded, sent to a model or shown"),
    _spec("--store", metavar="DIR", help="folder in which runs are kept"),
)  # fmt: skip

CELL_FLAGS: Final = tuple(name for names, _ in _CELL for name in names if name.startswith("--"))
"""Every flag of `%%agent`."""


@dataclass(frozen=True, slots=True)
class Command:
    """One `%agent` command.

    Attributes:
        usage: what follows its name.
        help: what it does.
        specs: its arguments.
    """

    usage: str
    help: str
    specs: Sequence[Spec] = ()

    @property
    def flags(self) -> list[str]:
        """Its flags."""
        return [name for names, _ in self.specs for name in names if name.startswith("--")]


_RUN: Final = _spec("run", metavar="RUN", help="a run's id, or the beginning of one: r7")
_BOUND: Final = _spec("name", nargs="?", type=_name, metavar="NAME", help="variable that the Run is bound to")
_MAYBE_RUN: Final = _spec("run", nargs="?", metavar="RUN", help="a run's id, or the beginning of one: r7")
_WHICH: Final = _spec(
    "which", nargs="*", metavar="N", help="numbers of steps, as %%agent pending lists them; a NAME is bound to the Run"
)
_CHANGES: Final = _spec("changes", nargs="+", type=_change, metavar="ARG=VALUE", help="an argument and its value")
_OF_STEP: Final = _spec("step", nargs="?", metavar="STEP", help="a step of its plan: s3")
_WHY: Final = _spec("why", nargs="?", metavar="WHY", help="the rest of the line, just as it stands")
_MODELS: Final = (
    _spec("--model", metavar="MODEL", help="plans and answers from here on"),
    _spec("--cheap-model", metavar="MODEL", help="fills in arguments and criticises from here on"),
    _spec("--phase", action="append", type=_phase, metavar="PHASE=MODEL", help="another model for one phase"),
)
_ACCEPT: Final = _spec(
    "--accept-changes", action="store_true", help="go on although a tool or a model is another than it began with"
)
_STORE: Final = _spec("--store", metavar="DIR", help="folder in which runs are kept")

_CHOICE: Final = (
    _spec("--status", action="append", metavar="STATUS",
          help="completed, stopped, failed, waiting and so on, with --tool of its calls; may be given more than once"),
    _spec("--tool", metavar="NAME", help="only runs that called it"),
    _spec("--model", metavar="MODEL", help="only runs that asked it"),
    _spec("--task-type", metavar="TYPE", help="only runs with this tag task_type"),
    _spec("--tag", action="append", type=_tag, metavar="K=V", help="only runs with this tag"),
    _spec("--since", metavar="WHEN", help="a date, a day like tuesday, a time like 15:47, how long ago: 30m, 7d"),
    _spec("--until", metavar="WHEN", help="the same; a day and a minute are meant to their end"),
    _spec("--min-usd", type=_number(float, "--min-usd", "US dollars", liftable=False), metavar="N",
          help="only runs that cost at least so much"),
    _spec("--max-usd", type=_number(float, "--max-usd", "US dollars", liftable=False), metavar="N",
          help="only runs that cost at most so much"),
)  # fmt: skip
"""Which runs are meant."""
_RUNS_SHOWN: Final = _number(int, "-n", "runs", liftable=False)
_LIMIT: Final = _spec("-n", "--limit", dest="limit", type=_RUNS_SHOWN, default=20, metavar="N", help="how many")

COMMANDS: Final[Mapping[str, Command]] = {
    "runs": Command(
        "[-n N] [--status S] [--since WHEN] [--sort usd|seconds|…]",
        "the runs as a table, the newest first",
        (
            _LIMIT,
            _spec("--sort", default="started", metavar="WHAT", help="started, ended, usd, tokens, seconds, steps …"),
            *_CHOICE,
            _STORE,
        ),
    ),
    "show": Command(
        "RUN [--all]",
        "a run's record",
        (_RUN, _spec("--all", action="store_true", help="every step of a long plan"), _STORE),
    ),
    "replay": Command("RUN", "a run as it was, event by event, with no call of anything", (_RUN, _STORE)),
    "trace": Command(
        "RUN [STEP] [--at TIME]",
        "all that a run did: calls, tries, waits and decisions, with what went in and came out",
        (_RUN, _OF_STEP, _spec("--at", metavar="TIME", help="what went on then: 15:47, or tuesday-15:47"), _STORE),
    ),
    "timeline": Command("RUN [STEP]", "a figure of what a run did when, or of one step", (_RUN, _OF_STEP, _STORE)),
    "graph": Command(
        "RUN [STEP]", "a figure of what informed what, or of what led to a step", (_RUN, _OF_STEP, _STORE)
    ),
    "curve": Command(
        "RUN [--steps]",
        "a figure of what a run cost as time went on, against each cap",
        (_RUN, _spec("--steps", action="store_true", help="along finished steps instead of time"), _STORE),
    ),
    "dashboard": Command("[--status S] [--since WHEN]", "a figure of how the runs go", (*_CHOICE, _STORE)),
    "why": Command(
        "RUN [STEP]", "the facts and decisions that led to a step, or to the answer", (_RUN, _OF_STEP, _STORE)
    ),
    "resume": Command(
        "RUN [NAME] [--done | --not-done]",
        "go on where it rests",
        (
            _RUN,
            _BOUND,
            _spec("--done", action="store_true", help="the call whose outcome is not known did happen"),
            _spec("--not-done", action="store_true", help="it did not happen: make it again"),
            _ACCEPT,
            *_MODELS,
            _STORE,
        ),
    ),
    "retry": Command(
        "RUN [HINT]",
        "try again where no reply could be used, or where it went round in circles; the model reads the hint",
        (_RUN, _WHY, _ACCEPT, _STORE),
    ),
    "fork": Command(
        "RUN [--at s3] [ARG=VALUE …] [--name NAME]",
        "a new run that shares its beginning, with something changed from there on",
        (
            _RUN,
            _spec("changes", nargs="*", type=_change, metavar="ARG=VALUE", help="an argument of that step, changed"),
            _spec(
                "--at", metavar="STEP", help="what comes next in it: s3, plan or answer; the last place if not given"
            ),
            _spec("--plan", metavar="NAME", help="variable with the steps from there on"),
            _spec("--name", type=_name, metavar="NAME", help="variable that the new Run is bound to"),
            *_caps(liftable=True),
            *_MODELS,
            _STORE,
        ),
    ),
    "diff": Command(
        "RUN OTHER",
        "two runs side by side: steps, what came of them, and what they cost",
        (_RUN, _spec("other", metavar="OTHER", help="another run's id"), _STORE),
    ),
    "extend": Command(
        "RUN [NAME] --tokens N …", "raise caps and go on", (_RUN, _BOUND, *_caps(liftable=False), _ACCEPT, _STORE)
    ),
    "cost": Command(
        "[--by task_type|model|phase|status|TAG] [--since 7d]",
        "what the runs have cost, and what was saved",
        (
            _spec("--by", default="task_type", metavar="WHAT", help="model, phase, status, or the key of a tag"),
            _spec("--since", metavar="WHEN", help="a date, 2026-11-26, or how long ago: 30m, 12h, 7d"),
            _STORE,
        ),
    ),
    "audit": Command(
        "RUN|FILE [--view technical|compliance] [--export FILE] [--verify] [--head HASH]",
        "what a run did and was kept from doing, call by call; whether its records, or an exported file, were altered",
        (
            _spec("run", metavar="RUN", help="a run's id, or the beginning of one: r7; or a file, to verify it"),
            _spec(
                "--view",
                type=_one_of("technical", "compliance"),
                metavar="technical|compliance",
                help="raw, for engineers; or in sentences that hold no raw data; the latter if not given",
            ),
            _spec("--export", metavar="FILE", help="write the view there, chained by hashes: FILE.csv, or JSON Lines"),
            _spec("--verify", action="store_true", help="say what was changed, removed, inserted or moved"),
            _spec("--head", metavar="HASH", help="the hash that was shown when it was kept, to compare with"),
            _STORE,
        ),
    ),
    "search": Command(
        "WORDS … [--tool NAME] [--status S] [--since WHEN] [--min-usd N]",
        'which runs say something: words, "quoted phrases", begin*; or only which are so',
        (
            _spec("words", nargs="*", metavar="WORDS", help="all of them have to stand somewhere in a run"),
            _LIMIT,
            _spec("--best", action="store_true", help="where rare words are frequent first, instead of the newest"),
            *_CHOICE,
            _STORE,
        ),
    ),
    "pending": Command("[RUN]", "what waits for a person, each with the number of its step", (_MAYBE_RUN, _STORE)),
    "approve": Command(
        "RUN [N …] [NAME]", "allow the call that waits, or those of these numbers, and go on", (_RUN, _WHICH, _STORE)
    ),
    "reject": Command("RUN WHY", "refuse the call that waits, and go on", (_RUN, _WHY, _STORE)),
    "edit": Command(
        "RUN ARG=VALUE …", "allow the call that waits with other arguments, and go on", (_RUN, _CHANGES, _STORE)
    ),
    "answer": Command("RUN TEXT", "answer what a call rests on, and go on", (_RUN, _WHY, _STORE)),
    "go-on": Command("RUN [NAME]", "go on without the answer that is asked for", (_RUN, _BOUND, _STORE)),
    "execute": Command(
        "RUN [N …] [--validator NAME]",
        "do what a dry run has shown, or carry out destructive actions that wait",
        (
            _RUN,
            _WHICH,
            _spec("--validator", metavar="NAME", help="function that decides about each action: True carries it out"),
            _spec("--done", action="store_true", help="the action whose outcome is not known was carried out"),
            _spec("--not-done", action="store_true", help="it was not: carry it out"),
            _STORE,
        ),
    ),
    "discard": Command("RUN [N …]", "take actions that wait out of the queue", (_RUN, _WHICH, _STORE)),
    "cancel": Command("RUN [WHY]", "end it where it is", (_RUN, _WHY, _STORE)),
    "cassette": Command(
        "[FILE] | verify FILE | prune FILE [--yes] | merge A [B] [-o C] [--ours | --theirs]",
        "say what is in a cassette; verify it, take out what nobody asks for, or put two together",
        (
            _spec("words", nargs="*", metavar="FILE", help="a cassette; before it verify, prune or merge"),
            _spec("--yes", action="store_true", help="prune: take them out; without it they are only listed"),
            _spec("-o", "--output", metavar="C", help="merge: the file that is written; A, if not given"),
            _spec("--ours", action="store_true", help="merge: where both answer a request, as A does"),
            _spec("--theirs", action="store_true", help="merge: as B does"),
        ),
    ),
    "models": Command(
        "[fetch NAME]",
        "models, and whether each can be used; fetch brings the weights of a local one",
        (_spec("action", nargs="?", type=_one_of("fetch")), _spec("model", nargs="?", metavar="NAME")),
    ),
    "tools": Command("[NAME]", "tools in this notebook", (_spec("tool", nargs="?", metavar="NAME"),)),
    "export": Command(
        "RUN FILE", "write a run to one file", (_RUN, _spec("file", metavar="FILE", help="is replaced"), _STORE)
    ),
    "import": Command(
        "FILE", "take in a run that was exported", (_spec("file", metavar="FILE", help="that export wrote"), _STORE)
    ),
    "gc": Command(
        "[--older-than DAYS] [--max-mb N] [--yes]",
        "which ended runs could go, and how much that frees; --yes takes them away",
        (
            _spec(
                "--older-than",
                type=_number(float, "--older-than", "days", liftable=False),
                metavar="DAYS",
                help="ended runs whose last record is older",
            ),
            _spec(
                "--max-mb",
                type=_number(float, "--max-mb", "megabytes", liftable=False),
                metavar="N",
                help="the oldest ended runs, until the store holds at most so many megabytes",
            ),
            _spec("--yes", action="store_true", help="take them away; without it they are only listed"),
            _STORE,
        ),
    ),
    "doctor": Command(
        "[--store [DIR]] [--save DIR]",
        "what is installed, set and reachable here; --store checks what is kept",
        (
            _spec("--store", nargs="?", const="", metavar="DIR", help="check the store, or the one in DIR"),
            _spec("--save", metavar="DIR", help="write what can be read of each run to a file there"),
        ),
    ),
    "help": Command("", "this list"),
}


def cell_arguments(function: F) -> F:
    """`function` with the arguments of `%%agent`, and their help as its docstring."""
    for names, options in reversed(_CELL):
        function = argument(*names, **options)(function)
    made: F = magic_arguments("%agent")(function)
    return made


def parser_of(command: str) -> argparse.ArgumentParser:
    """The parser of one of COMMANDS."""
    parser = MagicArgumentParser(f"agent {command}", description=COMMANDS[command].help)
    for names, options in COMMANDS[command].specs:
        parser.add_argument(*names, **options)
    return parser


_FLAG: Final = r"""(?:--accept-changes(?=\s|$)|--[\w-]+(?:=|\s+)(?:"[^"]*"|'[^']*'|\S+))"""
_BEFORE_WHY: Final = re.compile(rf"\s*(?:{_FLAG}\s+)*\S*(?:\s+{_FLAG})*")
"""RUN, and flags with their values before and after it."""


def command_arguments(command: str, line: str) -> argparse.Namespace:
    """The arguments of one of COMMANDS in what follows its name; WHY is taken as it stands, apostrophes and all.

    Raises:
        BadArguments: see `parsed`.

    >>> command_arguments("reject", "r1 don't do that").why
    "don't do that"
    """
    parser = parser_of(command)
    if _WHY not in COMMANDS[command].specs:
        return parsed(parser, line)
    head = _BEFORE_WHY.match(line)
    end = head.end() if head else 0
    found = parsed(parser, line[:end])
    found.why = line[end:].strip()
    return found


def wants_help(line: str, command: str = "") -> bool:
    """True where --help or -h is among the words; later than RUN and one more they may be those of a reason."""
    words = line.split()
    asking = words[:2] if command and _WHY in COMMANDS[command].specs else words
    return "--help" in asking or "-h" in asking


def in_store(args: argparse.Namespace) -> str:
    """The `--store` that was typed, as it is to be typed again: " --store other", or ""."""
    return f" --store {shlex.quote(args.store)}" if args.store else ""


def help_of(parser: argparse.ArgumentParser) -> str:
    """What the parser's line may hold; IPython's formatter begins it as reStructuredText."""
    return f"usage:{parser.format_help().removeprefix('::')}".rstrip()


def parsed(parser: argparse.ArgumentParser, line: str) -> argparse.Namespace:
    """The arguments in `line`, split as a shell would: quotes group, backslashes stay.

    Raises:
        BadArguments: an unknown flag, a bad value, a missing or superfluous word.
    """
    parser.allow_abbrev = False  # a flag added later must not change what an old notebook means
    words = _recording(_words(line))
    _require_known(words, parser)
    try:
        found, rest = parser.parse_known_intermixed_args(words)  # flags may stand between words
    except UsageError as error:
        raise BadArguments(_plain(str(error), parser)) from None
    if rest:
        raise BadArguments(f"{' '.join(rest)!r} is one word too many: usage is {_usage(parser)}")
    return found


def _require_known(words: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Returns where every flag is one of the parser's; asked first, for argparse takes the value of others for NAME."""
    flags = [option for action in parser._actions for option in action.option_strings]  # noqa: SLF001 - there is no public list
    for word in words:
        name = word.partition("=")[0] if word.startswith("--") else word[:2]
        if name in flags or " " in word or not re.match(r"--|-[^\W\d]", word):  # -5 is a number; with a space, a text
            continue
        known = f"there {'are' if len(flags) > 1 else 'is only'} {', '.join(flags)}" if flags else "it takes none"
        raise BadArguments(f"there is no flag {name}: {_nearest(name, flags).removeprefix('; ') or known}")


def _words(line: str) -> list[str]:
    words = shlex.shlex(line, posix=True, punctuation_chars=False)
    words.whitespace_split, words.escape, words.commenters = True, "", ""
    try:
        return list(words)
    except ValueError:
        raise BadArguments("a quotation mark is not closed: close it") from None


def _recording(words: Sequence[str]) -> list[str]:
    """`words` with --record, which takes its value after an equals sign only: what follows it may be NAME."""
    for word, after in zip(words, [*words[1:], ""], strict=False):
        if word == "--record" and after in ("all", "new"):
            raise BadArguments(f"--record {after} could mean the variable {after}: write --record={after}")
    return ["--record=all" if word == "--record" else word for word in words]


def _plain(message: str, parser: argparse.ArgumentParser) -> str:
    """What argparse says, in our words."""
    name, _, problem = message.removeprefix("argument ").partition(": ")
    if problem == "expected one argument":
        return f"{name} needs a value: `{name} …`, usage is {_usage(parser)}"
    if message.startswith("the following arguments are required"):
        optional = {action.metavar for action in parser._actions if action.nargs in ("*", "?")}  # noqa: SLF001 - see above
        missing = [found for found in problem.split(", ") if found not in optional]  # argparse names those too
        return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing: usage is {_usage(parser)}"
    return f"{name} {problem}" if problem else message


def _usage(parser: argparse.ArgumentParser) -> str:
    command = parser.prog.removeprefix("agent ")
    return (
        f"%agent {command} {COMMANDS[command].usage}".rstrip()
        if command in COMMANDS
        else "%%agent [NAME] --flag value …"
    )


def _nearest(text: str, known: Sequence[str]) -> str:
    near = get_close_matches(text, known, n=1)
    return f"; did you mean {near[0]}?" if near else ""
