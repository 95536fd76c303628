"""The translation benchmark: its load against a real server, its sentences, and its table."""

from pathlib import Path

import pytest

from loadtests.translation.load import measure
from loadtests.translation.shape import SENTENCES, TOKENS, VOCABULARY, candidates, words
from tests.serving import serve

TEXTS = [f"this is sentence {letter}." for letter in "abcdefgh"]


@pytest.mark.parametrize("pattern", ["steady", "bursts"])
@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
async def test_right_answers_are_counted(tmp_path: Path, protocol: str, pattern: str) -> None:
    async with serve(tmp_path) as server:
        port = server.settings.rest_port if protocol == "REST" else server.settings.grpc_port
        assert await measure(TEXTS, protocol, pattern, port, 0.2) > len(TEXTS)


@pytest.mark.parametrize("protocol", ["REST", "gRPC"])
async def test_a_wrong_answer_ends_it(tmp_path: Path, protocol: str) -> None:
    async with serve(tmp_path) as server:
        port = server.settings.rest_port if protocol == "REST" else server.settings.grpc_port
        with pytest.raises(ValueError, match=r"wrong answer|no answer"):
            await measure([" "], protocol, "steady", port, 0.2)


def test_sentences_are_of_known_words() -> None:
    known = set(words())
    assert len(known) == VOCABULARY - 4
    for sentence in candidates(SENTENCES):
        assert len(sentence.split()) == TOKENS - 1
        assert set(sentence[:-1].split()) <= known
