"""The n-grams of an artefact."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from models.export import ExportError
from services.core.errors import invalid
from services.engines.ctc.format import LanguageModelSettings

ROLE = "language_model"
"""Of the source that is one, in a catalog entry."""
FILE = "language_model.json"
"""A `LanguageModelSettings` beside the n-grams: how much they count depends on the network they were tuned for."""


def copy_language_model(folders: Mapping[str, Path], target: Path) -> LanguageModelSettings | None:
    """Put the language model among ``folders``, if there is one, into an artefact.

    Raises:
        ExportError: it has no settings, they are none, or the file is not there.
    """
    if ROLE not in folders:
        return None
    folder = folders[ROLE]
    try:
        settings = LanguageModelSettings.model_validate_json((folder / FILE).read_bytes())
        shutil.copyfile(folder / settings.file, target / settings.file)
    except OSError as error:
        raise ExportError(f"{folder}: {FILE}, or the n-grams that it names, cannot be read: {error}") from error
    except ValidationError as error:
        raise ExportError(f"{folder / FILE}: {invalid(error, 'file').message}") from error
    return settings
