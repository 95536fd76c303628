"""Blocks are nobody's twice, never lost, and a prefix that is found is the one that was written."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.core.generation.blocks import BlockPool, Table

SIZE, BLOCKS = 4, 12
tokens = st.lists(st.integers(0, 2), min_size=1, max_size=30)
trees = st.sampled_from([None, "a", "b"])


@given(tokens, tokens, trees, trees)
def test_a_prefix_is_found_in_whole_blocks_and_leaves_a_token(
    first: list[int], second: list[int], tree: str | None, other: str | None
) -> None:
    pool = BlockPool(BLOCKS, SIZE)
    table = pool.open(first, tree)
    assert not table.blocks
    assert pool.grow(table, len(first))
    pool.remember(table, first, len(first))
    again = pool.open(second, other)
    same = 0
    while same < min(len(first), len(second)) and first[same] == second[same]:
        same += 1
    expected = min(same, len(second) - 1) // SIZE if tree == other else 0
    assert again.blocks == table.blocks[:expected]


def test_the_longest_unused_goes_first_and_the_end_of_a_prefix_before_its_beginning() -> None:
    pool = BlockPool(4, SIZE)
    old, new = pool.open([1] * 8, None), pool.open([2] * 8, None)
    for table, text in ((old, [1] * 8), (new, [2] * 8)):
        assert pool.grow(table, 8)
        pool.remember(table, text, 8)
    pool.close(old)
    pool.close(new)
    assert pool.free == 4
    taker = pool.open([3] * 4, None)
    assert pool.grow(taker, 4)
    assert len(pool.open([1] * 9, None).blocks) == 1
    assert len(pool.open([2] * 9, None).blocks) == 2


def test_what_does_not_fit_takes_nothing() -> None:
    pool = BlockPool(2, SIZE)
    table = pool.open([1] * 9, None)
    assert not pool.grow(table, 9)
    assert (pool.free, pool.held, table.blocks) == (2, 0, [])


class Pool(RuleBasedStateMachine):
    """Sequences come, grow, write what they are and go; each block remembers what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = BlockPool(BLOCKS, SIZE)
        self.tables: list[tuple[Table, list[int], str | None]] = []
        self.written: dict[int, tuple[str | None, tuple[int, ...]]] = {}

    @rule(text=tokens, tree=trees)
    def come(self, text: list[int], tree: str | None) -> None:
        table = self.pool.open(text, tree)
        for number, block in enumerate(table.blocks):
            assert self.written[block] == (tree, tuple(text[: (number + 1) * SIZE]))
        if not self.pool.grow(table, len(text)):
            self.pool.close(table)
            return
        self.tables.append((table, text, tree))
        self._write(table, text, tree)

    @precondition(lambda self: self.tables)
    @rule(data=st.data(), more=tokens)
    def grow(self, data: st.DataObject, more: list[int]) -> None:
        table, text, tree = data.draw(st.sampled_from(self.tables))
        if self.pool.grow(table, len(text) + len(more)):
            text.extend(more)
            self._write(table, text, tree)

    @precondition(lambda self: self.tables)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        table, _, _ = self.tables.pop(data.draw(st.integers(0, len(self.tables) - 1)))
        self.pool.close(table)

    def _write(self, table: Table, text: list[int], tree: str | None) -> None:
        for number in range(table.findable, len(text) // SIZE):
            self.written[table.blocks[number]] = (tree, tuple(text[: (number + 1) * SIZE]))
        self.pool.remember(table, text, len(text))

    @invariant()
    def all_are_there(self) -> None:
        held = {block for table, _, _ in self.tables for block in table.blocks}
        assert self.pool.held == len(held)
        assert self.pool.free == BLOCKS - len(held)

    @invariant()
    def nobody_writes_into_what_others_hold(self) -> None:
        for table, text, tree in self.tables:
            for number in range(len(text) // SIZE):
                assert self.written[table.blocks[number]] == (tree, tuple(text[: (number + 1) * SIZE]))


TestPool = Pool.TestCase
