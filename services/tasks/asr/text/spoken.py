"""Written text as it is spoken: words in lower case, numbers too. Also what word error rates are computed on."""

import re
import unicodedata

from num2words import num2words

_GROUPED = re.compile(r"(?<![\d.])\d{1,3}(?:,\d{3})+(?![\d])")
_ORDINAL = re.compile(r"\b(\d{1,9})(?:st|nd|rd|th)\b")
_YEAR = re.compile(r"(?<![\d.,$£€])(1[1-9]\d\d|20[1-9]\d)(?![\d.,]?\d)")
_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,9})?")
_LONG = re.compile(r"\d{16,}")
_MONEY = re.compile(r"([$£€])(\d[\d,]*(?:\.\d+)?)")
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'"})
_NOT_WORD = re.compile(r"[^\w']+|_")
_LOOSE_APOSTROPHE = re.compile(r"(?<!\w)'+|'+(?!\w)")

_SIGNS = {"en": {"%": " percent ", "&": " and ", "$": " dollars ", "£": " pounds ", "€": " euros "}}

_TITLES = {
    "mr": "mister",
    "mrs": "missus",
    "dr": "doctor",
    "st": "saint",
    "messrs": "messieurs",
    "jr": "junior",
    "esq": "esquire",
    "col": "colonel",
    "gen": "general",
    "capt": "captain",
    "lt": "lieutenant",
    "sgt": "sergeant",
    "maj": "major",
    "rev": "reverend",
    "hon": "honorable",
    "co": "company",
    "ltd": "limited",
}
_TITLE = re.compile(rf"\b({'|'.join(_TITLES)})\.")
_BARE_TITLE = re.compile(r"\b(mr|mrs|dr)\b")


def spoken(text: str, language: str = "en") -> str:
    """``Mr. Smith paid $25 in 1963.`` -> ``mister smith paid twenty five dollars in nineteen sixty three``."""
    text = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).lower()
    if language == "en":
        text = _english(text)
    for sign, words in _SIGNS.get(language, {}).items():
        text = text.replace(sign, words)
    text = _GROUPED.sub(lambda found: found[0].replace(",", ""), text)
    text = _LONG.sub(lambda found: " ".join(found[0]), text)
    text = _NUMBER.sub(lambda found: f" {_words(found[0], language)} ", text)
    return " ".join(_LOOSE_APOSTROPHE.sub(" ", _NOT_WORD.sub(" ", text)).split())


def _english(text: str) -> str:
    text = _TITLE.sub(lambda found: _TITLES[found[1]], text)
    text = _BARE_TITLE.sub(lambda found: _TITLES[found[1]], text)
    text = _MONEY.sub(lambda found: f"{found[2]} {found[1]}", text)
    text = _ORDINAL.sub(lambda found: str(num2words(int(found[1]), to="ordinal")), text)
    return _YEAR.sub(lambda found: str(num2words(int(found[1]), to="year")), text)


def _words(number: str, language: str) -> str:
    try:
        return str(num2words(float(number) if "." in number else int(number), lang=language)).lower()
    except NotImplementedError:  # a language it does not know: figures stay
        return number
