"""The whole way from a checkpoint to a verified int8 artefact, on a tiny random BERT. Slow: it imports torch."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import BertConfig, BertForSequenceClassification

from models.build import Builder
from models.export import exporter
from models.export.onnx import ExportError
from models.export.verify import GateError
from models.sources import SourceError
from models.store import ArtefactStore, Manifest
from services.core.catalog import Gate, ModelSpec
from services.core.engine import EngineOptions
from services.core.task import discover
from services.core.tokenizer import Tokenizer
from services.engines.onnx import OnnxEncoder

# torch.onnx.export warns of its own use of things torch deprecates.
pytestmark = pytest.mark.filterwarnings("default")

LABELS = ("negative", "positive")
TASKS = {task.name: task for task in discover(only=("classification",))}
TEXTS = ["a", "What a lovely day!", "I want my money back.", "naïve café", "日本語のテキスト", "word " * 20]
GATE_TEXTS = [f"{text} {number}" for number in range(8) for text in TEXTS]

MakeSpec = Callable[..., ModelSpec]


def save_checkpoint(folder: Path, tokenizer_file: Path, **config: Any) -> BertForSequenceClassification:
    torch.manual_seed(5)
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=300,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=64,
            initializer_range=0.4,  # logits that differ from text to text
            id2label=dict(enumerate(LABELS)),
            label2id={label: index for index, label in enumerate(LABELS)},
            **config,
        )
    ).eval()
    with torch.inference_mode():  # centre the logits, so that both labels are answered
        logits = [model(torch.tensor(ids)[None]).logits[0] for ids in encode(tokenizer_file.parent, GATE_TEXTS)]
    model.classifier.bias.data -= torch.stack(logits).median(dim=0).values
    model.save_pretrained(folder)
    shutil.copy(tokenizer_file, folder / "tokenizer.json")
    return model


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def checkpoint(home: Path, tokenizer_file: Path) -> BertForSequenceClassification:
    return save_checkpoint(home / "checkpoint", tokenizer_file)


@pytest.fixture(scope="module")
def make_spec(home: Path, checkpoint: BertForSequenceClassification) -> MakeSpec:
    def make(**fields: Any) -> ModelSpec:
        entry = {
            "task": "classification",
            "name": "tiny",
            "description": "",
            "engine": "onnx",
            "architecture": "sequence-classification",
            "sources": {"checkpoint": {"uri": f"path:{home / 'checkpoint'}"}},
            "labels": LABELS,
            "licence": "none",
        }
        return ModelSpec.model_validate(entry | fields)

    return make


@pytest.fixture(scope="module")
def store(home: Path) -> ArtefactStore:
    """Shared by the tests of this module, so that fp32 is exported once; each int8 has its own version."""
    return ArtefactStore(home)


@pytest.fixture(scope="module")
def artefact(store: ArtefactStore, make_spec: MakeSpec) -> Path:
    folder = Builder(store, TASKS, lambda _: None).ensure(make_spec())
    assert folder is not None
    return folder


def encode(folder: Path, texts: list[str]) -> list[NDArray[np.int64]]:
    return list(Tokenizer(folder / "tokenizer.json", 512, "tiny@1").encode(texts, truncate=True))


def test_the_exported_graph_gives_transformers_logits_for_ragged_batches(
    artefact: Path, checkpoint: BertForSequenceClassification
) -> None:
    batch = encode(artefact, TEXTS)
    assert len({len(ids) for ids in batch}) > 3
    found = OnnxEncoder.load(artefact, EngineOptions()).run(batch)
    with torch.inference_mode():
        expected = np.concatenate([checkpoint(torch.tensor(ids)[None]).logits.numpy() for ids in batch])
    assert np.ptp(expected, axis=0).min() > 0.1  # not the same answer to everything
    np.testing.assert_allclose(found, expected, atol=1e-3)


def manifest_of(artefact: Path) -> Manifest:
    return Manifest.model_validate_json((artefact / "manifest.json").read_bytes())


def test_the_manifest_reports_the_export(artefact: Path) -> None:
    manifest = manifest_of(artefact)
    assert set(manifest.files) == {"model.onnx", "tokenizer.json"}
    assert 0 <= manifest.report["parity_error"] <= 1e-3
    assert manifest.report["bytes"] == (artefact / "model.onnx").stat().st_size
    assert manifest.report["build_seconds"] > 0


def gate_file(folder: Path, artefact: Path) -> Path:
    """Texts with the labels that the fp32 model gives them, so that its own score is 1."""
    answers = OnnxEncoder.load(artefact, EngineOptions()).run(encode(artefact, GATE_TEXTS)).argmax(axis=1)
    assert len(set(answers.tolist())) == 2
    file = folder / "gate.tsv"
    file.write_text("".join(f"{text}\t{LABELS[answer]}\n" for text, answer in zip(GATE_TEXTS, answers, strict=True)))
    return file


def int8(make_spec: MakeSpec, name: str, gate: Gate | None) -> ModelSpec:
    return make_spec(name=name, precision="int8", gate=gate and gate.model_dump())


def seed_reference(store: ArtefactStore, make_spec: MakeSpec, name: str, artefact: Path) -> None:
    """Publish the exported graph as another model's fp32, sparing a second export."""

    def copy(_: ModelSpec, target: Path) -> dict[str, Any]:
        for file in ("model.onnx", "tokenizer.json"):
            shutil.copy(artefact / file, target / file)
        return {}

    store.ensure(make_spec(name=name), copy)


