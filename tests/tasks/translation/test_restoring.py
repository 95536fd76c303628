"""Whatever a translator does to a sentence, what is kept comes out whole."""

import re
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.tasks.translation.text import (
    Keep,
    Literal,
    Sentence,
    cut_to_holders,
    hide,
    in_pieces,
    join_pieces,
    restore,
    split,
)
from tests.tasks.translation.hostile import documents

HOLDERS = tuple(map(chr, range(0xE100, 0xE108)))
HOLDER = re.compile("[\ue000-\uf8ff]")
KEEP = Keep(preserve=("C++",), glossary={"cat": "Katze & Co"})

Translator = Callable[[str], str]

TRANSLATORS: dict[str, Translator] = {
    "copies": str,
    "shouts": str.upper,
    "turns words round": lambda text: " ".join(reversed(text.split())),
    "turns letters round": lambda text: text[::-1],
    "says nothing": lambda _: "",
    "talks": lambda _: "Nothing to see here.",
    "drops holders": lambda text: HOLDER.sub("", text),
    "doubles holders": lambda text: HOLDER.sub(lambda match: match.group() * 2, text),
    "invents holders": lambda text: f"\ue100 {text} \ue107",
    "spaces holders": lambda text: HOLDER.sub(lambda match: f" {match.group()} ", text),
    "glues": lambda text: text.replace(" ", ""),
    "writes tags": lambda text: f"<b>{text}</i>",
    "swaps ends": lambda text: text[-1:] + text[1:-1] + text[:1],
}


def translated(sentence: Sentence, translator: Translator, holders: Sequence[str]) -> str:
    done = restore(translator(hide(sentence, holders)), sentence, holders)
    return join_pieces(sentence, [translator(text) for text in in_pieces(sentence)]) if done is None else done


def one(text: str, *, markup: bool = False, keep: Keep = KEEP) -> Sentence:
    (sentence,) = (part for part in split(text, "en", markup=markup, keep=keep) if isinstance(part, Sentence))
    return sentence


@settings(max_examples=600)
@example("A<Q 0>0", True, "copies", ())
@given(documents, st.booleans(), st.sampled_from(sorted(TRANSLATORS)), st.sampled_from([HOLDERS, ()]))
def test_no_translator_can_spoil_what_is_kept(text: str, markup: bool, name: str, holders: Sequence[str]) -> None:
    for part in split(text, "en", markup=markup, keep=KEEP):
        for sentence in () if isinstance(part, Literal) else cut_to_holders(part, len(HOLDERS)):
            answer = translated(sentence, TRANSLATORS[name], holders)
            for output, count in Counter(kept.output for kept in sentence.kept).items():
                assert answer.count(output) >= count
            tags = [kept.output for kept in sentence.kept if kept.tag]
            if markup:
                # Words are escaped, so what looks like a tag is one: all of the source, in its order, and no other.
                # Found whole and longest first: a kept "0" may also stand inside a kept <a 0>, and the other way round.
                kept = sorted({kept.output for kept in sentence.kept}, key=len, reverse=True)
                found = re.findall("|".join(map(re.escape, kept)) or r"(?!)", answer)
                assert [output for output in found if output in tags] == tags
            invented = set(HOLDER.findall(answer)) - set(HOLDER.findall("".join(kept.output for kept in sentence.kept)))
            assert not invented


@given(documents, st.booleans(), st.sampled_from([HOLDERS, ()]))
def test_a_translator_that_copies_gives_the_source_back(text: str, markup: bool, holders: Sequence[str]) -> None:
    for part in split(text, "en", markup=markup, keep=Keep()):
        if isinstance(part, Sentence) and not markup and part.source.isprintable():
            for sentence in cut_to_holders(part, len(HOLDERS)):
                assert join_pieces(sentence, in_pieces(sentence)) == sentence.source
                assert restore(hide(sentence, holders), sentence, holders) in (sentence.source, None)


@pytest.mark.parametrize("holders", [HOLDERS, ()])
@pytest.mark.parametrize(
    "text",
    [
        "I paid $5.50 (5 %) to {name}.",
        "See https://a.b/c, or mail a@b.de!",
        "5 of 5 and 5",
        "{a}{b} or {a}",
        "The {n}th of \ue100",
        "Hello {name}'s C++",
        "15 and 5",
        "~/a/b is here",
    ],
)
def test_a_copy_is_the_source(text: str, holders: Sequence[str]) -> None:
    sentence = one(text)
    assert restore(hide(sentence, holders), sentence, holders) == text


@pytest.mark.parametrize("holders", [HOLDERS, ()])
@pytest.mark.parametrize(
    "text",
    [
        "A <b>big</b> dog",
        "A <b>big</b>, <i>fat</i> dog",
        "A (<b>big</b>) dog",
        "A <b><i>big</i></b> dog",
        "A <b> big </b> dog",
        "<b>One</b> two <i>three</i>",
        "Un<b>believ</b>able, isn't it",
        "See <img src=x> here",
        "Run <code>a &lt; b</code>, then go",
        "Tom &amp; <b>5</b> men &lt; 6",
        "Say <b>{x}</b>!",
        "Word<sup>2</sup> up",
    ],
)
def test_a_copy_of_html_is_the_source(text: str, holders: Sequence[str]) -> None:
    sentence = one(text, markup=True)
    assert restore(hide(sentence, holders), sentence, holders) == text
    spaced = re.sub(r"\s+", " ", HOLDER.sub(lambda match: f" {match.group()} ", hide(sentence, holders)))
    if "believ" not in text and "{x}" not in text and " big " not in text and "img" not in text and "sup" not in text:
        again = restore(spaced, sentence, holders)
        assert again is not None
        assert re.sub(r" (?=[,)!])|(?<=\() ", "", again) == text


