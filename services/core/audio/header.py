"""Which container bytes are, by how they start. Names of files and declared types are never asked."""

from enum import StrEnum
from typing import BinaryIO

HEAD = 12
"""Bytes that tell the container."""

_ID3 = b"ID3"
_ID3_HEAD = 10
_LENGTH_TAGS = (b"Xing", b"Info", b"VBRI")
_TAG_WITHIN = 64
"""Bytes from the start of an mp3's first frame by which such a tag has begun."""


class Container(StrEnum):
    """A kind of file."""

    WAV = "wav"
    FLAC = "flac"
    OGG = "ogg"
    MP3 = "mp3"
    M4A = "m4a"
    WEBM = "webm"


def container_of(head: bytes) -> Container | None:
    """What begins with these bytes; None if it is none of ours."""
    if head[:4] in {b"RIFF", b"RIFX", b"RF64"} and head[8:12] == b"WAVE":
        return Container.WAV
    if head.startswith(_ID3) or _is_layer_3(head):
        return Container.MP3
    if head[4:8] == b"ftyp":
        return Container.M4A
    starts = {b"fLaC": Container.FLAC, b"OggS": Container.OGG, b"\x1a\x45\xdf\xa3": Container.WEBM}
    return starts.get(head[:4])


def tells_length(mp3: BinaryIO) -> bool:
    """Whether an mp3 begins with a frame that tells how long it is. Others have no header: frames just follow."""
    mp3.seek(0)
    head = mp3.read(_ID3_HEAD)
    start = _ID3_HEAD + _syncsafe(head[6:10]) if head.startswith(_ID3) else 0
    mp3.seek(start)
    first = mp3.read(_TAG_WITHIN)
    return any(tag in first for tag in _LENGTH_TAGS)


def _is_layer_3(head: bytes) -> bool:
    """Eleven bits of sync, then two of layer: so that neither AAC nor a UTF-16 mark is taken for it."""
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2


def _syncsafe(size: bytes) -> int:
    """Seven bits a byte."""
    value = 0
    for byte in size:
        value = value << 7 | byte & 0x7F
    return value
