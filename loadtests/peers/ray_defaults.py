"""Ray Serve as it comes: its Python proxy, its own batching, a replica per core, and none of Chorale.

Run with Chorale's environment, where ray is.
"""
# mypy: disable-error-code="misc, untyped-decorator"

import tempfile
import threading
from contextlib import suppress
from typing import Any

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

from loadtests.peers import start
from loadtests.peers.model import as_json


class Sentiment:
    """The model in a replica."""

    def __init__(self, options: start.Start) -> None:
        self._classifier = options.classifier()
        self._groups = options.groups
        self.classify.set_batch_wait_timeout_s(options.wait_ms / 1000)

    @serve.batch(max_batch_size=start.BATCH)
    async def classify(self, texts: list[str]) -> list[dict[str, Any]]:
        """A batch."""
        return [as_json(ranked) for ranked in self._classifier.classify(texts, self._groups)]

    async def __call__(self, request: Request) -> JSONResponse:
        """One request."""
        return JSONResponse(await self.classify((await request.json())["text"]))


def main() -> None:
    """Serve ``POST /``."""
    options = start.read()
    quiet = {"enable_access_log": False}
    deployment = serve.deployment(
        num_replicas=options.workers,
        max_ongoing_requests=4 * start.BATCH,  # the default, 5, would hold batches down to 5
        logging_config=quiet,
    )
    with tempfile.TemporaryDirectory(prefix="ray-") as folder:  # else Ray's files would stay
        ray.init(address="local", _temp_dir=folder, log_to_driver=False)  # local: never somebody's running cluster
        serve.start(http_options={"host": "127.0.0.1", "port": options.port}, logging_config=quiet)
        serve.run(deployment(Sentiment).bind(options))
        start.say_ready("RayServe")
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
        ray.shutdown()


if __name__ == "__main__":
    main()
