"""LitServe: a LitAPI with dynamic batching, a worker per core. Run with LitServe's own environment."""
# mypy: disable-error-code="import-not-found, misc"

from typing import Any

import litserve as ls

from loadtests.peers import start
from loadtests.peers.model import Ranked, as_json


class Sentiment(ls.LitAPI):
    """Decode a request, predict a batch, encode an answer."""

    def __init__(self, options: start.Start, **batching: Any) -> None:
        super().__init__(**batching)
        self._options = options

    def setup(self, device: str) -> None:
        """In each worker."""
        self._classifier = self._options.classifier()

    def decode_request(self, request: dict[str, str]) -> str:
        """One request's text."""
        return request["text"]

    def predict(self, texts: list[str]) -> list[Ranked]:
        """A batch."""
        return self._classifier.classify(texts, self._options.groups)

    def encode_response(self, output: Ranked) -> dict[str, Any]:
        """One request's answer."""
        return as_json(output)


def main() -> None:
    """Serve ``POST /predict``."""
    options = start.read()
    api = Sentiment(options, max_batch_size=start.BATCH, batch_timeout=options.wait_ms / 1000)
    server = ls.LitServer(
        api,
        accelerator="cpu",
        workers_per_device=options.workers,
    )
    start.announce("LitServe", options.port, "/health")
    server.run(host="127.0.0.1", port=options.port, log_level="warning", access_log=False, generate_client_file=False)


if __name__ == "__main__":
    main()
