"""A file as libsndfile may read it: from C, where nothing may be raised."""

from io import SEEK_CUR, SEEK_END
from typing import BinaryIO


class View:
    """Reads a file at a place of its own.

    Args:
        source: open, able to seek.
        stretch: how many times its size it seems to have; zeros are read past the real end, and at it the file ends.
    """

    def __init__(self, source: BinaryIO, stretch: int = 1) -> None:
        self._source = source
        self._size = source.seek(0, SEEK_END)
        self._seeming = self._size * stretch
        self._at = 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place; damaged files ask for some before the start."""
        base = {SEEK_CUR: self._at, SEEK_END: self._seeming}.get(whence, 0)
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """The place."""
        return self._at

    def readinto(self, buffer: memoryview) -> int:
        """Fill what can be filled."""
        if self._at > self._size:
            data = bytes(min(len(buffer), max(0, self._seeming - self._at)))
        else:
            self._source.seek(self._at)
            data = self._source.read(len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
