"""The bundled models as they are shipped: every file pinned, and the scores their cards state."""

from pathlib import Path

import pytest

from models.build import Builder
from models.export.verify import run_evaluation
from models.sources import fetch
from models.store import ArtefactStore
from services.core.catalog import ModelSpec, Precision, read_catalog
from services.core.settings import BUNDLED_CATALOG, Settings
from services.core.task import discover

TASKS = {task.name: task for task in discover(opt_in=True)}
SPECS = read_catalog([BUNDLED_CATALOG], list(TASKS)).specs
DATA = Path(__file__).parents[3] / "shared" / "data"
SST2 = DATA / "classification" / "sst2.dev.tsv"
"""SST-2 dev as ``text<TAB>0/1``; not ours to ship."""


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.id)
def test_every_bundled_file_is_pinned_and_small(spec: ModelSpec) -> None:
    for source in (*spec.sources.values(), *spec.adapters.values()):
        folder = fetch(source)  # checks the digests
        if source.uri.startswith("bundled:"):
            assert {path.name for path in folder.iterdir()} == set(source.sha256)
            assert sum(path.stat().st_size for path in folder.iterdir()) < 25_000_000
        assert source.sha256


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("default")  # it may have to be built, and peft uses what transformers deprecates
@pytest.mark.skipif(not SST2.is_file(), reason=f"needs SST-2 dev at {SST2.name}, which is not ours to ship")
def test_sentiment_en_keeps_the_score_on_its_card() -> None:
    (spec,) = [spec for spec in SPECS if spec.name == "sentiment-en"]
    builder = Builder(ArtefactStore(Settings().home), TASKS, lambda _: None)
    scores = {}
    for precision in (Precision.FP32, Precision.INT8):
        variant = spec.model_copy(update={"precision": precision})
        folder = builder.ensure(variant)
        assert folder
        scores[precision] = run_evaluation(TASKS["classification"], variant, folder, SST2)[0].metrics
    assert scores[Precision.FP32]["accuracy"] >= 0.885
    assert scores[Precision.INT8]["accuracy"] >= scores[Precision.FP32]["accuracy"] - 0.005
    assert scores[Precision.FP32]["ece"] < 0.03


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("other", "there", "back"), [("de", 30, 36), ("fr", 36, 36), ("es", 35, 36)])
def test_tatoeba_mt_keeps_the_score_on_its_card(other: str, there: float, back: float) -> None:
    pairs = DATA / "mt" / f"tatoeba.en-{other}.dev.tsv.gz"
    if not pairs.is_file():
        pytest.skip(f"needs Tatoeba pairs at {pairs.name}, which are not ours to ship")
    (spec,) = [spec for spec in SPECS if spec.name == "tatoeba-mt"]
    folder = Builder(ArtefactStore(Settings().home), TASKS, lambda _: None).ensure(spec)
    assert folder
    metrics = run_evaluation(TASKS["translation"], spec, folder, pairs)[0].metrics
    assert metrics[f"bleu en-{other}"] >= there
    assert metrics[f"bleu {other}-en"] >= back
