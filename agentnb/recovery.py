"""What is done about a reply that cannot be used, layer by layer.

1. The same request again, at temperature 0 where the model takes one, with what was wrong shown to it.
2. A simplified request: a smaller form, fewer tools, one example; see `simpler`.
3. A person, with all that was tried.

How often each was needed is counted by model, see `malformed`.
"""

from __future__ import annotations

from typing import Final, Literal

__all__ = ["MOST_ASSESSMENTS", "MOST_REPLIES", "PERSON_SAYS", "REPLY_SHOWN", "layer_of"]

SAME_REQUEST: Final = 2
"""Replies to the request as it is asked always, the first one included."""
SIMPLER_REQUEST: Final = 2
"""Replies to the simplified one."""
MOST_REPLIES: Final = SAME_REQUEST + SIMPLER_REQUEST
"""Replies that cannot be used, in a row, before a person is asked."""
MOST_ASSESSMENTS: Final = 3
"""The same of assessments, which are never simplified, before code makes one."""
PERSON_SAYS: Final = "a person says: "
"""Before a person's hint, where it stands among the problems."""
REPLY_SHOWN: Final = 300
"""Characters of a reply that are kept for a person to read."""


def layer_of(rejected: int) -> Literal[1, 2]:
    """The layer of the next request, after so many replies in a row that could not be used."""
    return 1 if rejected < SAME_REQUEST else 2
