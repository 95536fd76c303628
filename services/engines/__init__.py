"""Engines by name, imported on first use: a process that serves ONNX never imports torch."""

from typing import Any

from services.core import imports

ENGINES = {
    "onnx": "services.engines.onnx:OnnxEncoder",
    "ctranslate2": "services.engines.ctranslate2:CTranslate2Seq2Seq",
    "onnx-seq2seq": "services.engines.onnx_seq2seq:OnnxSeq2Seq",
    "ctc": "services.engines.ctc.engine:CtcRecognizer",
    "torch-seq2seq": "services.engines.torch_seq2seq:TorchSeq2Seq",
    "torch-lm": "services.engines.torch_lm.engine:TorchGenerator",
    "genai": "services.engines.genai:GenaiGenerator",
    "vllm": "services.engines.vllm.engine:VllmEngine",
    "moonshine": "services.engines.moonshine.recognizer:MoonshineRecognizer",
    "pocketsphinx": "services.engines.pocketsphinx.recognizer:SphinxRecognizer",
    "whisper": "services.engines.whisper:WhisperRecognizer",
    "echo": "services.engines.echo:EchoEngine",
    "fake-lm": "services.engines.fake_lm:FakeGenerator",
    "fake": "services.engines.fake:FakeEncoder",
}

TEST_ENGINES = frozenset({"fake", "fake-lm"})
"""Refused by ``chorale serve`` and ``chorale bench``."""


def engine_class(name: str) -> Any:
    """The engine's class.

    Raises:
        ValueError: no engine has this name; lists those that do.
    """
    if name not in ENGINES:
        raise ValueError(f"unknown engine {name!r}; known: {', '.join(ENGINES)}")
    return imports.load(ENGINES[name])
