"""What the tokens of a ``tokenizer.json`` are as bytes: a token may be part of a character.

Knows the two ways in which language models' vocabularies write bytes: byte-level, where each byte has a printable
character, and sentencepiece's, where `▁` is a space and ``<0xE2>`` a byte.
"""

import json
import re
from collections.abc import Callable

import tokenizers

from services.core.errors import OperatorError

_SPACE = "\u2581"
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def spell(tokenizer: tokenizers.Tokenizer, size: int) -> tuple[bytes, ...]:
    """The bytes of each id below ``size``; none for ids that have no token.

    Raises:
        OperatorError: the tokenizer writes bytes in neither way.
    """
    read = _reader(json.loads(tokenizer.to_str())["decoder"])
    added = tokenizer.get_added_tokens_decoder()
    pieces = (tokenizer.id_to_token(token) for token in range(size))
    return tuple(
        added[token].content.encode() if token in added else read(piece) if piece else b""
        for token, piece in enumerate(pieces)
    )


def _reader(decoder: dict[str, object] | None) -> Callable[[str], bytes]:
    written = json.dumps(decoder)
    if '"ByteLevel"' in written:
        return _byte_level()
    if any(f'"{kind}"' in written for kind in ("ByteFallback", "Metaspace")):
        return _sentencepiece
    raise OperatorError("This tokenizer.json is neither byte-level nor sentencepiece; convert it to one of them.")


def _byte_level() -> Callable[[str], bytes]:
    """GPT-2's alphabet: printable bytes stand for themselves, the others follow from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(0x100) if byte not in printable]
    table = {chr(byte): byte for byte in printable} | {chr(0x100 + place): byte for place, byte in enumerate(others)}

    def read(piece: str) -> bytes:
        try:
            return bytes(table[letter] for letter in piece)
        except KeyError:  # not in the alphabet: the piece is text
            return piece.encode()

    return read


def _sentencepiece(piece: str) -> bytes:
    byte = _BYTE.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece.replace(_SPACE, " ").encode()
