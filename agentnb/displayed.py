"""What has two forms, text for terminals and HTML for notebooks, and shows itself in either."""

from __future__ import annotations

from abc import ABC, abstractmethod

__all__ = ["Displayed"]


class Displayed(ABC):
    """Shows itself: its `repr` is its text, and a notebook displays its HTML."""

    __slots__ = ()

    @abstractmethod
    def as_text(self) -> str:
        """Lines, as a terminal shows them."""

    @abstractmethod
    def as_html(self) -> str:
        """The same as HTML; everything in it is escaped."""

    def __repr__(self) -> str:
        return self.as_text()

    def _repr_html_(self) -> str:
        return self.as_html()
