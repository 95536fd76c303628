"""What a caller asks -> how utterances are recognised, or why they are not. Knows abilities, no sound."""

from collections.abc import Callable
from typing import NamedTuple

from services.core.catalog import ModelSpec
from services.core.errors import Code, ServingError
from services.core.speech import Abilities, Recognition, Recognizer
from services.tasks.asr.options import Options


class Wish(NamedTuple):
    """Something that not every model is able to do.

    Args:
        param: field that asks for it.
        asked: whether it is asked for.
        able: whether a model can do it.
    """

    param: str
    asked: Callable[[Options], bool]
    able: Callable[[Abilities], bool]


WISHES = (
    Wish("translate", lambda options: options.translate, lambda abilities: abilities.translates),
    Wish("prompt", lambda options: bool(options.prompt), lambda abilities: abilities.prompts),
    Wish("temperature", lambda options: bool(options.temperature), lambda abilities: abilities.samples),
    Wish("hot_words", lambda options: bool(options.hot_words), lambda abilities: abilities.hot_words),
    Wish("grammar", lambda options: bool(options.grammar), lambda abilities: abilities.grammars),
    Wish("keywords", lambda options: bool(options.keywords), lambda abilities: abilities.keywords),
    Wish("alternatives", lambda options: options.alternatives > 0, lambda abilities: abilities.hypotheses > 1),
    Wish("word_times", lambda options: options.word_times, lambda abilities: abilities.word_times),
)


def wished(options: Options) -> frozenset[str]:
    """What of all that only some models are able to do is asked for."""
    return frozenset(wish.param for wish in WISHES if wish.asked(options))


def able(abilities: Abilities) -> frozenset[str]:
    """What of it a model is able to do."""
    return frozenset(wish.param for wish in WISHES if wish.able(abilities))


def suits(options: Options, spec: ModelSpec) -> bool:
    """Whether a model, by its catalog entry, knows the language and is able to do all that is asked for."""
    known = not options.language or not spec.languages or options.language in spec.languages
    return known and wished(options) <= set(spec.abilities)


def plan(options: Options, recognizer: Recognizer, model: str) -> Recognition:
    """How this model recognises each utterance of the call.

    Raises:
        ServingError: UNSUPPORTED_MEDIA for a language it does not know, INVALID_ARGUMENT for what it cannot do.
    """
    abilities = recognizer.abilities
    if options.language and options.language not in abilities.languages:
        known = ", ".join(sorted(abilities.languages))
        message = f"{model} does not know the language {options.language!r}; it knows {known}."
        raise ServingError(Code.UNSUPPORTED_MEDIA, message, "language")
    if missing := sorted(wished(options) - able(abilities)):
        can = ", ".join(sorted(able(abilities))) or "none of these options"
        message = f"{model} has no {missing[0]}; leave it out, or choose another model. It has {can}."
        raise ServingError(Code.INVALID_ARGUMENT, message, missing[0])
    recognition = options.recognition
    recognizer.check(recognition)
    return recognition
