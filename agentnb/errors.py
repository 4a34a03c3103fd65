"""Every error that agentnb raises, and how a failure is classified.

    AgentError
    ├── ConfigError            the caller's mistake: nothing has started
    │   ├── UnknownModel       no such provider or model
    │   ├── ModelUnavailable   a model that cannot be called here
    │   │   └── MissingKey     the provider needs a key that is not set
    │   ├── MissingPackage     an optional package is not installed
    │   ├── UnknownPrice       a dollar budget on a model whose price is not known
    │   ├── ToolDefinitionError  a function that cannot be made a tool
    │   ├── NetworkForbidden   AGENTNB_NO_NETWORK is set
    │   └── OnlyRecorded       a decision is recorded, and the run cannot go on with it here
    ├── StoreError             the store cannot be opened, read or written
    │   ├── RunNotFound        no run of that id
    │   ├── DamagedRecord      a record that cannot be read; the run stops rather than guess
    │   ├── RunConflict        somebody else appended to this run
    │   ├── RunHeld            somebody else drives this run
    │   └── KeyTaken           somebody else has claimed the same key
    ├── CassetteError          a cassette that is damaged, or lacks a request
    │   └── CassetteMiss
    ├── ModelError             a model call failed; carries a FailureClass
    ├── ToolFailure            a tool call failed; carries a FailureClass
    │   ├── Transient          try again after a while
    │   ├── RateLimited        try again no sooner than the server says
    │   ├── StaleData          what the call rested on has changed
    │   ├── Permission         a person has to grant something
    │   ├── InvalidData        the same call will fail again
    │   ├── Fatal              nothing in the run can mend it
    │   └── ToolTimeout        it took too long, and may have acted
    ├── NotJSON                a value that cannot be kept as JSON
    ├── Interrupted            a person stopped the run
    └── IllegalTransition      a bug in agentnb: an event that this state does not admit

A limit reached, a refusal or a failed run is a result and not an exception: see `Run.stop_reason`.
Messages say what happened, with the numbers, and then what to do.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "AgentError",
    "CassetteError",
    "CassetteMiss",
    "ConfigError",
    "DamagedRecord",
    "FailureClass",
    "Fatal",
    "IllegalTransition",
    "Interrupted",
    "InvalidData",
    "KeyTaken",
    "MissingKey",
    "MissingPackage",
    "ModelError",
    "ModelUnavailable",
    "NetworkForbidden",
    "NotJSON",
    "OnlyRecorded",
    "Permission",
    "RateLimited",
    "RunConflict",
    "RunHeld",
    "RunNotFound",
    "StaleData",
    "StoreError",
    "ToolDefinitionError",
    "ToolFailure",
    "ToolTimeout",
    "Transient",
    "UnknownModel",
    "UnknownPrice",
    "message_of",
]


class FailureClass(StrEnum):
    """What kind of failure it was, which says what may be done about it."""

    TRANSIENT = "transient"
    """Try again after a while: a dropped connection, a 5xx, an overloaded server."""
    RATE_LIMITED = "rate_limited"
    """Try again no sooner than the server says."""
    STALE_DATA = "stale_data"
    """What the call rested on has changed: read again first."""
    PERMISSION = "permission"
    """A person has to grant something: a key, a role, a quota."""
    INVALID_DATA = "invalid_data"
    """The same call will fail again: the arguments or the data are wrong."""
    FATAL = "fatal"
    """Nothing in the run can mend it."""

    @property
    def worth_retrying(self) -> bool:
        """True where the same call may succeed a moment later."""
        return self in (FailureClass.TRANSIENT, FailureClass.RATE_LIMITED)


def message_of(error: BaseException) -> str:
    """What `error` says; of a user's exception that has no text, that it has none."""
    try:
        return str(error)
    except Exception as worse:  # noqa: BLE001 - its `__str__` is a user's code, and may raise anything
        return f"(no message: {type(worse).__name__})"


class AgentError(Exception):
    """The root of everything that agentnb raises on purpose."""


class ConfigError(AgentError):
    """Something that the caller gave is wrong; nothing has started."""


class UnknownModel(ConfigError):
    """No provider or model of that name."""


