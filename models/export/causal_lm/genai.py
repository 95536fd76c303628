"""A causal language model -> ``genai/``: a graph for onnxruntime-genai and what it must know to run it.

Its builder is a program of its own that prints, configures logging and changes the import path; so it runs as one.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime_genai as og

from models.export import ExportError
from models.export.causal_lm.checkpoint import Checkpoint
from services.core.catalog import Precision
from services.engines.genai import FOLDER

PRECISIONS = (Precision.INT4, Precision.INT8, Precision.FP32)

BLOCK = 128
"""Weights that share a scale. A step reads all weights, so fewer scales are speed: on a Llama of 110 M parameters 128
made 1.3 times the tokens per second of 32, for 0.4 % more perplexity on the bundled model (40.66, 40.51; fp32 40.36).
"""

KEPT = ("genai_config.json", "model.onnx", "model.onnx.data")
"""Of what the builder writes; the text side is in the artefact already."""


def write_genai(checkpoint: Checkpoint, precision: Precision, target: Path) -> None:
    """Build the graph and run it once.

    Raises:
        ExportError: there is no such precision, or onnxruntime-genai does not build or run such a network.
    """
    if precision not in PRECISIONS:
        raise ExportError(f"{precision} is not made for onnxruntime-genai; use one of {', '.join(PRECISIONS)}")
    folder = target / FOLDER
    with tempfile.TemporaryDirectory(dir=target) as scratch:
        _build(checkpoint.folder, precision, Path(scratch))
        folder.mkdir()
        for name in KEPT:
            (Path(scratch) / name).rename(folder / name)
    _try(folder, checkpoint)


def _build(checkpoint: Path, precision: Precision, out: Path) -> None:
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
    command += ["-i", str(checkpoint), "-o", str(out), "-p", precision, "-e", "cpu", "-c", str(out / "cache")]
    # Nothing is asked of the hub; only the last token's logits are wanted.
    command += ["--extra_options", "hf_token=false", "hf_remote=false", "prune_lm_head=true", f"block_size={BLOCK}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:]
        raise ExportError(f"{checkpoint}: onnxruntime-genai cannot build it: {' '.join(reason)}")


def _try(folder: Path, checkpoint: Checkpoint) -> None:
    """What is built need not run: not every size of a head has a kernel."""
    try:
        model = og.Model(str(folder))
        one = og.Generator(model, og.GeneratorParams(model))
        one.append_tokens(np.zeros(2, dtype=np.int32))
        logits = one.get_logits()
    except RuntimeError as error:
        raise ExportError(f"{checkpoint.folder}: onnxruntime-genai cannot run it: {error}") from error
    if not np.isfinite(logits).all():
        raise ExportError(f"{checkpoint.folder}: onnxruntime-genai computes no finite numbers with it")
