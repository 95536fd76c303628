"""JSGF -> automata: what can be said, and what is refused before the library could hang on it."""

import time
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.errors import Code, ServingError
from services.engines.pocketsphinx.automaton import LEAPS, SIZE, Automaton, automaton, grammar_file
from services.engines.pocketsphinx.jsgf import LONGEST, parse
from services.engines.pocketsphinx.rules import NOTHING, Choice, Node, Repeat, Rules, Sequence, Token

HEADER = "#JSGF V1.0 UTF-8 en; grammar test;\n"
NESTED = "".join(f"<r{n}> = <r{n + 1}> <r{n + 1}>;" for n in range(20))


def says(graph: Automaton, sentence: str) -> bool:
    """Whether it can be said: at most one leap before each word and one at the end, for leaps are closed."""

    def leapt(states: set[int]) -> set[int]:
        return states | {arc.end for arc in graph.arcs if not arc.word and arc.start in states}

    states = {0}
    for word in sentence.split():
        before = leapt(states)
        states = {arc.end for arc in graph.arcs if arc.word == word and arc.start in before}
    return 1 in leapt(states)


@pytest.mark.parametrize(
    ("grammar", "said", "unsaid"),
    [
        ("public <a> = go;", ["go"], ["", "stop", "go go"]),
        (HEADER + "public <a> = go | stop;", ["go", "stop"], ["go stop"]),
        ("public <a> = turn [the] (light | lights) (on | off);", ["turn light on", "turn the lights off"], ["turn on"]),
        ("public <a> = go+;", ["go", "go go go"], ["", "stop"]),
        ("public <a> = stop go*;", ["stop", "stop go go"], ["go"]),
        ("public <a> = (go | stop)+ now;", ["go stop go now"], ["now"]),
        ("public <a> = <b> <b>; <b> = go | stop;", ["go stop", "stop stop"], ["go"]),
        ("public <a> = go; public <b> = stop;", ["go", "stop"], ["go stop"]),
        ("public <a> = Go | STOP;", ["go", "stop"], []),
        ('public <a> = "turn  on" | "stop";', ["turn on", "stop"], ["turn"]),
        ("public <a> = /0.9/ go | /0.1/ stop | /0/ now;", ["go", "stop"], ["now"]),
        ("public <a> = go {tag} | stop {a \\} b}; // why\n/* now; */", ["go", "stop"], ["tag", "now"]),
        ("public <a> = go <NULL> | <VOID> stop;", ["go"], ["stop"]),
        ("public <a> = ((go*)* | [stop])+;", ["", "go go", "stop go"], ["now"]),
        ("public <a> = public | grammar | import;", ["public", "grammar"], []),
        ("public <my-rule.2> = don't;", ["don't"], ["don"]),
    ],
)
def test_what_can_be_said(grammar: str, said: list[str], unsaid: list[str]) -> None:
    graph = automaton(parse(grammar))
    assert [sentence for sentence in said if not says(graph, sentence)] == []
    assert [sentence for sentence in unsaid if says(graph, sentence)] == []


@pytest.mark.parametrize(
    ("grammar", "reason"),
    [
        ("", "no rule is public"),
        ("<a> = go;", "no rule is public"),
        ("hello (", "expected a rule"),
        ("public <a> = go", "expected ;, not 'the end'"),
        ("public <a> = (go;", r"expected \)"),
        ("public <a> = ;", "expected a word"),
        ("public <a> = go || stop;", "expected a word"),
        ("public <a> = * go;", "expected a word"),
        ("public <a> = go" + "*" * 100 + ";", "60 deep"),
        ("public <a> = go @ \\;", "is not JSGF"),
        ('public <a> = "go;', "is not JSGF"),
        ('public <a> = "";', "nothing between"),
        ("public <a> = go; <a> = stop;", "defined twice"),
        ("public <a> = go <b>;", "<b> is not defined"),
        ("public <a> = <a> go | go;", "<a> refers to itself"),
        ("public <a> = go <b>; <b> = stop <a> | now;", "<a> refers to itself"),
        ("public <a> = <NULL>;", "no words"),
        ("public <a> = <VOID>;", "no words"),
        ("public <a> = /0/ go | /0/ stop;", "must not all be 0"),
        ("public <a> = /-5/ go | /5e300/ stop;", "is not JSGF"),
        (HEADER + "import <etc.passwd.*>; public <a> = go;", "imports are not taken"),
        ("public <a> = " + "(" * 2000 + "go" + ")" * 2000 + ";", "brackets may be at most 20 deep"),
        ("public <a> = " + "go " * 2000 + ";", f"at most {LONGEST} are taken"),
        ("public <a> = (" + "a|" * 1500 + "a)+;", f"at most {SIZE}"),
        ("public <a> = <r0>;" + NESTED + "<r20> = go;", f"at most {SIZE}"),
        ("public <a> = <r0>;" + NESTED + "<r20> = <NULL>;", f"at most {SIZE}"),
        ("public <a> = <r0> go;" + "".join(f"<r{n}> = <r{n + 1}>;" for n in range(200)) + "<r200> = go;", "60 deep"),
        ("public <a> = " + "[a] " * 150 + ";", "optional in a row"),
        ("public <a> = (" + "[a]|" * 150 + "b)+;", "optional in a row"),
    ],
)
def test_what_is_refused(grammar: str, reason: str) -> None:
    started = time.monotonic()
    with pytest.raises(ServingError, match=reason) as told:
        automaton(parse(grammar))
    assert (told.value.code, told.value.param) == (Code.INVALID_ARGUMENT, "grammar")
    assert time.monotonic() - started < 1


