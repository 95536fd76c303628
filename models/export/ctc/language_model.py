"""The n-grams of an artefact."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from models.export import ExportError
from services.core.errors import invalid
from services.engines.ctc.format import LanguageModelSettings
from services.engines.ctc.ngrams import NGrams

ROLE = "language_model"
"""Of the source that is one, in a catalog entry."""
FILE = "language_model.json"
"""A `LanguageModelSettings` beside the n-grams: how much they count depends on the network they were tuned for."""


def copy_language_model(folders: Mapping[str, Path], target: Path) -> LanguageModelSettings | None:
    """Put the language model among ``folders``, if there is one, into an artefact.

    Raises:
        ExportError: it has no settings, or they are none.
        ArpaError: it is damaged or too large.
    """
    if ROLE not in folders:
        return None
    folder = folders[ROLE]
    try:
        settings = LanguageModelSettings.model_validate_json((folder / FILE).read_bytes())
    except OSError as error:
        raise ExportError(f"{folder}: no {FILE}, which names the n-grams and their weight: {error}") from error
    except ValidationError as error:
        raise ExportError(f"{folder / FILE}: {invalid(error, 'file').message}") from error
    NGrams.load(folder / settings.file, str)  # better now than when it is served
    shutil.copyfile(folder / settings.file, target / settings.file)
    return settings
