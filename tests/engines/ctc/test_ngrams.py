"""ARPA files: probabilities worked out by hand, and files that are none."""

import gzip
from pathlib import Path

import pytest

from services.engines.ctc import arpa
from services.engines.ctc.arpa import ArpaError
from services.engines.ctc.lexicon import Lexicon
from services.engines.ctc.ngrams import NGrams
from tests.engines.ctc.models import BIGRAMS, write_bigrams

LN_10 = 2.302585

TRIGRAMS = r"""
\data\
ngram 1=3
ngram 2=2
ngram 3=1

\1-grams:
-0.5 a -0.1
-0.7 b -0.2
-0.9 c

\2-grams:
-0.2 a b -0.3
-0.4 b c

\3-grams:
-0.05 a b c
\end\
"""


def sentence(model: NGrams, words: str) -> float:
    """log10 probability, end included."""
    history, total = model.first(), 0.0
    for word in words.split():
        probability, history = model.score(history, word)
        total += probability
    return (total + model.end(history)) / LN_10


@pytest.mark.parametrize(
    ("words", "log10"),
    [
        ("ab ba", -0.3 - 0.1 - 0.4),
        ("ba ab", (-0.5 - 0.8) + (-0.1 - 0.6) + (-0.2 - 0.9)),
        ("zz ab", (-0.5 - 1.0) + -0.6 + (-0.2 - 0.9)),
        ("", -0.5 - 0.9),
    ],
)
def test_sentences_have_the_probability_of_their_bigrams(tmp_path: Path, words: str, log10: float) -> None:
    model = NGrams.load(write_bigrams(tmp_path), str.lower)
    assert sentence(model, words) == pytest.approx(log10, abs=1e-5)
    perplexity = 10 ** (-sentence(model, "ab ba") / 3)
    assert perplexity == pytest.approx(1.8478, abs=1e-3)


def test_trigrams_without_sentences_and_without_unknown_words(tmp_path: Path) -> None:
    (tmp_path / "lm.arpa").write_text(TRIGRAMS)
    model = NGrams.load(tmp_path / "lm.arpa", str)
    assert sentence(model, "a b c") == pytest.approx(-0.5 - 0.2 - 0.05, abs=1e-5)
    assert sentence(model, "a b a") == pytest.approx(-0.5 - 0.2 + (-0.3 - 0.2 - 0.5), abs=1e-5)
    assert sentence(model, "x b c") == pytest.approx(-0.9 - 0.7 - 0.4, abs=1e-5)  # as its rarest word
    assert sorted(model.words) == ["a", "b", "c"]


BROKEN = {
    "no head": BIGRAMS.replace("ngram", "n-gram"),
    "no text": "",
    "cut": BIGRAMS[: BIGRAMS.index("-0.1	AB")],
    "a count too few": BIGRAMS.replace("ngram 2=3", "ngram 2=2"),
    "a count too many": BIGRAMS.replace("ngram 1=5", "ngram 1=6"),
    "a count that is none": BIGRAMS.replace("ngram 2=3", "ngram 2=three"),
    "a positive logarithm": BIGRAMS.replace("-0.3	<s>", "0.3	<s>"),
    "no number": BIGRAMS.replace("-0.3	<s>", "nan	<s>"),
    "a word that is not there": BIGRAMS.replace("-0.1	AB ba", "-0.1	AB no"),
    "a word twice": BIGRAMS.replace("-0.8	ba", "-0.8	ab"),
    "an n-gram twice": BIGRAMS.replace("-0.1	AB ba", "-0.1	<s> AB"),
    "too few words": BIGRAMS.replace("-0.1	AB ba", "-0.1	AB"),
    "a long line": BIGRAMS.replace("AB ba", "AB " + "b" * 5000),
    "a trigram of nothing": TRIGRAMS.replace("a b c", "b a c"),
    "too long": TRIGRAMS.replace("ngram 3=1", "\n".join(f"ngram {n}=1" for n in range(3, 9))),
    "too many": BIGRAMS.replace("ngram 2=3", "ngram 2=99999999"),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN.keys())
def test_a_damaged_file_is_refused_with_a_reason(tmp_path: Path, text: str) -> None:
    with pytest.raises(ArpaError, match=r"language model: .{20}"):
        NGrams.load(write_bigrams(tmp_path, text), str.lower)


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plain.gz").write_text(BIGRAMS)
    (tmp_path / "cut.gz").write_bytes(gzip.compress(BIGRAMS.encode())[:-20])
    (tmp_path / "latin.arpa").write_bytes(BIGRAMS.replace("AB", "é").encode("latin-1"))
    for name in ("plain.gz", "cut.gz", "latin.arpa", "missing.arpa"):
        with pytest.raises(ArpaError, match=f"{name} cannot be read as a language model"):
            NGrams.load(tmp_path / name, str.lower)


def test_a_file_is_read_no_further_than_its_head_tells(tmp_path: Path) -> None:
    more = "\n".join(f"-0.5	word{number}" for number in range(1000))
    lines = iter(BIGRAMS.replace("-0.6	AB", f"{more}\n-0.6	AB").splitlines(keepends=True))
    read = write_bigrams(tmp_path, "".join(lines))
    with arpa.opened(read) as stream:
        several = arpa.counts(stream)
        with pytest.raises(ArpaError, match="tells of 5 1-grams"):
            list(arpa.section(stream, 1, several[0]))
        assert len(stream.readlines()) > 900


def test_a_lexicon_knows_beginnings() -> None:
    lexicon = Lexicon(["car", "cat", "dog"], {0: "c", 1: "a", 2: "t", 3: "o"}, 5)
    assert [lexicon.begins(letters) for letters in ("", "c", "ca", "cat", "cats", "d", "e")] == [True] * 4 + [
        False,
        True,
        False,
    ]
    assert lexicon.following("").tolist() == [True, False, False, False, False]
    assert lexicon.following("ca").tolist() == [False, False, True, False, False]
    assert not lexicon.following("x").any()
    assert "cat" in lexicon
    assert "ca" not in lexicon
