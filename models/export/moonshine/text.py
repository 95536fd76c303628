"""The published vocabulary -> ``tokenizer.json``.

The file: for each piece its length, in one byte or two, and its bytes. It has no merges, so what comes of it can only
decode. Ids 3 to 258 are the bytes themselves; pieces that begin a word begin with ``▁``.
"""

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders
from tokenizers.models import BPE

from models.export import ExportError

SPECIAL = ("<unk>", "<s>", "</s>")
BYTES = range(len(SPECIAL), len(SPECIAL) + 256)
_UNUSED = "<<ST_"
"""Tokens for other models of the family open so."""


def read_tokenizer(file: Path) -> Tokenizer:
    """The decoder of a vocabulary.

    Raises:
        ExportError: the file is something else.
    """
    names = [_name(number, piece, file) for number, piece in enumerate(read_pieces(file))]
    vocabulary = {name: number for number, name in enumerate(names)}
    if tuple(names[: len(SPECIAL)]) != SPECIAL or len(vocabulary) != len(names):
        raise ExportError(f"{file.name}: these are not Moonshine's pieces")
    tokenizer = Tokenizer(BPE(vocabulary, [], byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = [name for name in names if name in SPECIAL or name.startswith(_UNUSED)]
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    return tokenizer


def read_pieces(file: Path) -> list[bytes]:
    """What the file holds.

    Raises:
        ExportError: it ends within a piece.
    """
    data, place, pieces = file.read_bytes(), 0, []
    while place < len(data):
        length, place = data[place], place + 1
        if length >= 128 and place < len(data):
            length, place = data[place] * 128 + length - 128, place + 1
        pieces.append(data[place : place + length])
        place += length
    if place != len(data) or not pieces:
        raise ExportError(f"{file.name} is not a vocabulary of Moonshine: it ends within a piece")
    return pieces


def _name(number: int, piece: bytes, file: Path) -> str:
    if number in BYTES:
        return f"<0x{piece[0]:02X}>" if len(piece) == 1 else ""
    try:
        return piece.decode()
    except UnicodeDecodeError as error:
        raise ExportError(f"{file.name}: piece {number} is not UTF-8") from error
