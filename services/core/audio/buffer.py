"""A file over bytes that lie somewhere else, and may not be in memory: nothing of them is copied but what is read."""

from io import SEEK_CUR, SEEK_END, RawIOBase
from typing import Any


class BufferFile(RawIOBase):
    """Open for reading, able to seek.

    Args:
        data: the bytes; a view of a mapped file, say.
    """

    def __init__(self, data: memoryview) -> None:
        super().__init__()
        self._data = data.cast("B")
        self._at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        base = {SEEK_CUR: self._at, SEEK_END: len(self._data)}.get(whence, 0)
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """The place."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill what can be filled."""
        found = self._data[self._at : self._at + len(buffer)]
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)
