"""The text side of translation: what of a document a model translates, and how it comes back unharmed.

Pure functions. They know no models, requests or protocols: the translator in the middle may be anything, and whatever
it returns, everything kept is in the translated document. `split` a document, then for each sentence: `isolate` what
nobody should have to read, `cut` what is too long, `hide` what is kept, translate, `restore`; where that gives None,
translate `in_pieces` and `join_pieces`. `readable` is what of a page tells its language.
"""

from services.tasks.translation.text.cutting import cut, cut_to_holders
from services.tasks.translation.text.document import split
from services.tasks.translation.text.isolating import isolate
from services.tasks.translation.text.keeping import Keep
from services.tasks.translation.text.language import Detected, LanguageDetector
from services.tasks.translation.text.markup import readable
from services.tasks.translation.text.parts import Kept, Literal, Part, Piece, Sentence, Words
from services.tasks.translation.text.piecewise import in_pieces, join_pieces
from services.tasks.translation.text.restoring import hide, restore

__all__ = [
    "Detected",
    "Keep",
    "Kept",
    "LanguageDetector",
    "Literal",
    "Part",
    "Piece",
    "Sentence",
    "Words",
    "cut",
    "cut_to_holders",
    "hide",
    "in_pieces",
    "isolate",
    "join_pieces",
    "readable",
    "restore",
    "split",
]
