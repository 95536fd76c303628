"""Language models into artefacts: what is linked, cast and converted, and what is refused."""

import json
import shutil
from pathlib import Path

import pytest
import sentencepiece
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, BertConfig, BertForMaskedLM

from models.build import Builder
from models.curve import BatchCurve
from models.export import ExportError, exporter
from models.store import ArtefactStore
from services.core.catalog import BatchPolicy
from services.core.engine import generates
from services.core.task import discover
from services.engines import ENGINES, engine_class
from tests.checkpoints import TEXTS, train_pieces
from tests.llamas import llama, llama_spec

pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    llama(folder)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    (folder / "tokenizer_config.json").write_text('{"bos_token": "<s>", "eos_token": "</s>"}')
    (folder / "pytorch_model.bin").write_bytes(b"not looked at where there are safetensors")
    return folder


@pytest.fixture
def copied(checkpoint: Path, tmp_path: Path) -> Path:
    return shutil.copytree(checkpoint, tmp_path / "copied")


def export(folder: Path, target: Path, **fields: object) -> Path:
    target.mkdir(exist_ok=True)
    spec = llama_spec(folder, **fields)
    exporter(spec.architecture)(spec, {"weights": folder}, target)
    return target


def rewrite(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_weights_stored_as_wanted_are_linked(checkpoint: Path, tmp_path: Path) -> None:
    found = export(checkpoint, tmp_path / "out")
    assert (found / "model.safetensors").samefile(checkpoint / "model.safetensors")
    assert {path.name for path in found.iterdir()} == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }


@pytest.mark.parametrize("precision", ["bf16", "nf4", "int8"])
def test_others_are_cast(checkpoint: Path, tmp_path: Path, precision: str) -> None:
    found = export(checkpoint, tmp_path / "out", precision=precision)
    before, after = (load_file(folder / "model.safetensors") for folder in (checkpoint, found))
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], weight.bfloat16()) for name, weight in before.items())
    network = AutoModelForCausalLM.from_pretrained(found, dtype="auto")
    assert network.dtype == torch.bfloat16
    assert network.config.tie_word_embeddings


def test_shards_stay_shards(checkpoint: Path, tmp_path: Path) -> None:
    network = AutoModelForCausalLM.from_pretrained(checkpoint)
    sharded = tmp_path / "sharded"
    network.save_pretrained(sharded, max_shard_size="200KB")
    shutil.copy(checkpoint / "tokenizer.json", sharded)
    names = {path.name for path in sharded.glob("model*")}
    assert len(names) > 2
    for precision in ("fp32", "bf16"):
        found = export(sharded, tmp_path / precision, precision=precision)
        assert {path.name for path in found.glob("model*")} == names
        again = AutoModelForCausalLM.from_pretrained(found, dtype="auto")
        for name, weight in again.state_dict().items():
            assert torch.equal(weight, network.state_dict()[name].to(weight.dtype))


def test_tensors_keep_their_place(checkpoint: Path, tmp_path: Path) -> None:
    found = export(checkpoint, tmp_path / "out", precision="bf16") / "model.safetensors"
    (size,) = memoryview(found.read_bytes()[:8]).cast("Q")
    assert size % 8 == 0
    with safe_open(found, "pt") as weights:
        assert weights.metadata() == {"format": "pt"}


def test_a_sentencepiece_vocabulary_is_converted(copied: Path, tmp_path: Path) -> None:
    (copied / "tokenizer.json").unlink()
    train_pieces(copied / "tokenizer.model", model_type="bpe", byte_fallback=True, vocab_size=380)
    rewrite(copied / "tokenizer_config.json", tokenizer_class="LlamaTokenizer", legacy=False)
    tokenizer = Tokenizer.from_file(str(export(copied, tmp_path / "out") / "tokenizer.json"))
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(copied / "tokenizer.model"))
    for text in TEXTS:
        assert tokenizer.encode(text, add_special_tokens=False).ids == pieces.encode(text)


def test_the_build_publishes_without_a_gate_or_a_curve(checkpoint: Path, tmp_path: Path) -> None:
    tasks = {task.name: task for task in discover(only=("classification",))}
    builder = Builder(ArtefactStore(tmp_path), tasks, lambda _: None)
    spec = llama_spec(checkpoint, precision="nf4", task="classification")
    folder = builder.ensure(spec)
    assert folder
    assert (folder / "model.safetensors").is_file()
    curve = builder.curve(spec, 2)
    assert curve == BatchCurve(
        machine=curve.machine, recipe=curve.recipe, batch_invariant=True, points=(), policy=BatchPolicy()
    )


