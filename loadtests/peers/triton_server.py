"""Triton through pytriton: dynamic batching by Triton, a Python instance per core, Open Inference Protocol over HTTP.

Run with pytriton's own environment.
"""
# mypy: disable-error-code="import-not-found, untyped-decorator"

import os
import sysconfig
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

from loadtests.peers import start
from loadtests.peers.model import Classifier


def infer_function(classifier: Classifier, groups: int | None) -> Any:
    """What Triton calls with a batch."""

    @batch
    def infer(text: NDArray[np.object_]) -> dict[str, NDArray[Any]]:
        found = classifier.classify([row[0].decode() for row in text], groups)
        labels = np.array([[label.encode() for label, _ in ranked] for ranked in found], dtype=np.object_)
        scores = np.array([[score for _, score in ranked] for ranked in found], dtype=np.float32)
        return {"label": labels, "score": scores}

    return infer


def main() -> None:
    """Serve ``POST /v2/models/sentiment/infer``."""
    options = start.read()
    # As pytriton's installation page says: Triton's Python backend must load the libpython of this very interpreter.
    os.environ["LD_LIBRARY_PATH"] = sysconfig.get_config_var("LIBDIR")
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=options.port,
        grpc_address="127.0.0.1",
        grpc_port=options.spare_port,
        allow_metrics=False,
        log_verbose=0,
    )
    infer = infer_function(options.classifier(), options.groups)
    columns = (len(options.labels),)
    with Triton(config=config) as triton:
        triton.bind(
            model_name="sentiment",
            infer_func=[infer] * options.workers,
            inputs=[Tensor(name="text", dtype=bytes, shape=(1,))],
            outputs=[
                Tensor(name="label", dtype=bytes, shape=columns),
                Tensor(name="score", dtype=np.float32, shape=columns),
            ],
            config=ModelConfig(max_batch_size=start.BATCH, batcher=DynamicBatcher(int(options.wait_ms * 1000))),
        )
        start.announce("Triton", options.port, "/v2/models/sentiment/ready")
        triton.serve()


if __name__ == "__main__":
    main()
