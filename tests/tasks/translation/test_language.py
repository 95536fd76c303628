"""Language detection: everyday words, languages nobody asked about, and any text at all."""

import gzip
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.tasks.translation.text import Detected, LanguageDetector
from tests.tasks.translation.hostile import documents

DATA = Path(__file__).parents[4] / "shared" / "data" / "mt"
"""Sentence pairs as ``english<TAB>other``; not ours to ship."""
FOUR = ("en", "de", "fr", "es")


@pytest.fixture(scope="module")
def detector() -> LanguageDetector:
    return LanguageDetector()


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        (
            "en",
            ["Hi", "Yes.", "Hello", "Thank you", "THE QUICK BROWN FOX", "OK", "Good morning!", "Where are you?", "No."],
        ),
        ("de", ["Ja.", "Nein", "Guten Tag", "DAS IST GUT", "Danke!", "Wie geht's?", "Bitte", "Tschüss"]),
        ("fr", ["Oui", "Non !", "Bonjour", "Merci", "Ça va ?", "S'il vous plaît", "Au revoir"]),
        ("es", ["¿Qué?", "Sí", "Hola", "Gracias", "Buenos días", "¡Adiós!", "Por favor"]),
    ],
)
def test_everyday_words(detector: LanguageDetector, language: str, texts: list[str]) -> None:
    assert {text: detector.detect(text, FOUR).language for text in texts} == dict.fromkeys(texts, language)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("it", "Questo è un testo italiano piuttosto chiaro."),
        ("it", "Ciao, come stai oggi?"),
        ("ru", "Привет"),
        ("zh", "你好"),
        ("pt", "Não sei o que você quer dizer com isso."),
        ("nl", "Ik weet niet wat je daarmee bedoelt."),
    ],
)
def test_a_language_nobody_asked_about_is_told(detector: LanguageDetector, language: str, text: str) -> None:
    found = detector.detect(text, FOUR)
    assert found.language == language
    assert found.score >= 0.5
    assert detector.detect(text, [*FOUR, language]).language == language


def test_codes_come_back_as_asked(detector: LanguageDetector) -> None:
    assert detector.detect("Não sei o que você quer dizer.", ["en", "pt-BR"]).language == "pt-BR"
    assert detector.detect("The weather is nice today.", ["EN_us", "de"]).language == "EN_us"


@pytest.mark.parametrize("text", ["", " ", "123 456", "😀", "\x00\x07", "…!?", "\ud800"])
def test_a_text_without_letters_is_in_no_language(detector: LanguageDetector, text: str) -> None:
    assert detector.detect(text, FOUR) == Detected("en", 0.0)


def test_there_is_something_to_choose_from(detector: LanguageDetector) -> None:
    with pytest.raises(ValueError, match="at least one language"):
        detector.detect("Hello", [])
    assert detector.detect("Hello", ["tlh"]) == Detected("tlh", 0.0)


@given(st.one_of(documents, st.text(st.characters(exclude_categories=[]))), st.lists(st.sampled_from(FOUR), min_size=1))
def test_any_text_gets_an_answer(detector: LanguageDetector, text: str, candidates: list[str]) -> None:
    assert 0.0 <= detector.detect(text, candidates).score <= 1.0


def test_a_long_text_costs_no_more_than_its_beginning(detector: LanguageDetector) -> None:
    text = "The weather is nice today. " * 40_000
    start = time.perf_counter()
    assert detector.detect(text, FOUR).language == "en"
    assert time.perf_counter() - start < 0.1  # reading all of it takes a second


def test_threads_share_a_detector(detector: LanguageDetector) -> None:
    texts = ["Das Wetter ist schön heute.", "The weather is nice today.", "Il fait beau aujourd'hui."] * 200
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: detector.detect(text, FOUR).language, texts))
    assert found == ["de", "en", "fr"] * 200


def _examples(collection: str) -> Iterator[tuple[str, str]]:
    for language in FOUR[1:]:
        (file,) = DATA.glob(f"{collection}.en-{language}.dev.tsv*")
        lines = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        for line in lines.decode().splitlines():
            english, other = line.split("\t")[:2]
            yield english, "en"
            yield other, language


@pytest.mark.skipif(
    not DATA.is_dir(), reason="needs the sentence pairs of Tatoeba and FLORES, which are not ours to ship"
)
@pytest.mark.parametrize(("collection", "least"), [("tatoeba", 0.99), ("flores", 0.999)])
def test_sentences_by_accuracy(detector: LanguageDetector, collection: str, least: float) -> None:
    right = [detector.detect(text, FOUR).language == language for text, language in _examples(collection)]
    accuracy = sum(right) / len(right)
    print(f"{collection}: {accuracy:.4f} of {len(right)}")
    assert accuracy >= least
