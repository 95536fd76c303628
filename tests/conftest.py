"""What several suites need: a tokenizer and encoder-decoders small enough to make in a moment."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

if TYPE_CHECKING:
    from tests.checkpoints import Artefacts

# A commit passes or fails the same way everywhere; `make fuzz` looks for new examples. Machines' speed decides nothing.
settings.register_profile("random", deadline=None)
settings.register_profile("same", deadline=None, derandomize=True)
settings.load_profile("same")

os.environ["COLUMNS"] = "200"  # tables are as wide as on a wide terminal, wherever this runs


@pytest.fixture(scope="session")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``tokenizer.json`` with one token per byte, [CLS] and [SEP] around; cuts and pads, as published files do."""
    vocabulary = {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2}
    vocabulary |= {letter: 3 + index for index, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=16)
    file = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer.save(str(file))
    return file


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> "Artefacts":
    """Small random encoder-decoders, exported when asked for, once."""
    from tests.checkpoints import Artefacts  # torch: only for tests that need it

    return Artefacts(tmp_path_factory.mktemp("seq2seq"))