def test_probabilities_are_those_of_the_alternatives() -> None:
    graph = automaton(parse("public <a> = /3/ go | /1/ stop;"))
    assert [(arc.word, arc.probability) for arc in graph.arcs if arc.word] == [("go", 0.75), ("stop", 0.25)]
    assert grammar_file(graph).splitlines()[4] == "TRANSITION 2 1 7.500000e-01 go"


words = st.sampled_from("abc").map(Token)


def _larger(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    several = st.lists(nodes, min_size=2, max_size=3).map(tuple)
    return st.one_of(
        several.map(Sequence),
        several.map(lambda options: Choice(options, (1 / len(options),) * len(options))),
        nodes.filter(lambda node: not isinstance(node, Repeat)).flatmap(
            lambda node: st.sampled_from(
                [Repeat(node, o, again=a) for o, a in ((True, False), (True, True), (False, True))]
            )
        ),
    )


trees: st.SearchStrategy[Node] = st.recursive(words | st.just(NOTHING), _larger, max_leaves=8)


def written(node: Node) -> str:
    match node:
        case Token(text):
            return text
        case Sequence(()):
            return "<NULL>"
        case Sequence(parts):
            return "(" + " ".join(map(written, parts)) + ")"
        case Choice(options):
            return "(" + " | ".join(map(written, options)) + ")"
        case Repeat(part, optional=True, again=False):
            return f"[{written(part)}]"
        case Repeat(part, optional):
            return f"({written(part)}){'*' if optional else '+'}"
    raise AssertionError(node)


def meant(node: Node, longest: int = 3) -> set[tuple[str, ...]]:
    """All that a tree says in so many words, told by what the notation means."""
    match node:
        case Token(text):
            return {(text,)}
        case Sequence(parts):
            found: set[tuple[str, ...]] = {()}
            for part in parts:
                found = {one + other for one, other in product(found, meant(part)) if len(one + other) <= longest}
            return found
        case Choice(options):
            return set[tuple[str, ...]]().union(*map(meant, options))
        case Repeat(part, optional, again):
            once = meant(part)
            found = once | ({()} if optional else set())
            for _ in range(longest if again else 0):
                found |= {one + other for one, other in product(found, once) if len(one + other) <= longest}
            return found
    raise AssertionError(node)


@settings(max_examples=150)
@given(tree=trees)
def test_an_automaton_says_what_its_grammar_means(tree: Node) -> None:
    text = f"public <r> = {written(tree)};"
    if not set("abc") & set(written(tree)):
        with pytest.raises(ServingError, match="no words"):
            automaton(parse(text))
        return
    graph = automaton(parse(text))
    said = {s for length in range(4) for s in product("abc", repeat=length) if says(graph, " ".join(s))}
    assert said == meant(tree)
    assert all(0 < arc.probability <= 1 for arc in graph.arcs)


lexemes = st.sampled_from(
    [*"()[]|*+;=", "public", "<a>", "<b>", "go", "stop", "/2/", "<NULL>", '"go on"', "{x}", "=", ";"]
)


@settings(max_examples=300)
@given(text=st.one_of(st.text(max_size=60), st.lists(lexemes, max_size=60).map(" ".join)))
def test_any_text_is_a_grammar_or_is_refused(text: str) -> None:
    for grammar in (text, f"public <a> = {text};"):
        try:
            graph = automaton(parse(grammar))
        except ServingError as error:
            assert error.param == "grammar"
        else:
            assert graph.words
            assert len(graph.arcs) <= SIZE + LEAPS


def test_rules_that_nothing_refers_to_cost_nothing() -> None:
    assert automaton(Rules({"a": Token("go"), "b": Choice((), ())}, ("a",))).words == ("go",)
