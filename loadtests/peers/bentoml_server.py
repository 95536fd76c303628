"""BentoML: a service with a batchable API, a worker per core. Run with BentoML's own environment."""
# mypy: disable-error-code="import-not-found, misc, untyped-decorator"

from pathlib import Path
from typing import Any

import bentoml
from bentoml_cli.cli import cli
from pydantic import BaseModel

from loadtests.peers import start
from loadtests.peers.model import Classifier, as_json


class Arguments(BaseModel):
    """What `main` hands down to the workers with ``bentoml serve --arg``."""

    folder: str = ""
    labels: str = ""
    workers: int = 1
    threads: int = 1
    groups: int = 0


arguments = bentoml.use_arguments(Arguments)


@bentoml.service(workers=arguments.workers, logging={"access": {"enabled": False}})
class Sentiment:
    """The service in a worker."""

    def __init__(self) -> None:
        self._classifier = Classifier(Path(arguments.folder), arguments.labels.split(","), arguments.threads)

    @bentoml.api(batchable=True, max_batch_size=start.BATCH)
    def classify(self, texts: list[str]) -> list[dict[str, Any]]:
        """A batch: BentoML has joined the lists of several requests."""
        return [as_json(ranked) for ranked in self._classifier.classify(texts, arguments.groups or None)]


def main() -> None:
    """Serve ``POST /classify``."""
    options = start.read()
    handed_down = {
        "folder": options.folder,
        "labels": ",".join(options.labels),
        "workers": options.workers,
        "threads": options.threads,
        "groups": options.groups or 0,
    }
    words = [word for name, value in handed_down.items() for word in ("--arg", f"{name}={value}")]
    start.announce("BentoML", options.port, "/readyz")
    service = "loadtests.peers.bentoml_server:Sentiment"
    cli(["serve", service, "--host", "127.0.0.1", "--port", str(options.port), *words])


if __name__ == "__main__":
    main()
