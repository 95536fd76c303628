"""Reads ``multipart/form-data`` as it comes: a few short fields in memory, one file on disk unless it is small.

A large file becomes a read-only mapping of a temporary file that has no name: the system reads and drops its pages as
it must, and it is gone with the last who looks at it. Knows ASGI's parts of a body, and no task.
"""

import asyncio
import mmap
from collections import defaultdict
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import IO, NoReturn

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from services.core.errors import Code, ServingError
from services.core.forms import FILE, Form

MEDIA = "multipart/form-data"

SMALL = 1024 * 1024
"""Bytes of a file that is kept in memory; larger ones are written to disk in pieces of this size."""

MAX_FIELDS = 64
MAX_FIELD_BYTES = 65_536

_LONGEST_NAME = 100


async def read_parts(content_type: str, chunks: AsyncGenerator[bytes], max_field_bytes: int = MAX_FIELD_BYTES) -> Form:
    """The form that a body is.

    Args:
        content_type: of the body, with its boundary.
        chunks: the body, within its limit.
        max_field_bytes: the longest text.

    Raises:
        ServingError: INVALID_ARGUMENT, naming the field at fault; UNAVAILABLE, where there is no room for the file.
    """
    reader = _Reader(max_field_bytes)
    try:
        parser = _parser(content_type, reader)
        async for chunk in chunks:
            parser.write(chunk)
            await reader.upload.spill()
        return await reader.form()
    except FormParserError:
        _refuse("The form cannot be read; check its boundary, or let a library write it.")
    except OSError:
        message = "The server has no room for the file; retry after the time given."
        raise ServingError(Code.UNAVAILABLE, message, None, 5.0) from None
    finally:
        reader.upload.close()


def _parser(content_type: str, reader: "_Reader") -> MultipartParser:
    _, options = parse_options_header(content_type)
    if not (boundary := options.get(b"boundary")):
        _refuse(f"Give the boundary in the header 'Content-Type: {MEDIA}; boundary=…'.")
    return MultipartParser(
        boundary,
        {
            "on_part_begin": reader.begin,
            "on_header_field": reader.header_name,
            "on_header_value": reader.header_value,
            "on_header_end": reader.header_end,
            "on_headers_finished": reader.headers_end,
            "on_part_data": reader.data,
            "on_part_end": reader.end,
            "on_end": reader.all_read,
        },
    )


class _Upload:
    """The file, as it comes."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._file: IO[bytes] | None = None

    def take(self, data: bytes) -> None:
        self._held += data

    async def spill(self, most: int = SMALL) -> None:
        """Write what is held to disk, if it is more than ``most`` bytes."""
        if len(self._held) > most:
            held, self._held = self._held, bytearray()
            if self._file is None:
                self._file = TemporaryFile()  # noqa: SIM115  # closed by `close`
            await asyncio.to_thread(self._file.write, held)

    async def content(self) -> bytes | memoryview:
        if self._file is None:
            return bytes(self._held)
        await self.spill(0)
        await asyncio.to_thread(self._file.flush)
        return memoryview(mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ))

    def close(self) -> None:
        """What is mapped stays."""
        if self._file is not None:
            self._file.close()


@dataclass(slots=True)
class _Part:
    """The one under way."""

    name: str = ""
    filename: str | None = None
    content_type: str = ""


class _Reader:
    """What the parser calls."""

    def __init__(self, max_field_bytes: int) -> None:
        self.upload = _Upload()
        self._max_field_bytes = max_field_bytes
        self._fields: defaultdict[str, list[str]] = defaultdict(list)
        self._count = 0
        self._file: _Part | None = None
        self._is_whole = False
        self.begin()

    def begin(self) -> None:
        self._part = _Part()
        self._headers: dict[bytes, bytes] = {}
        self._header, self._value, self._text = b"", b"", bytearray()

    def header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header, self._value = b"", b""

    def headers_end(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        if not (name := options.get(b"name")):
            _refuse("Each part of the form needs a name in its 'Content-Disposition' header.")
        filename = options.get(b"filename")
        self._part = _Part(
            _text(name),
            None if filename is None else _text(filename),
            _text(self._headers.get(b"content-type", b"")),
        )
        self._count += 1
        if self._count > MAX_FIELDS:
            _refuse(f"The form has over {MAX_FIELDS} parts; send fewer.", self._part.name)
        if filename is not None:
            if self._file:
                _refuse("a second file; send one", self._part.name)
            self._file = self._part

    def data(self, data: bytes, start: int, end: int) -> None:
        if self._part.filename is not None:
            self.upload.take(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > self._max_field_bytes:
            _refuse(f"over {self._max_field_bytes} bytes; send less, or send it as a file", self._part.name)

    def end(self) -> None:
        if self._part.filename is not None:
            return
        try:
            self._fields[self._part.name].append(self._text.decode())
        except UnicodeDecodeError:
            _refuse("give text in UTF-8", self._part.name)

    def all_read(self) -> None:
        self._is_whole = True

    async def form(self) -> Form:
        """All of it."""
        if not self._is_whole:
            _refuse("The form ends before its last boundary; send all of it.")
        if self._file is None:
            _refuse("send a file, as a part with a filename", FILE)
        content = await self.upload.content()
        fields = {name: tuple(texts) for name, texts in self._fields.items()}
        return Form(fields, content, self._file.name, self._file.filename or "", self._file.content_type)


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def _refuse(message: str, name: str | None = None) -> NoReturn:
    if name is not None:
        name = name[:_LONGEST_NAME]
        message = f"{name}: {message}"
    raise ServingError(Code.INVALID_ARGUMENT, message, name) from None
