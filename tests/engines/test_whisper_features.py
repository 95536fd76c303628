"""Whisper's features: the same numbers as transformers computes, whatever the length."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import WhisperFeatureExtractor

from services.engines.whisper.features import FRAMES, LogMel
from tests.whispers import clips

WHOLE = 480_000


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("length", [1, 159, 200, 201, 400, 16_000, WHOLE - 201, WHOLE - 200, WHOLE - 160, WHOLE])
def test_features_are_those_of_transformers(mels: int, length: int) -> None:
    (samples,) = clips(length / 16_000)
    expected = WhisperFeatureExtractor(feature_size=mels)(samples, sampling_rate=16_000, return_tensors="np")
    found = LogMel(mels).batch([samples])
    assert found.dtype == np.float32
    assert found.shape == (1, mels, FRAMES)
    np.testing.assert_allclose(found, expected.input_features, atol=1e-4)


@settings(max_examples=10)
@given(lengths=st.lists(st.integers(1, WHOLE), min_size=1, max_size=4), loud=st.sampled_from([0.0, 1e-6, 1.0, 1e3]))
def test_a_clip_has_the_same_features_in_any_batch(lengths: list[int], loud: float) -> None:
    several = [samples * np.float32(loud) for samples in clips(*(length / 16_000 for length in lengths))]
    found = LogMel(80).batch(several)
    assert np.isfinite(found).all()
    assert np.array_equal(found, np.concatenate([LogMel(80).batch([samples]) for samples in several]))
