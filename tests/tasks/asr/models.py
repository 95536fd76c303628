"""The bundled recognisers, built where they must be."""

from models.build import Builder
from models.store import ArtefactStore
from services.core.catalog import Catalog, read_catalog
from services.core.settings import BUNDLED_CATALOG, Settings
from services.core.task import discover


def default_model() -> Catalog:
    """A catalog of the default model alone; its artefact is there."""
    spec = read_catalog([BUNDLED_CATALOG], ["asr"]).resolve("asr", None)
    Builder(ArtefactStore(Settings().home), {task.name: task for task in discover(opt_in=True)}, lambda _: None).ensure(
        spec
    )
    return Catalog([spec])
