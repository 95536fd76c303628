"""MLServer: a custom runtime with adaptive batching, a parallel worker per core, Open Inference Protocol over HTTP.

Run with MLServer's own environment.
"""
# mypy: disable-error-code="import-not-found, misc"

import asyncio
from dataclasses import asdict
from pathlib import Path

from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import StringCodec
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput

from loadtests.peers import start
from loadtests.peers.model import Classifier


class Sentiment(MLModel):
    """The model in a worker."""

    async def load(self) -> bool:
        """Once in each worker."""
        extra = self.settings.parameters.extra
        self._classifier = Classifier(Path(extra["folder"]), extra["labels"], extra["threads"])
        self._groups = extra["groups"]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """A batch: MLServer has joined the inputs, and will split the outputs, along their first dimension."""
        found = self._classifier.classify(StringCodec.decode_input(payload.inputs[0]), self._groups)
        shape = [len(found), len(found[0])]
        labels = [label for ranked in found for label, _ in ranked]
        scores = [score for ranked in found for _, score in ranked]
        outputs = [
            ResponseOutput(name="label", datatype="BYTES", shape=shape, data=labels),
            ResponseOutput(name="score", datatype="FP32", shape=shape, data=scores),
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)


def main() -> None:
    """Serve ``POST /v2/models/sentiment/infer``."""
    options = start.read()
    settings = Settings(
        debug=False,  # True, the default, logs every access
        host="127.0.0.1",
        http_port=options.port,
        grpc_port=options.spare_port,
        metrics_endpoint=None,
        parallel_workers=options.workers if options.workers > 1 else 0,
    )
    start.announce("MLServer", options.port, "/v2/models/sentiment/ready")
    asyncio.run(_serve(settings, _model(options)))


def _model(options: start.Start) -> ModelSettings:
    handed_down = {**asdict(options), "folder": str(options.folder)}  # MLServer sends it to its workers as JSON
    return ModelSettings(
        name="sentiment",
        implementation="loadtests.peers.mlserver_server.Sentiment",
        max_batch_size=start.BATCH,
        max_batch_time=options.wait_ms / 1000,
        parameters=ModelParameters(extra=handed_down),
    )


async def _serve(settings: Settings, model: ModelSettings) -> None:
    await MLServer(settings).start([model])


if __name__ == "__main__":
    main()
