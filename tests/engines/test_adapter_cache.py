"""Adapters whose callers left while they were being loaded."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from services.core.adapters import Adapter, AdapterLibrary
from services.core.errors import Code, ServingError
from services.engines.torch_lm.adapter_cache import AdapterCache
from tests.adapters import BASE, CHECK, write_adapter


@pytest.fixture
def adapters(tmp_path: Path) -> list[Adapter]:
    library = AdapterLibrary(tmp_path / "home")
    return [
        library.add(BASE, name, write_adapter(tmp_path / name, seed), None, CHECK).adapter
        for seed, name in enumerate(("red", "blue", "green"))
    ]


@pytest.fixture(params=[0, 1 << 20], ids=["tight", "ample"])
def cache(request: pytest.FixtureRequest) -> Iterator[AdapterCache]:
    found = AdapterCache(request.param, torch.float32, torch.device("cpu"))
    yield found
    found.close()


def wait(cache: AdapterCache, adapter: Adapter) -> None:
    for _ in range(1000):
        if cache.ready(adapter, ()):
            return
        time.sleep(0.005)
    raise TimeoutError


def test_it_is_within_the_budget_once_another_is_asked_for(cache: AdapterCache, adapters: list[Adapter]) -> None:
    red, blue, _ = adapters
    assert not cache.ready(red, ())  # and nobody asks for it again
    wait(cache, blue)  # which is loaded after it
    is_ample = cache._budget > 0
    assert list(cache.loaded) == ([red.digest] if is_ample else []) + [blue.digest]
    assert cache.ready(red, ()) is is_ample


def test_there_are_two_of_them_at_most(cache: AdapterCache, adapters: list[Adapter], tmp_path: Path) -> None:
    red, blue, _ = adapters
    os.mkfifo(config := tmp_path / "adapter_config.json")  # whoever reads it waits until it is written
    slow = Adapter(BASE, "slow", "1", "0" * 64, tmp_path, 4)
    assert not any(cache.ready(adapter, ()) for adapter in (slow, red, blue))
    config.write_bytes(b"")
    wait(cache, red)
    assert list(cache.loaded) == [red.digest]
    assert not cache.ready(blue, ())
    with pytest.raises(ServingError) as caught:  # it stays for those who ask
        wait(cache, slow)
    assert caught.value.code is Code.UNAVAILABLE
    wait(cache, blue)
