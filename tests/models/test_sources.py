import hashlib
import importlib.metadata
from pathlib import Path

import pytest

from models import sources
from models.sources import SourceError, fetch, sha256
from services.core.catalog import Source


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_path_is_its_folder_checked_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "weights.bin").write_bytes(b"weights")
    checked = {"inner/weights.bin": digest(b"weights")}
    assert fetch(Source(uri=f"path:{tmp_path}", sha256=checked)) == tmp_path


def test_a_home_relative_path_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert fetch(Source(uri="path:~/model")) == tmp_path / "model"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=rf"path:{tmp_path}/nowhere: no folder {tmp_path}/nowhere"):
        fetch(Source(uri=f"path:{tmp_path}/nowhere"))


def test_an_altered_file_is_refused_with_both_digests(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_bytes(b"altered")
    wanted, found = digest(b"weights"), digest(b"altered")
    with pytest.raises(SourceError, match=rf"weights\.bin has sha256 {found[:12]}…, the catalog says {wanted[:12]}…"):
        fetch(Source(uri=f"path:{tmp_path}", sha256={"weights.bin": wanted}))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=rf"weights\.bin is missing from {tmp_path}"):
        fetch(Source(uri=f"path:{tmp_path}", sha256={"weights.bin": digest(b"")}))


def test_bundled_means_the_weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "WEIGHTS", tmp_path)
    (tmp_path / "mine").mkdir()
    assert fetch(Source(uri="bundled:mine")) == tmp_path / "mine"
    with pytest.raises(SourceError, match="bundled:yours: no folder"):
        fetch(Source(uri="bundled:yours"))


def test_a_package_is_found_where_it_is_installed() -> None:
    # A package that every environment of the tests has; its folder differs in name from the distribution.
    folder = fetch(Source(uri="pypi:pyyaml/yaml"))
    assert folder == Path(str(importlib.metadata.distribution("pyyaml").locate_file("yaml")))
    assert (folder / "__init__.py").is_file()
    with pytest.raises(SourceError, match="no folder"):
        fetch(Source(uri="pypi:pyyaml/no-such-folder"))


def test_a_package_that_is_not_installed_is_told_with_the_cure() -> None:
    with pytest.raises(SourceError, match="not installed; run: pip install chorale-no-such-package"):
        fetch(Source(uri="pypi:chorale-no-such-package/model"))


@pytest.mark.parametrize("uri", ["hub:someone/model", "hub:someone/model@"])
def test_a_hub_model_without_a_revision_is_refused_before_any_connection(uri: str) -> None:
    with pytest.raises(SourceError, match="name a revision, hub:someone/model@<commit>"):
        fetch(Source(uri=uri))


def test_a_hub_model_is_fetched_at_its_revision_and_without_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str, list[str]]] = []

    def snapshot_download(name: str, revision: str, allow_patterns: list[str]) -> str:
        calls.append((name, revision, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert fetch(Source(uri="hub:someone/model@abc123")) == tmp_path
    ((name, revision, patterns),) = calls
    assert (name, revision) == ("someone/model", "abc123")
    assert not any(pattern.endswith((".py", ".bin", ".pt", "*")) for pattern in patterns)


def test_a_hub_that_cannot_be_reached_is_a_source_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    def snapshot_download(*_: object, **__: object) -> str:
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(SourceError, match=r"hub:someone/model@abc: cannot be fetched: .*offline"):
        fetch(Source(uri="hub:someone/model@abc"))


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 3_000_000)
    assert sha256(tmp_path / "f") == digest(b"x" * 3_000_000)
