"""The bundled English recogniser, exported once, and speech that comes with its package."""

from pathlib import Path

import pytest
import soundfile

from models.export import exporter
from models.sources import fetch
from services.core.audio import Samples
from services.core.catalog import ModelSpec, Source, read_catalog
from services.core.engine import EngineOptions
from services.core.settings import BUNDLED_CATALOG
from services.engines import engine_class
from services.engines.moonshine.recognizer import MoonshineRecognizer


@pytest.fixture(scope="session")
def moonshine_spec() -> ModelSpec:
    return read_catalog([BUNDLED_CATALOG], ["asr"]).resolve("asr", "moonshine-tiny-en")


@pytest.fixture(scope="session")
def moonshine_sources(moonshine_spec: ModelSpec) -> dict[str, Path]:
    return {role: fetch(source) for role, source in moonshine_spec.sources.items()}


@pytest.fixture(scope="session")
def moonshine(
    moonshine_spec: ModelSpec, moonshine_sources: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    target = tmp_path_factory.mktemp("moonshine")
    exporter("moonshine")(moonshine_spec, moonshine_sources, target)
    return target


@pytest.fixture(scope="session")
def recognizer(moonshine: Path) -> MoonshineRecognizer:
    loaded: MoonshineRecognizer = engine_class("moonshine").load(moonshine, EngineOptions())
    return loaded


@pytest.fixture(scope="session")
def reading() -> Samples:
    """Ten seconds of someone who reads Beckett aloud: "Ever tried. Ever failed. …"."""
    file = fetch(Source(uri="pypi:moonshine-voice/moonshine_voice/assets")) / "beckett.wav"
    samples: Samples = soundfile.read(file, dtype="float32")[0]
    return samples
