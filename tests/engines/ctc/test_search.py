"""Searches against all alignments that there are, and what language models and hot words change in them."""

from collections import defaultdict
from itertools import groupby, pairwise, product
from pathlib import Path
from time import process_time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from services.engines.ctc.alignment import align
from services.engines.ctc.beam import PrefixSearch
from services.engines.ctc.format import CtcFormat, LanguageModelSettings
from services.engines.ctc.greedy import best_path
from services.engines.ctc.hot_words import HotWords
from services.engines.ctc.lexicon import Lexicon
from services.engines.ctc.ngrams import NGrams
from services.engines.ctc.posteriors import Floats, Posteriors, posteriors
from services.engines.ctc.scoring import Both, EachToken, Language, LanguageScorer
from services.engines.ctc.texts import Width
from services.engines.ctc.vocabulary import Labels, Vocabulary
from tests.engines.ctc.models import write_bigrams

LETTERS = CtcFormat(tokens=("-", "|", "a", "b"), blank=0, delimiter=1, frame_seconds=0.02, languages=("en",))
WORDS = CtcFormat(tokens=("ab", "ba", "-", "<x>"), blank=2, silent=(3,), frame_seconds=0.02, languages=("en",))
ALL = Width(10_000, floor=-np.inf, margin=np.inf)


@pytest.fixture(scope="module")
def bigrams(tmp_path_factory: pytest.TempPathFactory) -> NGrams:
    return NGrams.load(write_bigrams(tmp_path_factory.mktemp("lm")), str.lower)


def heard(form: CtcFormat, frames: int, seed: int, sharpness: float = 2.0) -> Posteriors:
    logits = np.random.default_rng(seed).normal(size=(frames, len(form.tokens))) * sharpness
    return posteriors(logits.astype(np.float32), form)


def every_text(form: CtcFormat, chances: Floats) -> dict[Labels, float]:
    """Natural log probability of each text, by adding up all paths."""
    vocabulary, found = Vocabulary(form), defaultdict[Labels, float](lambda: -np.inf)
    usable = [token for token in range(len(form.tokens)) if token not in form.silent]
    for path in product(usable, repeat=len(chances)):
        tokens = [token for token, _ in groupby(path) if token != form.blank]
        labels = vocabulary.labels(tokens)
        chance = sum(row[token] for row, token in zip(chances, path, strict=True))
        found[labels] = float(np.logaddexp(found[labels], chance))
    return found


@pytest.mark.parametrize("form", [LETTERS, WORDS], ids=["letters", "words"])
@settings(max_examples=25, deadline=None)
@given(frames=st.integers(1, 6), seed=st.integers(0, 10_000))
def test_a_wide_beam_finds_every_text_with_its_exact_probability(form: CtcFormat, frames: int, seed: int) -> None:
    chances = heard(form, frames, seed).chances
    expected = every_text(form, chances)
    found = PrefixSearch(form.blank, form.delimiter, EachToken(len(form.tokens)), ALL).texts(chances)
    assert {text.labels for text in found} == set(expected)
    for text in found:
        assert text.chance == pytest.approx(expected[text.labels], abs=1e-9)
        assert text.score == text.chance
    assert [text.score for text in found] == sorted((text.score for text in found), reverse=True)


def test_a_word_bonus_takes_more_than_a_frame_for_a_word() -> None:
    rows = np.array([[0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0.1, 0.3, 0.6], [0.1, 0.8, 0.1], [0.8, 0.1, 0.1]])
    found = [PrefixSearch(0, None, EachToken(3, bonus), ALL).texts(np.log(rows)) for bonus in (0.0, -3.0, -20.0)]
    assert [texts[0].labels for texts in found] == [(1, 2, 1), (1,), ()]
    for texts in found[1:]:  # by sound they are what they were
        assert {text.labels: text.chance for text in texts} == pytest.approx(
            {text.labels: text.chance for text in found[0]}
        )


@pytest.mark.parametrize(("delimiter", "bonus"), [(1, -1.0), (None, 1.0), (None, float("nan"))])
def test_what_is_no_word_bonus_is_refused(delimiter: int | None, bonus: float) -> None:
    with pytest.raises(ValidationError, match=r"word.bonus"):
        CtcFormat.model_validate(WORDS.model_dump() | {"delimiter": delimiter, "word_bonus": bonus, "silent": ()})


def added(text: str, language: Language, phrases: tuple[str, ...], bonus: float) -> float:
    """What language model and hot words add to a text, told without a search."""
    words, history, total = text.split(), language.model.first(), 0.0
    hot = {word for phrase in phrases for word in phrase.split()}
    for word in words:
        probability, history = language.model.score(history, word)
        known = word in language.lexicon or word in hot
        total += language.settings.weight * probability + language.settings.word_bonus
        total += 0.0 if known else language.settings.unknown
    for phrase in phrases:
        parts = phrase.split()
        found = [place for place in range(len(words)) if words[place : place + len(parts)] == parts]
        total += bonus * len("".join(parts)) * len(found)
    return total + language.settings.weight * language.model.end(history)


