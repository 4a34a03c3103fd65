"""Keeping the index up while runs are driven, so that whoever asks it next waits for a second's worth of records."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from agentnb.index import Index
from agentnb.store.base import Store
from agentnb.store.heads import number_of

__all__ = ["Follower"]

_PAUSE_S: Final = 1.0
_BUSY: Final = 0.5
"""The share of a second for which this process may have computed: one that needs its processor is left alone, and who
asks the index then takes in more."""
_YOUNG: Final = 200
"""Runs of a store up to which an index is made while one of them is driven; of a larger store by who asks first."""
_LOG: Final = logging.getLogger(__name__)


class Follower:
    """Takes what is new into the index once a second, on a thread of its own, until it is told to stop.

    It takes nothing from the run: what goes wrong is logged, and nobody waits for it.

    Args:
        store: whose index.
        run: which is driven meanwhile.
    """

    def __init__(self, store: Store, run: str) -> None:
        self._index = Index(store)
        self._young = (number_of(run) or 0) <= _YOUNG
        self._over = threading.Event()

    def start(self) -> None:
        """Begin; nothing where the store leaves nothing behind."""
        if self._index.file is not None:
            threading.Thread(target=self._follow, name="agentnb-index", daemon=True).start()

    def stop(self) -> None:
        """Be done soon; what is under way is finished first."""
        self._over.set()

    def _follow(self) -> None:
        try:
            worked = time.process_time()
            while not self._over.wait(_PAUSE_S):
                idle = time.process_time() - worked < _BUSY * _PAUSE_S
                if idle and (self._young or self._exists):
                    self._look()
                worked = time.process_time()
            if self._exists:
                self._look()
        except Exception:  # noqa: BLE001 - whatever it is, the run is none the worse for it
            _LOG.info("the index could not be kept up; who asks it makes good for that", exc_info=True)
        finally:
            self._index.close()

    def _look(self) -> None:
        """Catch up, unless another run's follower, or somebody who asked, has done so within the second."""
        if self._index.is_behind(_PAUSE_S):
            self._index.catch_up()

    @property
    def _exists(self) -> bool:
        return self._index.file is not None and self._index.file.exists()
