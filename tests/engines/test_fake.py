from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.core.engine import Encoder, EngineOptions
from services.engines.fake import FakeEncoder

ENGINE = FakeEncoder.load(Path("/nowhere"), EngineOptions())

batches = st.lists(
    st.lists(st.integers(0, 30_000), min_size=1, max_size=20).map(lambda ids: np.array(ids, dtype=np.int64)),
    min_size=1,
    max_size=8,
)


def test_it_is_an_encoder() -> None:
    assert isinstance(ENGINE, Encoder)


def test_its_numbers_never_change() -> None:
    logits = ENGINE.run([np.array([1, 2, 3]), np.array([7])])
    assert logits.dtype == np.float32
    expected = [[np.sin(1) + np.sin(2) + np.sin(3), np.sin(2) + np.sin(4) + np.sin(6)], [np.sin(7), np.sin(14)]]
    np.testing.assert_allclose(logits, expected, rtol=1e-6)


@settings(max_examples=50)
@given(batch=batches)
def test_a_batch_gives_what_its_items_give_alone(batch: list[NDArray[np.int64]]) -> None:
    np.testing.assert_array_equal(ENGINE.run(batch), np.concatenate([ENGINE.run([ids]) for ids in batch]))


def test_every_token_counts() -> None:
    one, other = ENGINE.run([np.array([1, 2, 3, 4]), np.array([1, 2, 3, 5])])
    assert not np.allclose(one, other)
