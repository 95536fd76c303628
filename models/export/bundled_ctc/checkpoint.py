"""How the network is kept in git: ``model.safetensors`` and ``config.json``, which holds `Settings`."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from models.export import ExportError
from models.export.bundled_ctc.network import Network, NetworkSizes
from services.core.catalog import LanguageCode


class Settings(BaseModel):
    """A network's sizes, and what its tokens stand for.

    Raises:
        ValidationError: there are more or fewer tokens than the network tells apart.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sizes: NetworkSizes
    tokens: tuple[str, ...]
    """By id: the blank, then words, then those that write nothing."""
    silent: tuple[int, ...] = ()
    """Ids of the latter."""
    word_bonus: float = 0.0
    """`CtcFormat.word_bonus`."""
    languages: tuple[LanguageCode, ...]
    seconds: float
    """Longest utterance."""

    @model_validator(mode="after")
    def _all_tokens(self) -> Self:
        if len(self.tokens) != self.sizes.tokens:
            raise ValueError(f"{len(self.tokens)} tokens, but a network of {self.sizes.tokens}")
        return self


def save(network: Network, settings: Settings, folder: Path) -> None:
    """Write both files."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(settings.model_dump_json(indent=1) + "\n", encoding="utf-8")


def load(folder: Path) -> tuple[Network, Settings]:
    """The network, ready to be used.

    Raises:
        ExportError: a file is damaged, or the two do not belong together.
    """
    try:
        settings = Settings.model_validate_json((folder / "config.json").read_bytes())
        network = Network(settings.sizes)
        network.load_state_dict(load_file(folder / "model.safetensors"))
    except (ValidationError, SafetensorError, RuntimeError) as error:
        raise ExportError(f"{folder}: model.safetensors and config.json are not one network's: {error}") from error
    return network.eval(), settings
