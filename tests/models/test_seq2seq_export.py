"""Encoder-decoder checkpoints and bundled weights into artefacts, and what is refused on the way."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import sentencepiece
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file, save_file
from transformers import M2M100Config, M2M100ForConditionalGeneration

from models.build import Builder
from models.export import ExportError, exporter
from models.export.seq2seq.packing import SCALE, pack, unpack
from models.export.seq2seq.weight_only import BLOCK, blocks, quantize_weights
from models.export.verify import GateError
from models.store import ArtefactStore, Manifest
from services.core.catalog import ModelSpec
from services.core.codec import Codec
from services.core.engine import Decoding, EngineOptions, Seq2Seq, Seq2SeqInput
from services.core.evaluation import Evaluation
from services.core.schema import Response, TextRequest
from services.core.task import Method, Task
from services.engines import engine_class
from tests.checkpoints import CHECKPOINTS, SHAPE, TEXTS, Artefacts, sentences, t5, train_pieces, vary

pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.parametrize("name", sorted(set(CHECKPOINTS) - {"marian"}))
def test_a_language_the_checkpoint_does_not_know_is_refused(artefacts: Artefacts, name: str, tmp_path: Path) -> None:
    spec = artefacts.spec(name, languages={**CHECKPOINTS[name][1], "xx": "xx"}, pairs=())
    with pytest.raises(
        ExportError, match=rf"{name}@1: .* no language 'xx'; .*'languages: {{xx: .*It knows [1-9]"
    ) as told:
        exporter("seq2seq")(spec, {"checkpoint": artefacts.checkpoint(name)}, tmp_path)
    assert CHECKPOINTS[name][1]["de"] in str(told.value) or name in ("nllb", "m2m100")  # they know too many to list


def test_a_language_that_is_only_translated_from_needs_no_token(artefacts: Artefacts, tmp_path: Path) -> None:
    spec = artefacts.spec("marian-multilingual", languages={"fr": "fra", "de": "deu"}, pairs=("fr-de",))
    exporter("seq2seq")(spec, {"checkpoint": artefacts.checkpoint("marian-multilingual")}, tmp_path)
    assert Codec.load(tmp_path).encode(["the"], "fr", "de")


def test_other_checkpoints_and_engines_are_refused(artefacts: Artefacts, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cannot be opened as an encoder-decoder"):
        exporter("seq2seq")(artefacts.spec("marian"), {"checkpoint": tmp_path}, tmp_path)
    folder = artefacts.checkpoint("marian")
    with pytest.raises(ExportError, match="engine onnx runs no encoder-decoders; use one of ctranslate2"):
        exporter("seq2seq")(artefacts.spec("marian", engine="onnx"), {"checkpoint": folder}, tmp_path)


def test_pickled_weights_are_refused(artefacts: Artefacts, tmp_path: Path) -> None:
    shutil.copytree(artefacts.checkpoint("marian"), tmp_path / "pickled")
    (tmp_path / "pickled" / "model.safetensors").rename(tmp_path / "pickled" / "pytorch_model.bin")
    with pytest.raises(ExportError, match="safetensors"):
        exporter("seq2seq")(artefacts.spec("marian"), {"checkpoint": tmp_path / "pickled"}, tmp_path)


def test_t5_summarizes_with_its_own_words(artefacts: Artefacts, tmp_path: Path) -> None:
    spec = artefacts.spec("t5", task="summarization", languages={}, pairs=())
    exporter("seq2seq")(spec, {"checkpoint": artefacts.checkpoint("t5")}, tmp_path)
    codec = Codec.load(tmp_path)
    assert codec.decode(codec.encode(["the small garden"], "", "")[0]).endswith("the small garden")
    assert len(codec.encode([""], "", "")[0]) > 5  # "summarize: ", spelled
    assert codec.prefix("") == ()


def test_t5_of_the_second_kind_is_the_same_everywhere(artefacts: Artefacts, tmp_path: Path) -> None:
    """Its output is not scaled, and its feed-forward is gated."""
    checkpoint = t5(tmp_path / "t5", feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    found = []
    for engine in ("ctranslate2", "torch-seq2seq"):
        target = tmp_path / engine
        target.mkdir()
        exporter("seq2seq")(artefacts.spec("t5", engine), {"checkpoint": checkpoint}, target)
        codec = Codec.load(target)
        batch = [Seq2SeqInput(ids, (), 8) for ids in codec.encode(TEXTS, "en", "de")]
        found.append(
            [one.tokens for (one,) in engine_class(engine).load(target, EngineOptions()).run(batch, Decoding())]
        )
    assert found[0] == found[1]
    assert len(set(found[0])) > 1


def test_block_weights_are_off_by_half_a_step_at_most() -> None:
    weight = np.random.default_rng(3).normal(size=(70, 5)).astype(np.float32)
    integers, scales = blocks(weight)
    assert (integers.shape, scales.shape) == ((5, 3, BLOCK), (5, 3))
    found = ((integers.astype(np.float32) - 128) * scales[..., None]).reshape(5, -1)[:, :70].T
    assert np.abs(found - weight).max() <= scales.max() * 0.501


def test_tied_embeddings_become_bytes_where_they_are_looked_up_and_where_they_are_multiplied(tmp_path: Path) -> None:
    table = np.random.default_rng(3).normal(size=(1500, 64)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["embeddings", "ids"], ["found"]),
        helper.make_node("Transpose", ["embeddings"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["found", "turned"], ["products"]),
    ]
    read = [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])]
    written = [helper.make_tensor_value_info("products", TensorProto.FLOAT, ["n", 1500])]
    graph = helper.make_graph(nodes, "tied", read, written, [numpy_helper.from_array(table, "embeddings")])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), tmp_path / "tied.onnx"
    )
    quantize_weights(tmp_path / "tied.onnx")
    assert (tmp_path / "tied.onnx").stat().st_size < 0.6 * table.nbytes  # twice a quarter, and the scales
    session = ort.InferenceSession(str(tmp_path / "tied.onnx"), providers=["CPUExecutionProvider"])
    ids = np.array([3, 999, 1499])
    np.testing.assert_allclose(session.run(None, {"ids": ids})[0], table[ids] @ table.T, atol=0.5)


def test_torch_computes_in_fp32_only(artefacts: Artefacts, tmp_path: Path) -> None:
    spec = artefacts.spec("marian", "torch-seq2seq", precision="int8")
    with pytest.raises(ExportError, match="torch-seq2seq computes in fp32; for int8 use"):
        exporter("seq2seq")(spec, {"checkpoint": artefacts.checkpoint("marian")}, tmp_path)


# Packed weights


@settings(max_examples=50)
@given(rows=st.integers(1, 8), columns=st.integers(1, 8), size=st.floats(1e-6, 1e6), seed=st.integers(0, 99))
def test_packing_is_off_by_half_a_step_at_most_and_once_only(rows: int, columns: int, size: float, seed: int) -> None:
    weight = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * size
    weight[0] = 0
    packed = pack({"matrix": weight, "vector": weight[-1]})
    assert (packed["matrix"].dtype, packed["matrix" + SCALE].shape) == (torch.int8, (rows,))
    found = unpack(packed)
    step = weight.abs().amax(dim=1, keepdim=True) / 127
    assert torch.all((found["matrix"] - weight).abs() <= step * 0.501)
    assert torch.equal(found["vector"], weight[-1])
    assert torch.equal(pack(found)["matrix"], packed["matrix"])


def test_weights_that_are_not_finite_are_not_packed() -> None:
    with pytest.raises(ValueError, match="broken holds values that are not finite"):
        pack({"broken": torch.tensor([[1.0, float("nan")]])})


HOLDERS = tuple(chr(0xE000 + number) for number in range(8))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `models/weights` would hold it."""
    folder = tmp_path_factory.mktemp("weights")
    train_pieces(folder / "vocabulary.model", user_defined_symbols=list(HOLDERS), byte_fallback=True, vocab_size=500)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(folder / "vocabulary.model")).get_piece_size()
    config = M2M100Config(**SHAPE, vocab_size=pieces + 1 + 100 + 8, scale_embedding=True, init_std=0.15)
    model = M2M100ForConditionalGeneration(config)
    vary(model, 6, 2)
    tied = ("lm_head.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
    state = {name: weight for name, weight in model.state_dict().items() if name not in tied}
    save_file(pack(state), folder / "model.safetensors")
    config.save_pretrained(folder)
    (folder / "text.json").write_text(json.dumps({"holders": HOLDERS}))
    return folder


def bundled(artefacts: Artefacts, weights: Path, target: Path, **fields: Any) -> Path:
    target.mkdir()
    spec = artefacts.spec("m2m100", architecture="bundled-seq2seq", **fields)
    exporter(spec.architecture)(spec, {"weights": weights}, target)
    return target


def test_bundled_weights_become_an_artefact_whose_holders_are_one_token(
    artefacts: Artefacts, weights: Path, tmp_path: Path
) -> None:
    codec = Codec.load(bundled(artefacts, weights, tmp_path / "fp32"))
    assert codec.holders == HOLDERS
    (plain,), (held,) = (codec.encode([text], "en", "de") for text in ("the garden", f"the {HOLDERS[3]} garden"))
    assert len(held) - len(plain) in (1, 2)  # it, and perhaps the space before it
    assert codec.decode(held) == f"the {HOLDERS[3]} garden"
    assert HOLDERS[3] in codec.pieces(held)
    engine: Seq2Seq = engine_class("ctranslate2").load(tmp_path / "fp32", EngineOptions())
    batch = [Seq2SeqInput(ids, codec.prefix("de"), 8) for ids in codec.encode(TEXTS, "en", "de")]
    assert len({several[0].tokens for several in engine.run(batch, Decoding())}) == len(batch)


def ct2_weights(artefact: Path) -> bytes:
    return (artefact / "ct2" / "model.bin").read_bytes()


def test_int8_of_packed_weights_is_the_same_grid(artefacts: Artefacts, weights: Path, tmp_path: Path) -> None:
    artefact = bundled(artefacts, weights, tmp_path / "int8", precision="int8")
    packed = load_file(weights / "model.safetensors")["model.shared.weight"].numpy()
    assert packed.tobytes() in ct2_weights(artefact)


def test_bundled_weights_that_do_not_fit_are_refused(artefacts: Artefacts, weights: Path, tmp_path: Path) -> None:
    shutil.copytree(weights, tmp_path / "less")
    packed = load_file(weights / "model.safetensors")
    del packed["model.encoder.layers.0.fc1.weight"]
    save_file(packed, tmp_path / "less" / "model.safetensors")
    with pytest.raises(ExportError, match=r"model\.safetensors lacks model\.encoder\.layers\.0\.fc1\.weight"):
        bundled(artefacts, tmp_path / "less", tmp_path / "one")
    (tmp_path / "less" / "text.json").write_text(json.dumps({"holders": ["\ue100"]}))
    with pytest.raises(ExportError, match="has no piece for"):
        bundled(artefacts, tmp_path / "less", tmp_path / "two")


# The whole way, with the gate


class TranslationPipeline:
    """As much of one as an evaluation needs."""

    def __init__(self, codec: Codec, engine: Seq2Seq) -> None:
        self.codec, self.engine = codec, engine

    @classmethod
    def load(cls, spec: ModelSpec, artefact: Path, engine: Seq2Seq) -> Self:
        return cls(Codec.load(artefact), engine)

    def run(self, texts: Sequence[str]) -> list[str]:
        batch = [Seq2SeqInput(ids, self.codec.prefix("de"), 4) for ids in self.codec.encode(texts, "en", "de")]
        return [self.codec.decode(several[0].tokens) for several in self.engine.run(batch, Decoding())]

    def close(self) -> None:
        self.engine.close()


def evaluate(pipeline: TranslationPipeline, examples: Path, group: int) -> Evaluation:
    pairs = [line.split("\t") for line in examples.read_text().splitlines()]
    answers = pipeline.run([source for source, _ in pairs])
    right = [answer == expected for answer, (_, expected) in zip(answers, pairs, strict=True)]
    return Evaluation("exact", {"exact": float(np.mean(right))}, answers)


TRANSLATE = Method("TranslateTiny", TextRequest, Response, pipeline=f"{__name__}:TranslationPipeline")
TASKS = {"translation": Task("translation", (TRANSLATE,), (), 9099, evaluation=f"{__name__}:evaluate")}


@pytest.mark.parametrize("allowed", [1.0, 0.0])
def test_int8_is_published_only_if_it_is_nearly_fp32(artefacts: Artefacts, tmp_path: Path, allowed: float) -> None:
    examples = tmp_path / "gate.tsv"
    reference = engine_class("ctranslate2").load(artefacts.export("mbart50"), EngineOptions())
    texts = sentences(40, seed=5)
    answers = TranslationPipeline(Codec.load(artefacts.export("mbart50")), reference).run(texts)
    examples.write_text("".join(f"{text}\t{answer}\n" for text, answer in zip(texts, answers, strict=True)))
    gate = {"examples": str(examples), "max_score_drop": allowed, "min_agreement": 1 - allowed}
    spec = artefacts.spec("mbart50", precision="int8", gate=gate)
    steps: list[str] = []
    store = ArtefactStore(tmp_path)
    builder = Builder(store, TASKS, steps.append)
    if not allowed:
        with pytest.raises(GateError, match="int8 not published"):
            builder.ensure(spec)
        return
    folder = builder.ensure(spec)
    assert folder is not None
    assert steps[-2:] == ["exporting for ctranslate2 in int8", "verifying int8 against fp32"]
    report = Manifest.model_validate_json((folder / "manifest.json").read_bytes()).report
    assert (report["family"], report["reference_score"]) == ("mbart", 1.0)
    assert report["bytes"] < report["reference_bytes"]
    assert "ct2/model.bin" in Manifest.model_validate_json((folder / "manifest.json").read_bytes()).files


def test_more_tokens_than_the_checkpoint_has_places_for_are_refused(artefacts: Artefacts, tmp_path: Path) -> None:
    spec = artefacts.spec("marian", max_tokens=500)
    with pytest.raises(ExportError, match="takes 64 tokens; in the catalog set max_tokens"):
        exporter(spec.architecture)(spec, {"checkpoint": artefacts.checkpoint("marian")}, tmp_path)
