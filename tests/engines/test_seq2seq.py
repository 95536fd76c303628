"""Every encoder-decoder engine on small random models: the same answers, alone, together and at the same time."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM

from services.core.codec import Codec
from services.core.engine import Decoding, EngineOptions, Hypothesis, Seq2Seq, Seq2SeqInput
from services.engines import engine_class
from services.engines.decoder import DecoderSettings
from tests.checkpoints import CHECKPOINTS, TEXTS, Artefacts, sentences

pytestmark = pytest.mark.filterwarnings("default")

ENGINES = ("ctranslate2", "onnx-seq2seq", "torch-seq2seq")
SLOW = set(CHECKPOINTS) - {"marian", "t5"}
"""Not exported to ONNX here, which takes seconds for each; the others are built no other way."""

RUN = [run for run in product(CHECKPOINTS, ENGINES) if run[1] != "onnx-seq2seq" or run[0] not in SLOW]
BUILT = [(*run, precision) for run in RUN for precision in ("fp32", "int8")[: 1 + (run[1] != "torch-seq2seq")]]
SOURCES = [*TEXTS, *sentences(8, seed=99)]
LONGEST = 12


def load(artefacts: Artefacts, name: str, engine: str, precision: str = "fp32", lanes: int = 1) -> Seq2Seq:
    loaded: Seq2Seq = engine_class(engine).load(artefacts.export(name, engine, precision), EngineOptions(lanes=lanes))
    return loaded


def inputs(artefacts: Artefacts, name: str, engine: str, precision: str = "fp32") -> list[Seq2SeqInput]:
    codec = Codec.load(artefacts.export(name, engine, precision))
    return [Seq2SeqInput(ids, codec.prefix("de"), LONGEST) for ids in codec.encode(SOURCES, "en", "de")]


@pytest.mark.parametrize(("name", "engine", "precision"), BUILT)
def test_greedy_answers_do_not_depend_on_the_batch(
    artefacts: Artefacts, name: str, engine: str, precision: str
) -> None:
    model, batch = load(artefacts, name, engine, precision), inputs(artefacts, name, engine, precision)
    together = model.run(batch, Decoding())
    alone = [model.run([item], Decoding())[0] for item in batch]
    assert [found[0].tokens for found in together] == [found[0].tokens for found in alone]
    np.testing.assert_allclose([f[0].score for f in together], [f[0].score for f in alone], atol=1e-4)
    assert len({found[0].tokens for found in together}) > len(batch) // 2  # not the same answer to everything
    assert len({found[0].finished for found in together} | {True}) == 2  # some are cut


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_all_engines_give_the_same_greedy_answers(artefacts: Artefacts, name: str) -> None:
    found = {
        engine: [
            several[0]
            for several in load(artefacts, name, engine).run(inputs(artefacts, name, engine), Decoding(attention=True))
        ]
        for name_, engine in RUN
        if name_ == name
    }
    for expected, *others in zip(found.pop("torch-seq2seq"), *found.values(), strict=True):
        for other in others:
            assert (other.tokens, other.finished) == (expected.tokens, expected.finished)
            # CTranslate2 counts a little for padding when it scores what was cut.
            assert other.score == pytest.approx(expected.score, abs=1e-4 if other.finished else 0.01)
            np.testing.assert_allclose(other.attention, expected.attention, atol=1e-4)


@pytest.mark.parametrize(("name", "engine", "precision"), BUILT)
def test_beams_give_distinct_hypotheses_best_first(
    artefacts: Artefacts, name: str, engine: str, precision: str
) -> None:
    model, batch = load(artefacts, name, engine, precision), inputs(artefacts, name, engine, precision)
    for several in model.run(batch, Decoding(beam_size=4, hypotheses=3)):
        scores = [hypothesis.score for hypothesis in several]
        assert scores == sorted(scores, reverse=True)
        assert max(scores) <= 0
        assert 1 <= len({hypothesis.tokens for hypothesis in several}) == len(several) <= 3


def worth(artefacts: Artefacts, name: str, item: Seq2SeqInput, found: Hypothesis) -> float:
    """What transformers makes of a hypothesis."""
    decoder = DecoderSettings.load(artefacts.export(name))
    model = AutoModelForSeq2SeqLM.from_pretrained(artefacts.checkpoint(name)).eval()
    opening = [*([] if decoder.start is None else [decoder.start]), *item.prefix]
    tokens = [*found.tokens, *([decoder.end] if found.finished else [])]
    with torch.no_grad():
        given = torch.tensor([opening + tokens[:-1]])
        logits = model(input_ids=torch.tensor([item.source]), decoder_input_ids=given).logits[0, len(opening) - 1 :]
    logits[:, list(decoder.never)] = -torch.inf
    return float(logits.log_softmax(-1)[range(len(tokens)), tokens].mean())


@pytest.mark.parametrize(("name", "engine"), [run for run in RUN if run[0] in ("m2m100", "mbart50", "t5")])
def test_scores_of_beams_are_the_mean_over_tokens_and_end(artefacts: Artefacts, name: str, engine: str) -> None:
    model, batch = load(artefacts, name, engine), inputs(artefacts, name, engine)
    found = model.run(batch, Decoding(beam_size=3, hypotheses=3))
    pairs = [(item, one) for item, several in zip(batch, found, strict=True) for one in several if one.finished]
    assert pairs
    for item, one in pairs[:6]:
        assert one.score == pytest.approx(worth(artefacts, name, item, one), abs=1e-4)


@pytest.mark.parametrize(("name", "engine"), RUN)
def test_each_item_is_cut_at_its_own_limit(artefacts: Artefacts, name: str, engine: str) -> None:
    model, batch = load(artefacts, name, engine), inputs(artefacts, name, engine)
    whole = [found[0] for found in model.run(batch, Decoding())]
    limits = [1 + number % LONGEST for number in range(len(batch))]
    limited = [Seq2SeqInput(item.source, item.prefix, limit) for item, limit in zip(batch, limits, strict=True)]
    for before, (after,), limit in zip(whole, model.run(limited, Decoding(attention=True)), limits, strict=True):
        assert after.tokens == before.tokens[:limit]
        assert after.finished == (before.finished and len(before.tokens) <= limit)
        assert after.attention is not None
        assert len(after.attention) == len(after.tokens)


@pytest.mark.parametrize(("name", "engine"), RUN)
def test_attention_has_a_row_of_weights_for_each_token(artefacts: Artefacts, name: str, engine: str) -> None:
    model, batch = load(artefacts, name, engine), inputs(artefacts, name, engine)
    for decoding in (Decoding(attention=True), Decoding(beam_size=2, hypotheses=2, attention=True)):
        for item, several in zip(batch, model.run(batch, decoding), strict=True):
            for hypothesis in several:
                assert hypothesis.attention is not None
                assert hypothesis.attention.dtype == np.float32
                assert hypothesis.attention.shape == (len(hypothesis.tokens), len(item.source))
                np.testing.assert_allclose(hypothesis.attention.sum(axis=1), 1, atol=1e-4)
    assert model.run(batch[:1], Decoding())[0][0].attention is None


@pytest.mark.parametrize("engine", ENGINES)
def test_no_ngram_is_repeated_if_so_asked(artefacts: Artefacts, engine: str) -> None:
    model, batch = load(artefacts, "marian", engine), inputs(artefacts, "marian", engine)

    def repeats(decoding: Decoding) -> int:
        answers = [several[0].tokens for several in model.run(batch, decoding)]
        pairs = [[*pairwise(tokens)] for tokens in answers]
        return sum(len(each) - len(set(each)) for each in pairs)

    assert repeats(Decoding()) > 0
    assert repeats(Decoding(no_repeat_ngram=2)) == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_lanes_may_run_at_the_same_time(artefacts: Artefacts, engine: str) -> None:
    model, batch = load(artefacts, "marian", engine, lanes=2), inputs(artefacts, "marian", engine)
    expected = [several[0].tokens for several in model.run(batch, Decoding())]

    def lane(first: int) -> bool:
        rounds = [model.run(batch[first:], Decoding()) for _ in range(5)]
        return all([several[0].tokens for several in found] == expected[first:] for found in rounds)

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lane, range(3))) == [True] * 3


@pytest.mark.parametrize("engine", ENGINES)
def test_it_is_a_seq2seq_and_closes_twice(artefacts: Artefacts, engine: str) -> None:
    model, batch = load(artefacts, "marian", engine), inputs(artefacts, "marian", engine)
    assert isinstance(model, Seq2Seq)
    assert list(model.run([], Decoding())) == []
    model.close()
    model.close()
    with pytest.raises(RuntimeError, match="closed"):
        model.run(batch, Decoding())


@pytest.mark.parametrize("engine", ENGINES)
def test_no_more_is_written_than_there_are_places_for(artefacts: Artefacts, engine: str) -> None:
    batch = [replace(item, max_tokens=10_000) for item in inputs(artefacts, "marian", engine)]
    found = load(artefacts, "marian", engine).run(batch, Decoding(no_repeat_ngram=1))
    assert max(len(hypotheses[0].tokens) for hypotheses in found) <= 64