class ModelUnavailable(ConfigError):
    """A model that cannot be called here: no key, no weights, a package missing, or no network allowed."""


class MissingKey(ModelUnavailable):
    """The provider needs a key and the variable that holds it is not set."""


class MissingPackage(ConfigError):
    """An optional package is not installed; the message has the command that installs it."""


class UnknownPrice(ConfigError):
    """A dollar budget was set on a model whose price is not known."""


class ToolDefinitionError(ConfigError):
    """A function that cannot be made a tool: no annotations, no docstring, a name taken twice."""


class NetworkForbidden(ConfigError):
    """AGENTNB_NO_NETWORK forbids the call."""


class OnlyRecorded(ConfigError):
    """What was decided is recorded and holds; to go on with it, something is missing here. Says what."""


class StoreError(AgentError):
    """The store cannot be opened, read or written."""


class RunNotFound(StoreError):
    """The store holds no run of that id."""


class DamagedRecord(StoreError):
    """A record cannot be read back; the run stops rather than guess."""


class RunConflict(StoreError):
    """Another process has appended to this run since it was read."""


class RunHeld(StoreError):
    """Another kernel, process or thread is driving this run, and nobody else may meanwhile."""


class KeyTaken(StoreError):
    """A row of that key is kept already: another run has claimed the same call. Nothing was kept of this commit."""


class CassetteError(AgentError):
    """A cassette cannot be read, or its lines do not hold what their keys promise."""


class CassetteMiss(CassetteError):
    """Replaying, and the cassette holds no reply to this request.

    Attributes:
        brief: the same in a few words, without what the nearest recorded request says.
    """

    def __init__(self, message: str, brief: str = "") -> None:
        super().__init__(message)
        self.brief = brief or message


class ModelError(AgentError):
    """A model call failed.

    Attributes:
        failure: what kind of failure it was.
        retry_after_s: seconds that the provider asks to wait, or None.
        unbilled: True where it is known that the provider charges nothing for the call; otherwise the call
            stays charged at what was reserved for it.
    """

    def __init__(
        self, message: str, failure: FailureClass, *, retry_after_s: float | None = None, unbilled: bool = False
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.retry_after_s = retry_after_s
        self.unbilled = unbilled


class ToolFailure(AgentError):
    """A tool call failed in a known way and did not act; raise it, or a kind of it, in a tool to say in which.

    Attributes:
        failure: what kind of failure it was.
        retry_after_s: seconds that the tool's service asks to wait, or None.
    """

    def __init__(
        self, message: str, failure: FailureClass = FailureClass.INVALID_DATA, *, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.failure = FailureClass(failure)  # a tool's author may have written "transient"
        self.retry_after_s = retry_after_s


class Transient(ToolFailure):
    """A tool's service is out of order for the moment: the same call may succeed a while later."""

    def __init__(self, message: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(message, FailureClass.TRANSIENT, retry_after_s=retry_after_s)


class RateLimited(ToolFailure):
    """A tool's service was called too often: the same call may succeed after `retry_after_s`."""

    def __init__(self, message: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, FailureClass.RATE_LIMITED, retry_after_s=retry_after_s)


class StaleData(ToolFailure):
    """What a tool call rested on has changed since it was read: read it again first."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message, FailureClass.STALE_DATA)


class Permission(ToolFailure):
    """A tool call lacks what only a person can grant: a key, a role, a quota."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message, FailureClass.PERMISSION)


class InvalidData(ToolFailure):
    """A tool call's arguments or the data it met are wrong: the same call will fail again."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message, FailureClass.INVALID_DATA)


class Fatal(ToolFailure):
    """A tool call met something that nothing in the run can mend."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message, FailureClass.FATAL)


class ToolTimeout(ToolFailure):
    """A tool call took longer than its `timeout_s`; whether it acted is not known."""

    def __init__(self, message: str) -> None:
        super().__init__(message, FailureClass.TRANSIENT)


class NotJSON(AgentError):
    """A value that cannot be kept as JSON; the message says which and where."""


class Interrupted(AgentError):
    """A person stopped the run; it can be resumed."""


class IllegalTransition(AgentError):
    """An event that the state does not admit: a bug in agentnb, never a consequence of what a model said."""
