"""Which model does what is asked, and what is said where none does."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from models.sources import WEIGHTS
from services.core.catalog import Catalog, ModelSpec, read_catalog
from services.core.settings import BUNDLED_CATALOG
from services.tasks.asr.model import Model
from services.tasks.asr.schema import StreamTranscribeRequest, TranscribeRequest
from tests.tasks.asr.recognizing import EXAMPLE, DigestRecognizer
from tests.tasks.asr.talking import config

BUNDLED = read_catalog([BUNDLED_CATALOG], ["asr"])
GERMAN = ModelSpec(
    task="asr",
    name="german",
    description="",
    engine="fake",
    languages={"de": "de"},
    abilities=("prompt",),
    licence="none",
)
ANY = GERMAN.model_copy(update={"name": "any", "languages": {}})


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "moonshine-tiny-en@1"),
        ({"language": "en-GB", "word_times": True}, "moonshine-tiny-en@1"),
        ({"grammar": "#JSGF V1.0; grammar g; public <g> = yes;"}, "sphinx-en@1"),
        ({"keywords": ("yes",)}, "sphinx-en@1"),
        ({"alternatives": 2}, "moonshine-tiny-en@1"),  # which says that it has none
        ({"language": "de"}, "german@1"),
        ({"language": "fr", "prompt": "Oui"}, "any@1"),
        ({"translate": True}, "moonshine-tiny-en@1"),  # nobody can: the default says so
    ],
)
def test_the_first_model_that_is_able_to(options: dict[str, Any], expected: str) -> None:
    specs = [spec for spec in BUNDLED.specs if spec.name in ("moonshine-tiny-en", "sphinx-en")]
    catalog = Catalog([*specs, GERMAN, ANY])
    recording = TranscribeRequest(audio=EXAMPLE, **options)
    live = StreamTranscribeRequest(config=config(**options))
    for request in (recording, live):
        assert catalog.resolve("asr", None, request.suits).id == expected


def test_a_catalog_entry_may_not_claim_what_the_engine_cannot(tmp_path: Path) -> None:
    (tmp_path / "vad.onnx").symlink_to(WEIGHTS / "silero-vad" / "silero_vad_16k_sequence.onnx")
    claims = GERMAN.model_copy(update={"abilities": ("word_times", "translate", "grammar")})
    with pytest.raises(ValueError, match="take grammar, translate from its abilities"):
        Model.load(claims, tmp_path, DigestRecognizer())
    fits = Model.load(GERMAN.model_copy(update={"abilities": ("word_times",)}), tmp_path, DigestRecognizer())
    assert isinstance(fits.threads, ThreadPoolExecutor)
    fits.close()
