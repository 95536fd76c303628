"""Contenders that are not ours: the servers of `loadtests.peers`, each as used and with sorted groups.

Each runs in an environment of its own; those whose environment is missing can be left out.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from loadtests.bench.contenders import Contender, Endpoint, Ports
from loadtests.bench.server import Server
from loadtests.peers.install import ROOT, environment
from services.core.settings import Settings
from services.runtime.loading import ensure_artefacts, read_world

TASK = "classification"
IN_FLIGHT = (16, 64)


@dataclass(frozen=True)
class Batches:
    """What a peer's own function does with a batch.

    Args:
        groups: texts in an engine run, after sorting by length; None: the whole batch, as it came.
    """

    title: str
    suffix: str
    groups: int | None


AS_USED = Batches("as used", "", None)
SORTED = Batches("sorted groups", "-sorted", 4)


@dataclass(frozen=True)
class Peer:
    """One peer, with one way to run a batch.

    Args:
        base: its name, but for what `batches` adds to it.
        title: what the tables call it.
        module: of its server, in `loadtests.peers`.
        path: where it answers.
        dialect: how (`samples.DIALECTS`).
        environment: where its packages are; None: in Chorale's own.
        workers: copies of the model, or calls of it at a time.
        threads: of onnxruntime in each.
        wait_ms: how long a batch that is not full may wait for more, where the peer has such a setting.
        variables: of its process's environment.
    """

    base: str
    title: str
    module: str
    path: str
    dialect: str
    environment: str | None
    workers: int = 2
    threads: int = 1
    wait_ms: float = 0.0
    variables: tuple[str, ...] = ()
    batches: Batches = AS_USED

    @property
    def name(self) -> str:
        """What ``--contenders`` calls it."""
        return self.base + self.batches.suffix

    @property
    def series(self) -> str:
        """What the tables call it."""
        return f"{self.title} REST, {self.batches.title}"

    @property
    def installed(self) -> bool:
        """Whether it can be started."""
        return self.environment is None or environment(self.environment).installed

    def command(self, tasks: Sequence[str], ports: Ports) -> list[str]:
        """Its server script, in its own environment."""
        folder, labels = artefact()
        python = str(environment(self.environment).python) if self.environment else sys.executable
        addresses = ["--port", str(ports.rest), "--spare-port", str(ports.grpc)]
        model = ["--folder", str(folder), "--labels", *labels]
        setup = ["--workers", str(self.workers), "--threads", str(self.threads), "--wait-ms", str(self.wait_ms)]
        groups = ["--groups", str(self.batches.groups)] if self.batches.groups else []
        start = ["env", f"PYTHONPATH={ROOT}", *self.variables, python, "-m", f"loadtests.peers.{self.module}"]
        return [*start, *addresses, *model, *setup, *groups]

    def endpoints(self, tasks: Sequence[str], ports: Ports, server: Server) -> list[Endpoint]:
        """REST, classification only."""
        return [Endpoint(self.series, TASK, "REST", ports.rest, self.path, self.dialect, IN_FLIGHT)]


_INFER = "/v2/models/sentiment/infer"

# Ray would leave its token in the home folder and call home; neither makes it faster.
_RAY = ("RAY_AUTH_MODE=disabled", "RAY_USAGE_STATS_ENABLED=0")

# Set-ups and waits: the best of those measured; loadtests/peers/README.md has why.
_IN_PROCESS = "MLServer, model in the server's process"
_AS_USED = (
    Peer("litserve", "LitServe", "litserve_server", "/predict", "object", "litserve", wait_ms=1.0),
    Peer("mlserver", "MLServer", "mlserver_server", _INFER, "open-inference", "mlserver", wait_ms=0.1),
    Peer(
        "mlserver-in-process", _IN_PROCESS, "mlserver_server", _INFER, "open-inference", "mlserver", 1, 2, wait_ms=1.0
    ),
    Peer("triton", "Triton", "triton_server", _INFER, "open-inference", "triton"),
    Peer("bentoml", "BentoML", "bentoml_server", "/classify", "list", "bentoml"),
    Peer("ray-defaults", "Ray Serve defaults", "ray_defaults", "/", "object", None, wait_ms=10.0, variables=_RAY),
)

PEERS = tuple(replace(peer, batches=batches) for peer in _AS_USED for batches in (AS_USED, SORTED))

_PACKAGES = {"triton": "nvidia-pytriton"}


def versions(contenders: Sequence[Contender]) -> str:
    """The versions of the peers among these; ray's is that of Chorale's own environment, told elsewhere."""
    names = dict.fromkeys(peer.environment for peer in PEERS if peer in contenders and peer.environment)
    packages = {name: _PACKAGES.get(name, name) for name in names}
    return ", ".join(f"{package} {environment(name).version(package)}" for name, package in packages.items())


@cache
def artefact() -> tuple[Path, tuple[str, ...]]:
    """Folder and labels of the model Chorale serves by default."""
    from models.store import ArtefactStore

    settings = Settings(tasks=(TASK,))
    spec = read_world(settings)[1].resolve(TASK, None)
    ensure_artefacts(settings, [spec])
    return ArtefactStore(settings.home).folder(spec), spec.labels
