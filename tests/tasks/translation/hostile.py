"""Texts that cost careless searches their square, and strategies for documents of all sorts."""

import time
from collections.abc import Callable
from itertools import product

from hypothesis import strategies as st

SIZE = 20_000

SEEDS = [
    "{",
    "{{",
    "{{a",
    "{%",
    "${",
    "%",
    "%(a",
    "1.",
    "1,1",
    "1 000 ",
    "1.1a",
    "1–",
    "1:",
    "1'000",
    "1\u202f000",
    "-1",
    "http://",
    "www.",
    "http://(",
    "http://.",
    "a@",
    "a@a.",
    "a.",
    "a.a-",
    "@",
    "#a",
    "/",
    "/.",
    "./",
    "~/a",
    "C:\\",
    "`",
    "`a",
    "<",
    "</",
    "<a",
    "<a ",
    '<a "',
    "<a '",
    "<a b='\"",
    "<!--",
    "<!",
    "<!a",
    "<?",
    "<a>",
    "</a>",
    "<b><i>",
    "<p>",
    "<script>",
    "<style>",
    "<textarea></textareas>",
    "<code>",
    "</code>",
    "<1>",
    "&",
    "&a",
    "&#",
    "&#9",
    "&#x",
    "&amp;",
    "<p translate=no",
    '<p class="',
    "<p class='notranslate'>",
    "\ue000",
    "\ue000a",
    "\x00",
    "\x00a",
    "a\u0301",
    "\u0301",
    "\u200d",
    "😀",
    "😀a",
    "。",
    "你好。",
    "你",
    "a. ",
    "A. ",
    "Mr. ",
    ".",
    "!",
    '"',
    "(",
    "| ",
    "|a",
    "- ",
    "1. ",
    "> ",
    ">",
    "# ",
    "[ ] ",
    "\t",
    "\n",
    " ",
    "a ",
    "a",
    "٣",
    "'1",
    "a;",
    "C++ ",
    "New ",
    "New York ",
]

snippets = st.sampled_from(
    [
        *SEEDS,
        "Hello, world!",
        "{name}",
        "3.5",
        "https://a.b/c",
        "C++",
        "New York",
        "</b>",
        "<b>",
        "<i>",
        "</i>",
        "<br>",
        "</p>",
        "<img src=x>",
        "<code>x</code>",
        "<span translate='no'>y</span>",
        "Is it? Yes.",
        "ÄÖ",
        "\r\n",
    ]
)
documents = st.one_of(st.text(max_size=60), st.lists(snippets, max_size=25).map("".join))


def slow(run: Callable[[str, bool], object]) -> dict[tuple[str, bool], float]:
    """Seconds ``run`` takes for a text and whether that is HTML: those that a search quadratic in its size takes.

    The texts end in a letter, so that a search which is content with what is repeated may fail at their ends.
    """
    taken = {}
    for seed, markup in product(SEEDS, [False, True]):
        start = time.perf_counter()
        run((seed * SIZE)[:SIZE] + "1a", markup)
        taken[seed, markup] = time.perf_counter() - start
    return {case: seconds for case, seconds in taken.items() if seconds > 1.5}