def test_the_model_sees_tags_apart_from_words() -> None:
    assert hide(one("A <b>big</b>, fat {x}!", markup=True), HOLDERS) == "A \ue100 big \ue101, fat \ue102!"
    assert hide(one("Cost: $5"), HOLDERS) == "Cost: $\ue100"
    assert hide(one("Cost: $5 per cat"), ()) == "Cost: $5 per Katze & Co"


def test_tags_follow_their_words() -> None:
    sentence = one("the <b>red</b> car", markup=True)
    assert restore("la voiture \ue100 rouge \ue101", sentence, HOLDERS) == "la voiture <b>rouge</b>"
    assert restore("\ue100 rote \ue101 Autos & mehr", sentence, HOLDERS) == "<b>rote</b> Autos &amp; mehr"
    assert restore("das\ue100 rote \ue101Auto", sentence, HOLDERS) == "das <b>rote</b> Auto"
    assert restore("das \ue100rote\ue101, Auto", sentence, HOLDERS) == "das <b>rote</b>, Auto"


def test_signs_touch_again_and_words_do_not() -> None:
    sentence = one("Pay $5 to {name}, please")
    assert restore("Zahle $ \ue100 an \ue101 , bitte", sentence, HOLDERS) == "Zahle $5 an {name}, bitte"
    assert restore("Zahle \ue100\ue101", sentence, HOLDERS) == "Zahle 5{name}"
    assert restore("Zahle\ue100an\ue101", sentence, HOLDERS) == "Zahle5 an {name}"
    assert restore("向\ue101付\ue100", sentence, HOLDERS) == "向{name}付5"


def test_glossary_terms_come_out_as_given_and_escaped_in_html() -> None:
    assert restore("Die \ue100 schläft", one("The cat sleeps"), HOLDERS) == "Die Katze & Co schläft"
    assert restore("Die \ue100 schläft", one("The cat sleeps", markup=True), HOLDERS) == "Die Katze &amp; Co schläft"
    assert restore("Die Katze & Co schläft", one("The cat sleeps", markup=True), ()) == "Die Katze &amp; Co schläft"


@pytest.mark.parametrize(
    "translation",
    ["", "a", "\ue100", "\ue100 \ue100 \ue101", "\ue100 \ue101 \ue102", "\ue100 \uf8ff", "{a} \ue100 \ue101"],
)
def test_missing_doubled_and_invented_are_refused(translation: str) -> None:
    assert restore(translation, one("Both {a} and {b}"), HOLDERS) is None


@pytest.mark.parametrize("translation", ["", "{a}", "{a} {b} {b}", "{ a } {b}", "{A} {b}", "{a} {b} \ue100"])
def test_without_holders_each_must_be_repeated_as_often(translation: str) -> None:
    assert restore(translation, one("Both {a} and {b}"), ()) is None


def test_without_holders_a_number_is_not_found_inside_another() -> None:
    sentence = one("From 5 to 15 men")
    assert restore("Von 5 bis 15 Mann", sentence, ()) == "Von 5 bis 15 Mann"
    assert restore("Von 15 bis 15 Mann", sentence, ()) is None
    assert restore("Von 55 bis 15 Mann", sentence, ()) is None


def test_words_may_change_places_and_tags_may_not() -> None:
    assert restore("\ue101 von \ue100", one("Use {a} of {b}"), HOLDERS) == "{b} von {a}"
    sentence = one("see <b>this</b> one", markup=True)
    assert restore("\ue101 dies \ue100 hier", sentence, HOLDERS) is None
    assert restore("</b> dies <b> hier", sentence, ()) is None


def test_in_pieces_what_is_kept_never_reaches_the_model() -> None:
    sentence = one("Dear {name}, you owe <b>5</b> &amp; more.", markup=True)
    assert in_pieces(sentence) == ("Dear", ", you owe", "& more.")
    assert join_pieces(sentence, ["Lieber.", ", du \ue100 schuldest", "& mehr."]) == (
        "Lieber {name}, du  schuldest <b>5</b> &amp; mehr."
    )
    with pytest.raises(ValueError, match="2 translations for 3 pieces"):
        join_pieces(sentence, ["a", "b"])


def test_more_kept_than_holders_is_for_the_caller_to_cut() -> None:
    sentence = one(" and ".join(["{x}"] * 20))
    with pytest.raises(ValueError, match="20 kept pieces and 8 holders"):
        hide(sentence, HOLDERS)
    parts = cut_to_holders(sentence, len(HOLDERS))
    assert max(len(part.kept) for part in parts) <= len(HOLDERS)
    answers = [restore(hide(part, HOLDERS), part, HOLDERS) or "" for part in parts]
    assert "".join(answers) == sentence.source