def test_int8_is_built_from_fp32_and_published_with_its_report(
    store: ArtefactStore, make_spec: MakeSpec, artefact: Path, tmp_path: Path
) -> None:
    gate = Gate(examples=str(gate_file(tmp_path, artefact)), max_score_drop=0.2, min_agreement=0.8)
    spec = int8(make_spec, "tiny", gate)
    steps: list[str] = []
    folder = Builder(store, TASKS, steps.append).ensure(spec)
    assert folder == store.folder(spec) != artefact
    assert steps == ["quantizing to int8", "verifying int8 against fp32"]  # fp32 was there
    assert store.fault(spec) is None
    report = manifest_of(folder).report
    assert (report["examples"], report["metric"], report["reference_score"]) == ("gate.tsv", "accuracy", 1.0)
    assert report["agreement"] == report["score"] >= 0.8
    assert report["bytes"] < report["reference_bytes"]
    batch = encode(folder, TEXTS)
    found, reference = (OnnxEncoder.load(path, EngineOptions()).run(batch) for path in (folder, artefact))
    assert not np.array_equal(found, reference)  # it is another graph
    np.testing.assert_allclose(found, reference, atol=0.3)  # of nearly the same function
    engine = OnnxEncoder.load(folder, EngineOptions())
    for ids, row in zip(batch, found, strict=True):  # an answer does not depend on its neighbours
        np.testing.assert_allclose(engine.run([ids])[0], row, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        (
            "drop",
            {"max_score_drop": 0, "min_agreement": 0},
            r"drop@1 int8 not published: accuracy fell by 1\.0000 .* its gate allows 0$",
        ),
        ("agree", {"max_score_drop": 1, "min_agreement": 1}, r"agree@1 int8 .* with fp32 on \d+\.\d% .* for 100\.0%"),
    ],
)
def test_a_model_that_fails_its_gate_is_not_published(
    store: ArtefactStore,
    make_spec: MakeSpec,
    artefact: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    fields: dict[str, float],
    message: str,
) -> None:
    def ruin(source: Path, target: Path, *_: object) -> None:
        """A quantizer that loses everything: positive and negative change places."""
        import onnx

        graph = onnx.load(source / "model.onnx")
        (output,) = graph.graph.output
        (last,) = [node for node in graph.graph.node if output.name in node.output]
        last.output[0] = "before"
        graph.graph.node.append(onnx.helper.make_node("Neg", ["before"], [output.name]))
        onnx.save(graph, target / "model.onnx")
        shutil.copy(source / "tokenizer.json", target / "tokenizer.json")

    monkeypatch.setattr("models.export.quantize.quantize", ruin)
    seed_reference(store, make_spec, name, artefact)
    spec = int8(make_spec, name, Gate(examples=str(gate_file(tmp_path, artefact)), **fields))
    with pytest.raises(GateError, match=message):
        Builder(store, TASKS, lambda _: None).ensure(spec)
    assert store.fault(spec) == "not built"
    assert [path.name for path in store.folder(spec).parent.iterdir() if path.is_dir()] == ["fp32"]


def test_a_quantized_model_without_a_gate_is_not_published(
    store: ArtefactStore, make_spec: MakeSpec, artefact: Path
) -> None:
    seed_reference(store, make_spec, "ungated", artefact)
    spec = int8(make_spec, "ungated", None)
    with pytest.raises(GateError, match="ungated@1: the catalog sets no gate, so nothing can vouch for int8; add one"):
        Builder(store, TASKS, lambda _: None).ensure(spec)
    assert store.fault(spec) == "not built"


def test_labels_that_the_checkpoint_does_not_have_are_refused(store: ArtefactStore, make_spec: MakeSpec) -> None:
    spec = make_spec(name="three", labels=("a", "b", "c"))
    with pytest.raises(ExportError, match=r"three@1: the checkpoint's labels are .*negative.*, the catalog's .*c"):
        Builder(store, TASKS, lambda _: None).ensure(spec)
    assert store.fault(spec) == "not built"


def test_a_missing_source_stops_the_build(store: ArtefactStore, make_spec: MakeSpec, tmp_path: Path) -> None:
    spec = make_spec(name="gone", sources={"checkpoint": {"uri": f"path:{tmp_path / 'gone'}"}})
    with pytest.raises(SourceError, match="no folder"):
        Builder(store, TASKS, lambda _: None).ensure(spec)


def test_a_model_that_needs_no_artefact_has_none(store: ArtefactStore, make_spec: MakeSpec) -> None:
    assert Builder(store, TASKS, lambda _: None).ensure(make_spec(name="plain", architecture="")) is None
    assert not store.folder(make_spec(name="plain")).exists()


def test_an_unknown_architecture_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="unknown architecture 'gpt'; known: mean-pooled-classifier"):
        exporter("gpt")


def test_labels_in_another_order_than_the_checkpoints_are_refused(store: ArtefactStore, make_spec: MakeSpec) -> None:
    with pytest.raises(ExportError, match="labels"):
        Builder(store, TASKS, lambda _: None).ensure(make_spec(name="swapped", labels=LABELS[::-1]))


def test_a_model_that_computes_nan_is_not_published(
    store: ArtefactStore, make_spec: MakeSpec, tmp_path: Path, tokenizer_file: Path
) -> None:
    model = save_checkpoint(tmp_path / "nan", tokenizer_file)
    torch.nn.init.constant_(model.classifier.bias, float("nan"))
    model.save_pretrained(tmp_path / "nan")
    spec = make_spec(name="nan", sources={"checkpoint": {"uri": f"path:{tmp_path / 'nan'}"}})
    with pytest.raises(ExportError, match="differ"):
        Builder(store, TASKS, lambda _: None).ensure(spec)
