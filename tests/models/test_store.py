import json
import logging
import multiprocessing
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from models.store import ArtefactStore, Manifest
from services.core.catalog import Gate, ModelSpec, Precision, Source

SPEC = ModelSpec(
    task="t", name="m", description="", engine="fake", architecture="a", labels=("no", "yes"), licence="none"
)


class Build:
    """Writes two files, one in a sub-folder, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, spec: ModelSpec, target: Path) -> dict[str, Any]:
        self.count += 1
        (target / "model.onnx").write_text(f"{spec.id} build {self.count}")
        (target / "inner").mkdir()
        (target / "inner" / "labels.txt").write_text("\n".join(spec.labels))
        return {"build": self.count}


def broken(_: ModelSpec, target: Path) -> dict[str, Any]:
    (target / "model.onnx").write_text("half")
    raise RuntimeError("no luck")


def leftovers(store: ArtefactStore) -> list[str]:
    """Everything beside the artefact but its lock."""
    folder = store.folder(SPEC)
    return sorted(path.name for path in folder.parent.iterdir() if path.name not in (folder.name, "fp32.lock"))


@pytest.fixture
def store(tmp_path: Path) -> ArtefactStore:
    return ArtefactStore(tmp_path)


def test_an_artefact_is_built_once_and_reused(store: ArtefactStore, tmp_path: Path) -> None:
    build = Build()
    assert store.fault(SPEC) == "not built"
    folder = store.ensure(SPEC, build)
    assert folder == tmp_path / "artefacts" / "t" / "m@1" / "fp32"
    assert store.fault(SPEC) is None
    assert ArtefactStore(tmp_path).ensure(SPEC, build) == folder
    assert build.count == 1
    assert (folder / "model.onnx").read_text() == "m@1 build 1"
    assert leftovers(store) == []
    manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    assert (manifest.model, manifest.report) == ("m@1", {"build": 1})
    assert set(manifest.files) == {"model.onnx", "inner/labels.txt"}


def test_precisions_and_versions_live_side_by_side(store: ArtefactStore) -> None:
    build = Build()
    variants = [SPEC, SPEC.model_copy(update={"precision": Precision.INT8}), SPEC.model_copy(update={"version": "2"})]
    for spec in variants * 2:
        store.ensure(spec, build)
    assert build.count == 3


def corrupt(folder: Path) -> None:
    (folder / "model.onnx").write_text("m@1 build X")


def remove_file(folder: Path) -> None:
    (folder / "inner" / "labels.txt").unlink()


def truncate_manifest(folder: Path) -> None:
    manifest = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(manifest[: len(manifest) // 2])


def gut_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (corrupt, "model.onnx does not match its checksum"),
        (remove_file, "inner/labels.txt is missing"),
        (truncate_manifest, "unreadable manifest.json"),
        (gut_manifest, "unreadable manifest.json"),
    ],
)
def test_a_damaged_artefact_is_built_again_and_the_log_says_why(
    store: ArtefactStore, damage: Callable[[Path], None], fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    build = Build()
    folder = store.ensure(SPEC, build)
    damage(folder)
    assert store.fault(SPEC) == fault
    with caplog.at_level(logging.WARNING):
        store.ensure(SPEC, build)
    assert f"m@1 fp32: {fault}; building it again" in caplog.text
    assert store.fault(SPEC) is None
    assert (folder / "model.onnx").read_text() == "m@1 build 2"
    assert leftovers(store) == []


def test_a_folder_without_a_manifest_is_built_again(store: ArtefactStore) -> None:
    build = Build()
    folder = store.ensure(SPEC, build)
    (folder / "manifest.json").unlink()
    (folder / "stray.txt").touch()
    assert store.fault(SPEC) == "not built"
    store.ensure(SPEC, build)
    assert build.count == 2
    assert not (folder / "stray.txt").exists()


@pytest.mark.parametrize(
    "change", [{"labels": ("yes", "no")}, {"architecture": "b"}, {"sources": {"w": {"uri": "bundled:w"}}}]
)
def test_a_changed_catalog_entry_is_built_again(store: ArtefactStore, change: dict[str, Any]) -> None:
    build = Build()
    store.ensure(SPEC, build)
    changed = ModelSpec.model_validate({**SPEC.model_dump(), **change})
    assert store.fault(changed) == "built from another catalog entry or by another version"
    store.ensure(changed, build)
    assert build.count == 2
    assert store.fault(changed) is None


@pytest.mark.parametrize("change", [{"description": "new words"}, {"default": True}, {"aliases": ("x",)}])
def test_what_does_not_touch_the_artefact_does_not_rebuild_it(store: ArtefactStore, change: dict[str, Any]) -> None:
    store.ensure(SPEC, Build())
    assert store.fault(SPEC.model_copy(update=change)) is None


def test_another_build_format_is_built_again(store: ArtefactStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.ensure(SPEC, Build())
    monkeypatch.setattr("models.store.BUILD_FORMAT", 10_000)
    assert store.fault(SPEC) is not None


def test_a_failing_build_publishes_nothing_and_leaves_nothing(store: ArtefactStore) -> None:
    with pytest.raises(RuntimeError, match="no luck"):
        store.ensure(SPEC, broken)
    assert not store.folder(SPEC).exists()
    assert leftovers(store) == []
    store.ensure(SPEC, Build())  # the lock is free again


def test_a_failing_rebuild_keeps_the_earlier_artefact(store: ArtefactStore) -> None:
    folder = store.ensure(SPEC, Build())
    changed = SPEC.model_copy(update={"labels": ("x",)})
    with pytest.raises(RuntimeError, match="no luck"):
        store.ensure(changed, broken)
    assert store.fault(SPEC) is None
    assert (folder / "model.onnx").read_text() == "m@1 build 1"
    assert leftovers(store) == []


def test_threads_that_want_the_same_artefact_build_it_once(tmp_path: Path) -> None:
    building, release = threading.Event(), threading.Event()
    count: list[int] = []

    def slow(spec: ModelSpec, target: Path) -> dict[str, Any]:
        count.append(1)
        building.set()
        assert release.wait(20)
        return Build()(spec, target)

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(ArtefactStore(tmp_path).ensure, SPEC, slow)
        assert building.wait(20)
        others = [pool.submit(ArtefactStore(tmp_path).ensure, SPEC, slow) for _ in range(2)]
        assert not any(future.done() for future in others)
        assert ArtefactStore(tmp_path).fault(SPEC) == "not built"  # nothing of the half-built one is seen
        release.set()
        assert len({future.result() for future in [first, *others]}) == 1
    assert len(count) == 1


def build_in_a_process(home: Path, number: int) -> None:
    def build(spec: ModelSpec, target: Path) -> dict[str, Any]:
        with (home / "log").open("a") as log:
            log.write("built\n")
        return Build()(spec, target)

    ArtefactStore(home).ensure(SPEC, build)


def test_processes_that_want_the_same_artefact_build_it_once(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(build_in_a_process, [tmp_path] * 4, range(4)))
    assert (tmp_path / "log").read_text() == "built\n"
    assert ArtefactStore(tmp_path).fault(SPEC) is None


def test_what_a_killed_build_left_is_cleared_away(store: ArtefactStore) -> None:
    folder = store.ensure(SPEC, Build())
    shutil.copytree(folder, folder.with_name(f".building-{folder.name}"))
    truncate_manifest(folder)
    store.ensure(SPEC, Build())
    assert leftovers(store) == []


def test_changed_source_files_are_built_again(store: ArtefactStore, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    weights = tmp_path / "checkpoint" / "model.safetensors"
    weights.write_bytes(b"old")
    spec = SPEC.model_copy(update={"sources": {"checkpoint": Source(uri=f"path:{tmp_path / 'checkpoint'}")}})
    store.ensure(spec, Build())
    weights.write_bytes(b"newer")
    assert store.fault(spec) is not None


def test_every_bundled_file_counts(monkeypatch: pytest.MonkeyPatch, store: ArtefactStore, tmp_path: Path) -> None:
    monkeypatch.setattr("models.sources.WEIGHTS", tmp_path)
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "head.safetensors").write_bytes(b"old")
    spec = SPEC.model_copy(update={"sources": {"weights": Source(uri="bundled:w")}})
    store.ensure(spec, Build())
    (tmp_path / "w" / "head.safetensors").write_bytes(b"new")  # as long as before
    assert store.fault(spec) is not None


def test_a_changed_gate_is_asked_again(store: ArtefactStore) -> None:
    spec = SPEC.model_copy(update={"precision": Precision.INT8, "gate": Gate(examples="x.tsv")})
    store.ensure(spec, Build())
    stricter = spec.model_copy(update={"gate": Gate(examples="x.tsv", max_score_drop=0)})
    assert store.fault(stricter) is not None


def test_an_artefact_can_be_read_by_whoever_may_read_its_parent(store: ArtefactStore) -> None:
    folder = store.ensure(SPEC, Build())
    assert folder.stat().st_mode & 0o777 == folder.parent.stat().st_mode & 0o777


def test_an_emptied_file_list_is_a_fault(store: ArtefactStore) -> None:
    file = store.ensure(SPEC, Build()) / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "files": {}}))
    (file.parent / "model.onnx").unlink()
    assert store.fault(SPEC) is not None
