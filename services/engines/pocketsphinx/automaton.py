"""Rules -> a finite-state automaton of words, within bounds.

The C library takes rules too, but hangs or uses up the memory on many short texts: here what a grammar costs is
counted while it is built, and what costs too much is refused. The library then sees states, numbers and words only.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush

from services.engines.pocketsphinx.rules import Choice, Node, Reference, Repeat, Rules, Sequence, Token, refused

SIZE = 1_000
"""Most words, groups and references, each counted as often as rules that hold it are referred to."""
DEPTH = 60
"""Most groups and rules inside each other."""
LEAPS = 2_000
"""Most pairs of states between which nothing need be said: the library tries them after each word."""
_LEAST = 1e-30
"""A product of small weights must not become nothing."""


@dataclass(frozen=True, slots=True)
class Arc:
    """From a state to another by a word, or by none, with a probability in (0, 1]."""

    start: int
    end: int
    word: str
    probability: float


@dataclass(frozen=True, slots=True)
class Automaton:
    """What can be said: the words on any way from state 0 to state 1.

    Args:
        states: how many there are.
        arcs: in the order of the rules; those without a word are closed: a way of several has an arc of its own.
    """

    states: int
    arcs: tuple[Arc, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """Each once, in the order of the rules."""
        return tuple(dict.fromkeys(arc.word for arc in self.arcs if arc.word))


def automaton(rules: Rules) -> Automaton:
    """An automaton that says what the public rules say, any of them with the same probability.

    Raises:
        ServingError: INVALID_ARGUMENT; a rule is not defined or refers to itself, nothing can be said, or the grammar
            is too large.
    """
    builder = _Builder(rules)
    options = tuple(Reference(name) for name in rules.public)
    builder.build(Choice(options, (1 / len(options),) * len(options)), 0, 1, ())
    if not builder.words:
        raise refused("it has no words")
    return Automaton(builder.states, (*builder.words, *_closed(builder.words, builder.leaps)))


def grammar_file(graph: Automaton) -> str:
    """As the library reads it; the words are those of its dictionary, so none is a line or a number of it."""
    arcs = (f"TRANSITION {arc.start} {arc.end} {arc.probability:.6e} {arc.word}" for arc in graph.arcs)
    lines = ("FSG_BEGIN request", f"NUM_STATES {graph.states}", "START_STATE 0", "FINAL_STATE 1", *arcs, "FSG_END")
    return "\n".join(lines) + "\n"


class _Builder:
    """Thompson's construction (1968): a node between two states, no arc of it into the first or out of the last."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._size = 0
        self.states = 2
        self.words: list[Arc] = []
        self.leaps: list[Arc] = []

    def build(self, node: Node, start: int, end: int, inside: tuple[str, ...], depth: int = 0) -> None:
        """Add a node of a rule; ``inside`` are the rules that it is in."""
        self._count(1)
        if depth > DEPTH:
            raise refused(f"rules and groups may be at most {DEPTH} deep")

        def inner(part: Node, first: int, last: int) -> None:
            self.build(part, first, last, inside, depth + 1)

        match node:
            case Token():
                self._token(node, start, end)
            case Reference():
                self._reference(node, start, end, inside, depth)
            case Sequence():
                self._sequence(node, start, end, inner)
            case Choice():
                self._choice(node, start, end, inner)
            case Repeat():
                self._repeat(node, start, end, inner)

    def _token(self, token: Token, start: int, end: int, probability: float = 1.0) -> None:
        words = token.text.lower().split()
        if not words:
            raise refused("quotation marks with nothing between them")
        self._count(len(words) - 1)
        for number, word in enumerate(words, 1):
            after = end if number == len(words) else self._state()
            self.words.append(Arc(start, after, word, probability))
            start, probability = after, 1.0

    def _reference(self, node: Reference, start: int, end: int, inside: tuple[str, ...], depth: int) -> None:
        body = self._rules.bodies.get(node.rule)
        if body is None:
            raise refused(f"rule <{node.rule}> is not defined")
        if node.rule in inside:
            raise refused(f"rule <{node.rule}> refers to itself; write what comes again with * or +")
        self.build(body, start, end, (*inside, node.rule), depth + 1)

    def _sequence(self, node: Sequence, start: int, end: int, inner: "_Inner") -> None:
        if not node.parts:
            self._leap(start, end)
        for number, part in enumerate(node.parts, 1):
            after = end if number == len(node.parts) else self._state()
            inner(part, start, after)
            start = after

    def _choice(self, node: Choice, start: int, end: int, inner: "_Inner") -> None:
        for option, probability in zip(node.options, node.probabilities, strict=True):
            if isinstance(option, Token):  # most are: it needs no leap, which would cost more than a word
                self._count(1)
                self._token(option, start, end, probability)
                continue
            first = self._state()
            self._leap(start, first, probability)
            inner(option, first, end)

    def _repeat(self, node: Repeat, start: int, end: int, inner: "_Inner") -> None:
        """Half of the probability goes on, half goes again, as the library's own reading of rules has it."""
        first, last = self._state(), self._state()
        self._leap(start, first, 0.5 if node.optional else 1.0)
        inner(node.part, first, last)
        self._leap(last, end, 0.5 if node.again else 1.0)
        if node.optional:
            self._leap(start, end, 0.5)
        if node.again:
            self._leap(last, first, 0.5)

    def _count(self, nodes: int) -> None:
        self._size += nodes
        if self._size > SIZE:
            raise refused(f"it is too large; at most {SIZE} words and groups, with its references written out")

    def _leap(self, start: int, end: int, probability: float = 1.0) -> None:
        self.leaps.append(Arc(start, end, "", probability))

    def _state(self) -> int:
        self.states += 1
        return self.states - 1


_Inner = Callable[[Node, int, int], None]


def _closed(words: list[Arc], leaps: list[Arc]) -> list[Arc]:
    """Ways of leaps between words as one leap each, with the best probability that it can have."""
    after: dict[int, list[Arc]] = defaultdict(list)
    for leap in leaps:
        after[leap.start].append(leap)
    useful = {1, *(arc.start for arc in words)}
    closed: list[Arc] = []
    for state in sorted({0, *(arc.end for arc in words)}):
        reached = _reached(state, after)
        closed += [Arc(state, end, "", reached[end]) for end in reached if end in useful and end != state]
        if len(closed) > LEAPS:
            raise refused("too much of it is optional in a row; write fewer * and [ ] side by side")
    return closed


def _reached(state: int, after: Mapping[int, list[Arc]]) -> dict[int, float]:
    """States that leaps lead to, with the best probability; Dijkstra's algorithm, so each is gone on from once."""
    reached: dict[int, float] = {}
    waiting = [(-1.0, state)]
    while waiting:
        negative, here = heappop(waiting)
        if here in reached:
            continue
        reached[here] = -negative
        for leap in after.get(here, ()):
            heappush(waiting, (min(-_LEAST, negative * leap.probability), leap.end))
    return reached
