"""A file over a buffer reads as one in memory does."""

from io import SEEK_CUR, SEEK_END, SEEK_SET, BytesIO

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.core.audio import decode
from services.core.audio.buffer import BufferFile
from tests.core.audio.sounds import encoded, tone

steps = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(0, 40), st.just(0)),
        st.tuples(st.just("seek"), st.integers(0, 60), st.sampled_from([SEEK_SET, SEEK_CUR, SEEK_END])),
    )
)


@given(st.binary(max_size=50), steps)
def test_it_is_like_bytesio(data: bytes, steps: list[tuple[str, int, int]]) -> None:
    one, other = BytesIO(data), BufferFile(memoryview(data))
    for step, number, whence in steps:
        if step == "read":
            assert one.read(number) == other.read(number)
        else:
            assert one.seek(number, whence) == other.seek(number, whence)
        assert one.tell() == other.tell()


def test_a_view_decodes_as_its_bytes() -> None:
    file = encoded(tone(1.0))
    assert np.array_equal(decode(file), decode(memoryview(file)))
