"""The corked transport: one piece per turn of the loop, in order, and nothing lost on closing."""

import asyncio
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from services.runtime.corked import CorkedTransport


class Wire(asyncio.Transport):
    """Notes what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self.closed = False

    def writelines(self, list_of_data: Iterable[bytes]) -> None:  # type: ignore[override]
        assert not self.closed
        self.pieces.append(b"".join(list_of_data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


@given(turns=st.lists(st.lists(st.binary(min_size=1), max_size=4), max_size=6))
def test_each_turn_is_one_piece(turns: list[list[bytes]]) -> None:
    async def scenario() -> list[bytes]:
        wire = Wire()
        corked = CorkedTransport(wire, asyncio.get_running_loop())
        for turn in turns:
            for data in turn:
                corked.write(data)
            await asyncio.sleep(0)
        return wire.pieces

    assert asyncio.run(scenario()) == [b"".join(turn) for turn in turns if turn]


async def test_closing_sends_what_is_held_first_and_nothing_after() -> None:
    wire = Wire()
    corked = CorkedTransport(wire, asyncio.get_running_loop())
    corked.write(b"last")
    corked.close()
    assert wire.pieces == [b"last"]
    corked.write(b"too late")
    await asyncio.sleep(0)
    assert wire.pieces == [b"last"]
    assert corked.is_closing()
