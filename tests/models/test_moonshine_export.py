"""Moonshine as it is published -> an artefact: the same every time, the same vocabulary, and nothing else is taken."""

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from tokenizers import Tokenizer

from models.export import ExportError, exporter
from models.export.moonshine.parity import MAX_PARITY_ERROR, require_parity
from models.export.moonshine.text import BYTES, SPECIAL, read_pieces, read_tokenizer
from models.store import sha256
from services.core.catalog import ModelSpec