@pytest.mark.parametrize("form", [LETTERS, WORDS], ids=["letters", "words"])
@settings(max_examples=25, deadline=None)
@given(frames=st.integers(1, 6), seed=st.integers(0, 10_000), phrases=st.sampled_from([(), ("ab",), ("ba", "a b")]))
def test_scores_are_those_of_whole_texts(
    form: CtcFormat, frames: int, seed: int, phrases: tuple[str, ...], bigrams: NGrams
) -> None:
    vocabulary, chances = Vocabulary(form), heard(form, frames, seed).chances
    language = Language.of(bigrams, LanguageModelSettings(weight=0.7, word_bonus=0.4, unknown=-3), vocabulary)
    phrases = tuple(phrase for phrase in phrases if vocabulary.spelled(phrase))
    spelled = [vocabulary.spelled(phrase) or () for phrase in phrases]
    hot = Lexicon((word for phrase in phrases for word in phrase.split()), vocabulary.written, vocabulary.size)
    scorer = Both(LanguageScorer(language, vocabulary, hot), HotWords(spelled, vocabulary, 1.5))
    for text in PrefixSearch(form.blank, form.delimiter, scorer, ALL).texts(chances):
        expected = text.chance + added(vocabulary.text(text.labels), language, phrases, 1.5)
        assert text.score == pytest.approx(expected, abs=1e-6)


def test_a_phrase_pays_once_for_what_a_shorter_one_earned() -> None:
    vocabulary = Vocabulary(LETTERS)
    hot = HotWords([vocabulary.spelled(words) or () for words in ("a", "a b", "a", "ab a")], vocabulary, 1.0)

    def worth(words: str) -> float:
        place, total = hot.first(), 0.0
        for label in vocabulary.spelled(words) or ():
            total += hot.gains(place)[label]
            place = hot.after(place, label)
        return total + hot.end(place)

    values = {"a": 1, "b": 0, "ab": 0, "a b": 2, "a b a": 3, "ab a": 3, "ab a b": 4, "b a": 1, "ba": 0}
    assert {words: worth(words) for words in values} == values


def test_a_language_model_changes_a_decision(bigrams: NGrams) -> None:
    """By sound "ba" has ln .3025 = -1.20, "ab" ln .2025 = -1.60; the bigrams add ln 10 * -1.7 and ln 10 * -1.4."""
    with np.errstate(divide="ignore"):
        chances = np.log([[0, 0, 0.45, 0.55], [0, 0, 0.55, 0.45]])
    vocabulary = Vocabulary(LETTERS)
    language = Language.of(bigrams, LanguageModelSettings(weight=1, word_bonus=0), vocabulary)
    scorer = LanguageScorer(language, vocabulary, Lexicon((), {}, 4))
    sound, both = (PrefixSearch(0, 1, one, Width(16)).texts(chances)[0] for one in (EachToken(4), scorer))
    assert [vocabulary.text(best.labels) for best in (sound, both)] == ["ba", "ab"]
    assert both.score == pytest.approx(np.log(0.2025) - 1.4 * np.log(10), abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(frames=st.integers(1, 40), seed=st.integers(0, 10_000))
def test_the_best_path_is_the_greedy_one_and_alignment_finds_it(frames: int, seed: int) -> None:
    sound = heard(LETTERS, frames, seed, 4.0)
    text = best_path(sound, 0, Vocabulary(LETTERS))
    said = align(sound.chances, text.labels, 0, 1)
    for label, token in zip(text.labels, said, strict=True):
        assert (sound.path[token.first : token.last + 1] == label).all()
    assert [token.first for token in said] == sorted({token.first for token in said})
    assert all(token.first <= token.last and token.chance <= 0 for token in said)


@settings(max_examples=50, deadline=None)
@given(frames=st.integers(1, 30), seed=st.integers(0, 10_000), beam=st.sampled_from([1, 4, 16]))
def test_no_beam_claims_more_than_there_is(frames: int, seed: int, beam: int) -> None:
    chances = heard(LETTERS, frames, seed).chances
    found = PrefixSearch(0, 1, EachToken(4), Width(beam)).texts(chances)
    assert 1 <= len(found) <= beam
    assert len({text.labels for text in found}) == len(found)
    assert np.logaddexp.reduce([text.chance for text in found]) <= 1e-9
    for text in found:  # every text that is found can be aligned
        said = align(chances, text.labels, 0, 1)
        assert all(one.last < other.first for one, other in pairwise(said))
        assert len(said) == len(text.labels)


@pytest.mark.slow
@pytest.mark.parametrize("with_language", [False, True], ids=["sound", "language model"])
def test_a_beam_of_16_takes_less_than_a_fiftieth_of_the_sound(with_language: bool, tmp_path: Path) -> None:
    """20 s of letters that are mostly sure, at 50 frames a second; CPU time, so that others may be busy."""
    letters = "etaonihsrdlumwcfgypbvkxjqz"
    form = CtcFormat(tokens=("-", "|", *letters), blank=0, delimiter=1, frame_seconds=0.02, languages=("en",))
    vocabulary, random = Vocabulary(form), np.random.default_rng(4)
    logits = random.normal(size=(1000, len(form.tokens)))
    logits[:, 0] += 7
    for frame in random.choice(1000, 280, replace=False):
        logits[frame, random.choice(len(form.tokens), 2)] += 8
    words = sorted({"".join(random.choice(list(letters), random.integers(2, 9))) for _ in range(20_000)})
    unigrams = "\n".join(f"-4\t{word}\t-0.3" for word in words)
    (tmp_path / "lm.arpa").write_text(f"\\data\\\nngram 1={len(words)}\n\n\\1-grams:\n{unigrams}\n\\end\\\n")
    language = Language.of(NGrams.load(tmp_path / "lm.arpa", str), LanguageModelSettings(), vocabulary)
    scorer = LanguageScorer(language, vocabulary, Lexicon((), {}, vocabulary.size))
    chances = posteriors(logits.astype(np.float32), form).chances
    started = process_time()
    PrefixSearch(0, 1, scorer if with_language else EachToken(vocabulary.size), Width(16)).texts(chances)
    assert (process_time() - started) / 20 < 0.02