@pytest.mark.parametrize("architecture", ["seq2seq", "mean-pooled-classifier"])
def test_other_models_are_not_made_in_language_models_precisions(tmp_path: Path, architecture: str) -> None:
    with pytest.raises(ExportError, match=rf"{architecture} is not made in nf4; use fp32 or int8"):
        Builder(ArtefactStore(tmp_path), {}, print).ensure(llama_spec(tmp_path, architecture, precision="nf4"))


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_generators_are_told_by_their_class(name: str) -> None:
    assert generates(engine_class(name)) == (name in {"genai", "torch-lm", "fake-lm", "vllm"})


def test_pickles_are_refused(copied: Path, tmp_path: Path) -> None:
    (copied / "model.safetensors").unlink()
    with pytest.raises(ExportError, match="pickled, and opening them would run whatever code"):
        export(copied, tmp_path / "out")


def test_code_beside_the_weights_is_never_run(copied: Path, tmp_path: Path) -> None:
    (copied / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    rewrite(copied / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Evil"})
    with pytest.raises(ExportError, match="cannot be opened as a causal language model"):
        export(copied, tmp_path / "out")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"model_type": "t5"}, "cannot be opened as a causal language model"),
        ({"model_type": 3}, "cannot be opened as a causal language model"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "which is no causal language model"),
        ({"num_hidden_layers": 4}, r"weights lack model.layers.3\..* and 6 more, which config.json describes"),
        ({"num_hidden_layers": 2}, r"weights hold model.layers.2\..* and 6 more, which config.json does not"),
        ({"intermediate_size": 32}, "cannot be opened as a causal language model|lack"),
        ({"vocab_size": 5}, "cannot be opened as a causal language model|lack"),
        ({"max_position_embeddings": 64}, "takes 64 tokens; in the catalog set max_tokens"),
    ],
)
def test_configs_that_fit_nothing_are_refused(
    copied: Path, tmp_path: Path, change: dict[str, object], told: str
) -> None:
    rewrite(copied / "config.json", **change)
    with pytest.raises(ExportError, match=told):
        export(copied, tmp_path / "out")


def test_a_bert_is_no_language_model_that_writes(tmp_path: Path) -> None:
    bert = BertConfig(vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    BertForMaskedLM(bert).save_pretrained(tmp_path / "bert")
    with pytest.raises(ExportError, match="no causal language model"):
        export(tmp_path / "bert", tmp_path / "out")


def test_quantized_weights_are_refused(copied: Path, tmp_path: Path) -> None:
    weights = load_file(copied / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"].to(torch.int8)
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ExportError, match="weights stored in I8 cannot be cast"):
        export(copied, tmp_path / "out")
    rewrite(copied / "config.json", quantization_config={"quant_method": "fp8"})
    with pytest.raises(ExportError, match="quantized already"):
        export(copied, tmp_path / "out")


@pytest.mark.parametrize("name", ["../copied/model.safetensors", "model.bin", "/etc/passwd", "gone.safetensors", 7])
def test_an_index_names_only_safetensors_beside_it(copied: Path, tmp_path: Path, name: object) -> None:
    (copied / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"lm_head.weight": name}}))
    with pytest.raises(ExportError, match="is no safetensors file beside it"):
        export(copied, tmp_path / "out")


@pytest.mark.parametrize("index", ["[]", "{}", "{", '{"weight_map": 3}'])
def test_an_index_that_is_none_is_refused(copied: Path, tmp_path: Path, index: str) -> None:
    (copied / "model.safetensors.index.json").write_text(index)
    with pytest.raises(ExportError, match="is not the index of a checkpoint"):
        export(copied, tmp_path / "out")


def test_a_vocabulary_is_wanted_that_the_network_knows(copied: Path, tmp_path: Path) -> None:
    tokenizer = Tokenizer.from_file(str(copied / "tokenizer.json"))
    tokenizer.add_tokens(["one-more"])
    tokenizer.save(str(copied / "tokenizer.json"))
    with pytest.raises(ExportError, match=r"knows \d+ tokens, its network only \d+"):
        export(copied, tmp_path / "out")
    (copied / "tokenizer.json").unlink()
    with pytest.raises(ExportError, match=r"no tokenizer.json, nor a vocabulary"):
        export(copied, tmp_path / "out")


def test_truncated_weights_are_refused(copied: Path, tmp_path: Path) -> None:
    (copied / "model.safetensors").write_bytes((copied / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(ExportError, match="cannot be opened as a causal language model"):
        export(copied, tmp_path / "out")
    (copied / "model.safetensors").unlink()
    with pytest.raises(ExportError, match="pickled"):
        export(copied, tmp_path / "out")


@pytest.mark.parametrize("config", [None, "{", "[]"])
def test_a_config_is_wanted(copied: Path, tmp_path: Path, config: str | None) -> None:
    (copied / "config.json").unlink()
    if config:
        (copied / "config.json").write_text(config)
    with pytest.raises(ExportError, match=r"no config.json|cannot be opened"):
        export(copied, tmp_path / "out")


def test_int4_is_another_engines(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="int4 is not made of causal-lm; use causal-lm-genai"):
        export(checkpoint, tmp_path / "out", precision="int4")
