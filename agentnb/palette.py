"""The colours of every figure, by what they stand for.

One set serves a light page and a dark one, for a kernel knows nothing of the page's theme: each colour stands out by at
least 3 : 1 (WCAG 1.4.11) against white and against JupyterLab's dark #111111, and any two are apart by a ΔE of 11 or
more to the eye and in the common kinds of colour blindness as Machado et al. (2009) simulate them. No figure says
anything by colour alone.
"""

from __future__ import annotations

from typing import Final, Literal

__all__ = ["DARK", "EITHER", "INKS", "LIGHT", "PHASE_INKS", "Ink", "Theme"]

Ink = Literal["blue", "teal", "green", "orange", "red", "purple", "grey", "text", "faint"]
"""`text` is the figure's words, `faint` its grid."""

INKS: Final[dict[Ink, str]] = {
    "blue": "#2B5FE3",
    "teal": "#2A7F98",
    "green": "#10A25E",
    "orange": "#C48713",
    "red": "#BC4026",
    "purple": "#C254C0",
    "grey": "#858585",
}

PHASE_INKS: Final[dict[str, Ink]] = {
    "plan": "blue",
    "bind": "teal",
    "critique": "orange",
    "assess": "purple",
    "summarise": "grey",
    "answer": "green",
    "agents": "red",
}
"""What the phases of model calls are drawn in, and the runs inside a run."""

Theme = dict[Ink, str]

EITHER: Final[Theme] = INKS | {"text": "#777777", "faint": "rgba(128,128,128,0.22)"}
"""For a page whose theme is not known: words stand out by 4.2 : 1 on white and on #111111, or more."""

LIGHT: Final[Theme] = INKS | {"text": "#333333", "faint": "rgba(0,0,0,0.10)"}
DARK: Final[Theme] = INKS | {"text": "#DDDDDD", "faint": "rgba(255,255,255,0.14)"}
