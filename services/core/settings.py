"""All settings of a server; the only place that reads the environment (``CHORALE_*``).

Read once where a process starts and handed down. Nothing else in the project looks at the environment.
"""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, FilePath, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

GRPC_PORT = 9000
"""Where gRPC listens unless told otherwise, and what `Task.grpc_port` is counted from."""

BUNDLED_CATALOG = Path(__file__).parents[2] / "models" / "catalog"


def _usable_cpus() -> int:
    """CPUs this process may run on; not every platform can tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


CommaList = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Every setting is ``CHORALE_<NAME>`` in the environment; ``chorale serve`` flags win over it."""

    model_config = SettingsConfigDict(env_prefix="CHORALE_", frozen=True, extra="ignore")

    home: Path = Field(default=Path("~/.cache/chorale"), validate_default=True)
    """Where built artefacts are kept."""
    tasks: CommaList = ()
    """Tasks to serve, comma separated; empty = all that are not opt-in."""
    task_packages: CommaList = ("services.tasks",)
    """Packages searched for tasks, comma separated; add your own here."""
    catalog: Annotated[tuple[Path, ...], NoDecode] = (BUNDLED_CATALOG,)
    """Folders of catalog files, comma separated; ``bundled`` is Chorale's own. A later default model wins."""
    adapter_roots: Annotated[tuple[Path, ...], NoDecode] = ()
    """Folders that requests may load adapters from, comma separated; empty = requests load none and take none away."""

    host: str = "127.0.0.1"
    """Address to listen on; loopback unless you say otherwise."""
    rest_port: int = Field(default=8000, ge=1, le=65535)
    grpc_port: int = Field(default=GRPC_PORT, ge=1, le=65535)
    """All tasks; the gRPC lane of a single task is as far above it as the task's own port is above 9000."""
    tls_certificate: FilePath | None = None
    """PEM chain for gRPC; with ``tls_key`` turns TLS on."""
    tls_key: FilePath | None = None
    tls_client_ca: FilePath | None = None
    """PEM of the authority that signs client certificates; given, clients must present one (mTLS)."""

    cpus: int = Field(default_factory=_usable_cpus, ge=1)
    """CPU share of each task's engine: lanes when its batch policy names none."""
    ray_metrics: bool = False
    """Record metrics through Ray, which scrapes all replicas of a cluster, instead of each answering ``/metrics``."""
    replicas: int = Field(default=1, ge=1)
    """Ray Serve replicas of each task."""
    max_replicas: int | None = Field(default=None, ge=1)
    """Given, each task has between ``replicas`` and this many, as its work on hand asks for."""

    max_request_bytes: int = Field(default=8 * 1024 * 1024, ge=1)
    """Largest request body (REST) or message (gRPC, WebSocket)."""
    max_upload_bytes: int = Field(default=512 * 1024 * 1024, ge=1)
    """Largest form with a file (REST)."""
    max_connections: int = Field(default=4096, ge=1)
    """Open REST connections of a server or replica; more are refused."""
    max_header_bytes: int = Field(default=65_536, ge=1024)
    """Longest head of a REST request; most metadata of a gRPC call."""
    header_seconds: float = Field(default=10.0, gt=0)
    """Time a client has to send a request's head, or to finish a gRPC handshake."""
    default_timeout: float = Field(default=60.0, gt=0)
    """Seconds a request may take when the client sets no deadline."""
    max_timeout: float = Field(default=600.0, gt=0)
    """Longest deadline a client may ask for, seconds; longer ones are cut to it."""
    max_stream_seconds: float = Field(default=4 * 3600.0, gt=0)
    """Longest that a live call may take; it has no other deadline, unless the client sets one."""
    idle_seconds: float = Field(default=30.0, gt=0)
    """Time within which a live call's client has to send something, once it is waited for."""
    allowed_origins: CommaList = ()
    """Web pages that may open WebSockets besides those of this host, comma separated: ``https://app.example.org``."""
    drain_seconds: float = Field(default=10.0, ge=0)
    """Time running requests get to finish on shutdown."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    def lane_port(self, task_port: int) -> int:
        """Where the gRPC lane of a task listens: lanes move with ``grpc_port``, so two servers need not collide."""
        return self.grpc_port + task_port - GRPC_PORT

    @field_validator("tasks", "task_packages", "catalog", "adapter_roots", "allowed_origins", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("catalog")
    @classmethod
    def _folders(cls, catalog: tuple[Path, ...]) -> tuple[Path, ...]:
        folders = tuple(BUNDLED_CATALOG if str(folder) == "bundled" else folder for folder in catalog)
        for folder in folders:
            if not folder.is_dir():
                raise ValueError(f"no folder {folder}")
        return folders

    @field_validator("adapter_roots")
    @classmethod
    def _roots(cls, roots: tuple[Path, ...]) -> tuple[Path, ...]:
        roots = tuple(root.expanduser().absolute() for root in roots)
        for root in roots:
            if not root.is_dir():
                raise ValueError(f"no folder {root}")
        return roots

    @field_validator("home")
    @classmethod
    def _expand(cls, home: Path) -> Path:
        return home.expanduser()

    @field_validator("tls_certificate", "tls_key", "tls_client_ca", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return value or None

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("set both CHORALE_TLS_CERTIFICATE and CHORALE_TLS_KEY, or neither")
        if self.tls_client_ca and not self.tls_certificate:
            raise ValueError("CHORALE_TLS_CLIENT_CA needs CHORALE_TLS_CERTIFICATE and CHORALE_TLS_KEY")
        return self

    @model_validator(mode="after")
    def _replicas_in_order(self) -> Self:
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError(f"CHORALE_MAX_REPLICAS is {self.max_replicas}, below CHORALE_REPLICAS {self.replicas}")
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        if self.rest_port == self.grpc_port:
            raise ValueError(f"REST and gRPC need a port each; both are {self.rest_port}")
        return self
