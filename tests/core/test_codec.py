"""The codec beside transformers' own tokenizers, on tokenizers of every family it reads."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from services.core.codec import Codec
from tests.checkpoints import CHECKPOINTS, WORDS, Artefacts, sentences

pytestmark = pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses")

SPECIAL = ("<", ">", "[")
"""What transformers takes for special tokens in a text starts so."""

texts = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join),
    st.text(max_size=20),
    st.sampled_from(
        ["", " ", "  ", "\t", "日本語 ☃️ emoji 😀", "naïve  café\u00a0über", "e\u0301", "\ufb01ne", "ǅ", "ABC 123"]
    ),
).filter(lambda text: not any(sign in text for sign in SPECIAL))

relaxed = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module", params=CHECKPOINTS)
def pair(request: pytest.FixtureRequest, artefacts: Artefacts) -> tuple[str, Codec, Any]:
    tokenizer = AutoTokenizer.from_pretrained(artefacts.checkpoint(request.param))
    tokenizer.src_lang = CHECKPOINTS[request.param][1]["en"]
    return request.param, Codec.load(artefacts.export(request.param)), tokenizer


def expected(name: str, tokenizer: Any, text: str) -> tuple[int, ...]:
    opening = {"t5": "translate English to German: ", "marian-multilingual": ">>deu<<"}.get(name, "")
    return tuple(tokenizer(opening + text).input_ids)


@relaxed
@given(several=st.lists(texts, min_size=1, max_size=4))
def test_ids_are_those_of_transformers(pair: tuple[str, Codec, Any], several: list[str]) -> None:
    name, codec, tokenizer = pair
    assert codec.encode(several, "en", "de") == [expected(name, tokenizer, text) for text in several]


@relaxed
@given(data=st.data())
def test_text_is_that_of_transformers(pair: tuple[str, Codec, Any], data: st.DataObject) -> None:
    _, codec, tokenizer = pair
    drawn = data.draw(st.lists(st.integers(0, len(tokenizer) - 1), max_size=12))
    ids = [token for token in drawn if not tokenizer.convert_ids_to_tokens(token).startswith(">>")]  # text to Marian's
    assert codec.decode(ids) == tokenizer.decode(ids, skip_special_tokens=True).strip()


def test_known_words_survive_the_round_trip(pair: tuple[str, Codec, Any]) -> None:
    _, codec, _ = pair
    for text in (text.strip() for text in sentences(20)):
        (ids,) = codec.encode([text], "en", "de")
        assert codec.decode(ids).endswith(text)  # T5's own words come first


def test_the_languages_are_where_the_model_wants_them(pair: tuple[str, Codec, Any]) -> None:
    name, codec, tokenizer = pair
    ids, other = codec.encode(["the"], "en", "de")[0], codec.encode(["the"], "de", "en")[0]
    assert (ids == other) == (name == "marian")  # it has one direction, and needs not be told
    prefix = tuple(tokenizer.convert_ids_to_tokens(codec.prefix("de")))
    by_name = {"m2m100": ("__de__",), "nllb": ("deu_Latn",), "mbart50": ("de_DE",), "mbart": ("de_DE",)}
    assert prefix == by_name.get(name, ())


def test_an_unknown_language_is_a_key_error(pair: tuple[str, Codec, Any]) -> None:
    _, codec, _ = pair
    with pytest.raises(KeyError, match="fr"):
        codec.encode(["the"], "en", "fr")
    with pytest.raises(KeyError, match="fr"):
        codec.prefix("fr")


@pytest.mark.parametrize(
    "typed", ["</s>", "<pad>", "<unk>", "__de__", ">>deu<<the", "deu_Latn", "de_DE", "<extra_id_0>"]
)
def test_special_tokens_that_a_user_types_are_text(pair: tuple[str, Codec, Any], typed: str) -> None:
    _, codec, tokenizer = pair
    around = codec.encode([""], "en", "de")[0]
    found = codec.encode([typed], "en", "de")[0]
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    assert [token for token in found if token in special] == [token for token in around if token in special]


def test_pieces_are_readable_and_say_the_text(pair: tuple[str, Codec, Any]) -> None:
    _, codec, _ = pair
    (ids,) = codec.encode(["the small garden"], "en", "de")
    pieces = codec.pieces(ids)
    assert len(pieces) == len(ids)
    assert "".join(pieces).find(" the small garden") >= 0


def test_ids_that_no_token_has_are_silent(artefacts: Artefacts) -> None:
    codec = Codec.load(artefacts.export("m2m100"))
    assert codec.decode([508, 501]) == ""
    assert codec.pieces([10_000]) == [""]
