"""The KV cache as blocks: who holds which, and which prefixes of earlier sequences are still there.

A block is given to one sequence to write; once full it never changes, and sequences that begin with the same tokens
on the same adapter share it. Blocks that nobody holds stay findable until they are needed, the longest unused first.
Found by the tokens themselves, not by a hash of them: no collision can show one caller another's text.
Knows block numbers; the engine holds what is in them.
"""

from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count


@dataclass(slots=True)
class Table:
    """Blocks of one sequence, in order."""

    last: Hashable
    """The node of the last block that can be found by its tokens; before the first, what tells trees apart."""
    findable: int = 0
    """How many of its first blocks are such."""
    blocks: list[int] = field(default_factory=list)


_Key = tuple[Hashable, tuple[int, ...]]


class BlockPool:
    """``blocks`` blocks of ``block_tokens`` tokens each."""

    def __init__(self, blocks: int, block_tokens: int) -> None:
        self.block_tokens = block_tokens
        self._spare = list(range(blocks - 1, -1, -1))
        self._holders: Counter[int] = Counter()
        self._found: dict[_Key, tuple[int, int]] = {}  # (parent node, tokens) -> node, block
        self._key: dict[int, _Key] = {}  # of each findable block
        self._unused: OrderedDict[int, None] = OrderedDict()  # findable blocks that nobody holds, oldest first
        self._numbers = count(1)

    @property
    def free(self) -> int:
        """Blocks that can be had."""
        return len(self._spare) + len(self._unused)

    @property
    def held(self) -> int:
        """Blocks that sequences hold."""
        return len(self._holders)

    def open(self, tokens: Sequence[int], tree: Hashable) -> Table:
        """A table for a sequence, with the longest prefix that is there; at least its last token is left to compute.

        Args:
            tokens: of the sequence so far.
            tree: prefixes are shared within it (an adapter's digest).
        """
        table = Table((tree,))
        for key_tokens in self._cut(tokens, 0, len(tokens) - 1):
            found = self._found.get((table.last, key_tokens))
            if found is None:
                break
            table.last, block = found
            table.blocks.append(block)
            self._hold(block)
        table.findable = len(table.blocks)
        return table

    def grow(self, table: Table, tokens: int) -> bool:
        """Have room for so many tokens; false if there is none, and then nothing is taken."""
        missing = -(-tokens // self.block_tokens) - len(table.blocks)
        if missing > self.free:
            return False
        for _ in range(missing):
            block = self._take()
            self._hold(block)
            table.blocks.append(block)
        return True

    def remember(self, table: Table, tokens: Sequence[int], computed: int) -> None:
        """Let the blocks be found that are full now, with ``computed`` of these tokens in the cache."""
        for key_tokens in self._cut(tokens, table.findable, computed):
            key = (table.last, key_tokens)
            block = table.blocks[table.findable]
            node, _ = self._found.setdefault(key, (next(self._numbers), block))  # another one may have been quicker
            if self._found[key][1] == block:
                self._key[block] = key
            table.last = node
            table.findable += 1

    def close(self, table: Table) -> None:
        """Give the blocks back; those that can be found stay so for now, the first of the sequence longest."""
        for block in reversed(table.blocks):
            self._holders[block] -= 1
            if not self._holders[block]:
                del self._holders[block]
                if block in self._key:
                    self._unused[block] = None
                else:
                    self._spare.append(block)
        table.blocks.clear()
        table.findable = 0

    def _cut(self, tokens: Sequence[int], first: int, end: int) -> Iterator[tuple[int, ...]]:
        """The tokens of each full block before ``end``, from block ``first``."""
        size = self.block_tokens
        return (tuple(tokens[start : start + size]) for start in range(first * size, end - size + 1, size))

    def _hold(self, block: int) -> None:
        self._holders[block] += 1
        self._unused.pop(block, None)

    def _take(self) -> int:
        if self._spare:
            return self._spare.pop()
        block, _ = self._unused.popitem(last=False)
        del self._found[self._key.pop(block)]
        return block
