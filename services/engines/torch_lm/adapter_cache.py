"""Adapters in memory: loaded on a thread of their own, the one that was not used for longest makes way."""

import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import torch

from services.core.adapters import Adapter
from services.core.errors import Code, ServingError
from services.engines.torch_lm.lora import LoadedAdapter, bytes_of, read_adapter

log = logging.getLogger(__name__)

_AT_ONCE = 2
"""Adapters being loaded: one is read while the one before it waits to be taken over. Nobody may come back for them, and
only what was taken over is within the budget."""


class AdapterCache:
    """Loaded adapters by digest, within a budget of bytes. Used from one thread."""

    def __init__(self, budget: int, dtype: torch.dtype, device: torch.device) -> None:
        self._budget = budget
        self._read = partial(read_adapter, dtype=dtype, device=device)
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="adapters")
        self._loading: dict[str, Future[LoadedAdapter]] = {}
        self._loaded: OrderedDict[str, LoadedAdapter] = OrderedDict()

    @property
    def loaded(self) -> Mapping[str, LoadedAdapter]:
        """Those in memory."""
        return self._loaded

    def ready(self, adapter: Adapter, in_use: Iterable[str]) -> bool:
        """Whether it is in memory; else its loading begins, goes on, or waits for that of others: ask again.

        Args:
            adapter: the adapter.
            in_use: digests of those that must stay.

        Raises:
            ServingError: it cannot be read, or is not what was checked.
        """
        self._take_over({adapter.digest, *in_use})
        if adapter.digest in self._loaded:
            self._loaded.move_to_end(adapter.digest)
            return True
        loading = self._loading.get(adapter.digest)
        if loading is None:
            if sum(not one.done() for one in self._loading.values()) < _AT_ONCE:
                self._loading[adapter.digest] = self._loader.submit(self._read, adapter)
        elif loading.done() and (error := loading.exception()) is not None:
            del self._loading[adapter.digest]
            raise _failed(adapter, error)
        return False

    def close(self) -> None:
        """Forget all."""
        self._loader.shutdown(cancel_futures=True)
        self._loading.clear()
        self._loaded.clear()

    def _take_over(self, staying: set[str]) -> None:
        """Have all that was loaded since within the budget, whether or not anyone still waits for it.

        What could not be loaded holds no memory, and stays for those who ask for it.
        """
        done = [digest for digest, one in self._loading.items() if one.done() and one.exception() is None]
        for digest in done:
            self._loaded[digest] = self._loading.pop(digest).result()
        if done:
            self._make_room(staying)

    def _make_room(self, staying: set[str]) -> None:
        used = sum(map(bytes_of, self._loaded.values()))
        for digest in [digest for digest in self._loaded if digest not in staying]:
            if used <= self._budget:
                break
            used -= bytes_of(self._loaded.pop(digest))


def _failed(adapter: Adapter, error: BaseException) -> ServingError:
    if isinstance(error, ServingError):
        return error
    log.error("adapter %s could not be loaded", adapter.id, exc_info=error)
    return ServingError(Code.UNAVAILABLE, f"Adapter {adapter.id} cannot be read; load it again.", "model")
