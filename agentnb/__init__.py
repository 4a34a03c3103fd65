"""agentnb: budgeted plan → execute → critique agents inside Jupyter.

`%load_ext agentnb` gives the magics; everything they do, the classes here do too. Names are imported when they are
first used, so that loading the extension costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from agentnb.agent import Agent
    from agentnb.alerts import Alert, alert
    from agentnb.approval import Answer, ApprovalRequest, DoubtRequest, QuestionRequest
    from agentnb.budget import Budget, Usage
    from agentnb.cassette import Cassette
    from agentnb.errors import (
        AgentError,
        FailureClass,
        Fatal,
        InvalidData,
        ModelError,
        Permission,
        RateLimited,
        StaleData,
        ToolFailure,
        Transient,
    )
    from agentnb.guards import Ruling, ask, at_most, deny, matching, max_value, min_value, one_of
    from agentnb.models.base import Model, ModelReply, ModelRequest
    from agentnb.models.scripted import ScriptedModel
    from agentnb.otel import Telemetry
    from agentnb.pending import Pending
    from agentnb.plan import Check, Plan, Step
    from agentnb.policy import Assess, MemoryPolicy, Policy, confidence
    from agentnb.run import Run
    from agentnb.spending import costs
    from agentnb.stops import Stops
    from agentnb.tools import Tool, tool
    from agentnb.verified import verify_audit

__version__ = "0.1.0"

_WHERE = {
    "Agent": "agent",
    "AgentError": "errors",
    "Alert": "alerts",
    "Answer": "approval",
    "ApprovalRequest": "approval",
    "Assess": "policy",
    "Budget": "budget",
    "Cassette": "cassette",
    "Check": "plan",
    "DoubtRequest": "approval",
    "FailureClass": "errors",
    "Fatal": "errors",
    "InvalidData": "errors",
    "MemoryPolicy": "policy",
    "Model": "models.base",
    "ModelError": "errors",
    "ModelReply": "models.base",
    "ModelRequest": "models.base",
    "Permission": "errors",
    "Pending": "pending",
    "Plan": "plan",
    "Policy": "policy",
    "QuestionRequest": "approval",
    "RateLimited": "errors",
    "Run": "run",
    "ScriptedModel": "models.scripted",
    "StaleData": "errors",
    "Step": "plan",
    "Stops": "stops",
    "Telemetry": "otel",
    "Tool": "tools",
    "ToolFailure": "errors",
    "Transient": "errors",
    "Usage": "budget",
    "Ruling": "guards",
    "alert": "alerts",
    "ask": "guards",
    "at_most": "guards",
    "confidence": "policy",
    "costs": "spending",
    "deny": "guards",
    "matching": "guards",
    "max_value": "guards",
    "min_value": "guards",
    "one_of": "guards",
    "tool": "tools",
    "verify_audit": "verified",
}

__all__ = [
    "Agent",
    "AgentError",
    "Alert",
    "Answer",
    "ApprovalRequest",
    "Assess",
    "Budget",
    "Cassette",
    "Check",
    "DoubtRequest",
    "FailureClass",
    "Fatal",
    "InvalidData",
    "MemoryPolicy",
    "Model",
    "ModelError",
    "ModelReply",
    "ModelRequest",
    "Pending",
    "Permission",
    "Plan",
    "Policy",
    "QuestionRequest",
    "RateLimited",
    "Ruling",
    "Run",
    "ScriptedModel",
    "StaleData",
    "Step",
    "Stops",
    "Telemetry",
    "Tool",
    "ToolFailure",
    "Transient",
    "Usage",
    "alert",
    "ask",
    "at_most",
    "confidence",
    "costs",
    "deny",
    "load_ipython_extension",
    "matching",
    "max_value",
    "min_value",
    "one_of",
    "tool",
    "unload_ipython_extension",
    "verify_audit",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'agentnb' has no attribute {name!r}")
    value = getattr(import_module(f"agentnb.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Register `%agent` and `%%agent`; silent, and the same when called again."""
    from agentnb.notebook.magics import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take `%agent` and `%%agent` away again."""
    from agentnb.notebook.magics import unload

    unload(shell)
