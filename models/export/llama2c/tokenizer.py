"""A tokenizer of llama2.c -> ``tokenizer.json``.

The file: the length of the longest piece, then for each piece its score, its length and its bytes. It is a
sentencepiece BPE: of all neighbours that are a piece together, those are joined first whose piece scores highest.
Characters without a piece are spelled in bytes. Spaces are written as ▁, as everywhere in ``tokenizer.json``.
"""

import struct
from pathlib import Path
from typing import NamedTuple

from tokenizers import AddedToken, Tokenizer, decoders, normalizers
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing

from models.export import ExportError

SPECIAL = ("<unk>", "<s>", "</s>")
FIRST_PIECE = len(SPECIAL) + 256
"""Before it are the special tokens and the bytes."""


class Piece(NamedTuple):
    """One entry of the file."""

    score: float
    text: str


def read_tokenizer(file: Path, size: int) -> Tokenizer:
    """The tokenizer of a network with so many tokens.

    Raises:
        ExportError: the file does not hold so many pieces, or something else.
    """
    pieces = read_pieces(file, size)
    names = [*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    names += [piece.text.replace(" ", "▁") for piece in pieces[FIRST_PIECE:]]
    vocabulary = {name: number for number, name in enumerate(names)}
    if len(vocabulary) != size:
        raise ExportError(f"{file}: some of its pieces are the same")
    joined = _merges(vocabulary, [piece.score for piece in pieces])
    tokenizer = Tokenizer(BPE(vocabulary, joined, unk_token=SPECIAL[0], fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in SPECIAL])
    return tokenizer


def read_pieces(file: Path, size: int) -> list[Piece]:
    """What the file holds.

    Raises:
        ExportError: as above.
    """
    data, place = file.read_bytes(), 4
    pieces = []
    try:
        for _ in range(size):
            score, length = struct.unpack_from("<fi", data, place)
            (text,) = struct.unpack_from(f"{length}s", data, place + 8)
            pieces.append(Piece(score, text.decode()))
            place += 8 + length
    except (struct.error, UnicodeDecodeError) as error:
        raise ExportError(f"{file} is not a tokenizer of {size} pieces in llama2.c's format: {error}") from error
    if place != len(data):
        raise ExportError(f"{file} holds more than the network's {size} pieces")
    return pieces


def _merges(vocabulary: dict[str, int], scores: list[float]) -> list[tuple[str, str]]:
    """All pairs of pieces that make a piece, best first."""
    found = [
        (-scores[number], number, (name[:cut], name[cut:]))
        for name, number in vocabulary.items()
        if number >= FIRST_PIECE
        for cut in range(1, len(name))
        if name[:cut] in vocabulary and name[cut:] in vocabulary
    ]
    return [pair for _, _, pair in sorted(found)]
