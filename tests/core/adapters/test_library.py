"""Versions, names and what they come to mean."""

import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from services.core.adapters import Adapter, AdapterLibrary, damage, read_manifest, within
from services.core.errors import Code, ServingError
from tests.adapters import BASE, CHECK, write_adapter


@pytest.fixture
def library(tmp_path: Path) -> AdapterLibrary:
    return AdapterLibrary(tmp_path / "home")


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, Path]:
    return write_adapter(tmp_path / "one", seed=1), write_adapter(tmp_path / "two", seed=2)


def error(code: Code, call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(ServingError) as caught:
        call(*arguments, **named)
    assert caught.value.code == code
    return caught.value.message


def leftovers(home: Path) -> list[str]:
    """What the library would not speak of."""
    return sorted(path.name for path in home.rglob(".*") if path.name not in (".lock", ".current", ".mark"))


def test_an_adapter_is_found_as_it_was_added(
    library: AdapterLibrary, sources: tuple[Path, Path], tmp_path: Path
) -> None:
    (sources[0] / "adapter_model.bin").write_bytes(b"pickle")
    (sources[0] / "README.md").write_text("more")
    adapter, already = library.add(BASE, "poet", sources[0], None, CHECK)
    assert not already
    assert adapter == library.find(BASE, "poet") == library.find(BASE, "poet", "1")
    assert adapter == library.asked(BASE, "tiny:poet") == library.asked(BASE, "tiny@1:poet@1")
    assert library.asked(BASE, "tiny") is None
    assert library.asked(BASE, None) is None
    assert (adapter.id, adapter.rank) == ("tiny@1:poet@1", 4)
    assert adapter.folder == tmp_path / "home" / "adapters" / "tiny@1" / "poet" / "1"
    assert {path.name for path in adapter.folder.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "manifest.json",
    }
    assert leftovers(tmp_path) == []


def test_the_manifest_says_what_the_files_are(library: AdapterLibrary, sources: tuple[Path, Path]) -> None:
    adapter, _ = library.add(BASE, "poet", sources[0], None, CHECK)
    manifest = read_manifest(adapter.folder)
    assert manifest
    assert (manifest.rank, manifest.targets, manifest.declared) == (4, ("q_proj", "up_proj"), "someone/tiny")
    for name, digest in manifest.files.items():
        assert hashlib.sha256((adapter.folder / name).read_bytes()).hexdigest() == digest
    assert manifest.digest == adapter.digest
    assert damage(adapter) is None
    with (adapter.folder / "adapter_model.safetensors").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\x01")
    assert damage(adapter) == "tiny@1:poet@1 does not match its checksum"
    (adapter.folder / "adapter_config.json").unlink()
    assert "cannot be read" in str(damage(adapter))


def test_the_same_files_are_the_same_version_and_others_a_conflict(
    library: AdapterLibrary, sources: tuple[Path, Path]
) -> None:
    one, two = sources
    first, _ = library.add(BASE, "poet", one, None, CHECK)
    assert library.add(BASE, "poet", one, None, CHECK) == (first, True)
    assert "has other files, as version 1" in error(Code.CONFLICT, library.add, BASE, "poet", two, None, CHECK)
    assert "Version 1 of 'poet'" in error(Code.CONFLICT, library.add, BASE, "poet", two, "1", CHECK, replace=True)
    assert library.find(BASE, "poet") == first
    second, already = library.add(BASE, "poet", two, None, CHECK, replace=True)
    assert (second.version, already) == ("2", False)
    assert library.find(BASE, "poet") == second
    assert library.find(BASE, "poet", "1") == first
    assert library.add(BASE, "poet", one, None, CHECK, replace=True) == (first, True)  # back again, without a copy
    assert library.find(BASE, "poet") == first
    assert [adapter.version for adapter in library.list(BASE)] == ["1", "2"]


def test_versions_have_names_or_count(library: AdapterLibrary, tmp_path: Path) -> None:
    for number, version in enumerate(("beta", "9", None, None)):
        library.add(BASE, "poet", write_adapter(tmp_path / "new", seed=number), version, CHECK, replace=True)
    assert [adapter.version for adapter in library.list()] == ["beta", "9", "10", "11"]
    assert library.current(BASE, "poet") == "11"


def test_names_and_bases_are_apart(library: AdapterLibrary, sources: tuple[Path, Path]) -> None:
    for base in (BASE, "tiny@2"):
        for name in ("poet", "clerk"):
            library.add(base, name, sources[0], None, CHECK)
    library.remove(BASE, "poet")
    assert [adapter.id for adapter in library.list()] == ["tiny@1:clerk@1", "tiny@2:clerk@1", "tiny@2:poet@1"]
    assert [adapter.id for adapter in library.list(BASE)] == ["tiny@1:clerk@1"]


def test_what_is_not_there_is_never_replaced_by_another(library: AdapterLibrary, sources: tuple[Path, Path]) -> None:
    assert error(Code.NOT_FOUND, library.find, BASE, "poet") == "No adapter 'poet' for tiny@1; use one of: none."
    library.add(BASE, "poet", sources[0], None, CHECK)
    assert "use one of: poet." in error(Code.NOT_FOUND, library.find, BASE, "pet")
    assert "use one of: none." in error(Code.NOT_FOUND, library.find, "tiny@2", "poet")
    assert "has no version '2'; it has: 1." in error(Code.NOT_FOUND, library.find, BASE, "poet", "2")
    assert "has no version '2'" in error(Code.NOT_FOUND, library.remove, BASE, "poet", "2")
    assert "No adapter 'x'" in error(Code.NOT_FOUND, library.remove, BASE, "x")


def test_a_name_whose_version_is_gone_means_nothing(library: AdapterLibrary, sources: tuple[Path, Path]) -> None:
    first, _ = library.add(BASE, "poet", sources[0], None, CHECK)
    library.add(BASE, "poet", sources[1], None, CHECK, replace=True)
    library.remove(BASE, "poet", "2")
    assert "no current version; name one of: 1." in error(Code.NOT_FOUND, library.find, BASE, "poet")
    assert library.find(BASE, "poet", "1") == first
    assert library.add(BASE, "poet", sources[0], None, CHECK) == (first, True)
    assert library.find(BASE, "poet") == first
    library.remove(BASE, "poet", "1")
    assert library.list() == ()
    assert "No adapter" in error(Code.NOT_FOUND, library.find, BASE, "poet")


def test_many_names_are_not_all_told(library: AdapterLibrary, sources: tuple[Path, Path]) -> None:
    for number in range(25):
        library.add(BASE, f"a{number:02}", sources[0], None, CHECK)
    assert error(Code.NOT_FOUND, library.find, BASE, "poet").endswith("a18, a19, ....")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc", "A", "a" * 65, "a\0", "a\n", "-a", ".lock", "ä"]
)
@pytest.mark.parametrize("place", ["model", "name", "version"])
def test_no_name_leads_out_of_the_library(
    library: AdapterLibrary, sources: tuple[Path, Path], name: str, place: str, tmp_path: Path
) -> None:
    base = f"{name}@1" if place == "model" else BASE
    asked = (base, name if place == "name" else "poet", name if place == "version" else "1")
    for call in (library.find, library.remove):
        assert "use at most 64 of a-z" in error(Code.INVALID_ARGUMENT, call, *asked)
    error(Code.INVALID_ARGUMENT, library.add, *asked[:2], sources[0], asked[2], CHECK)
    assert not (tmp_path / "home").exists()


def test_a_version_without_a_sound_manifest_is_not_there(library: AdapterLibrary, sources: tuple[Path, Path]) -> None:
    adapter, _ = library.add(BASE, "poet", sources[0], None, CHECK)
    (adapter.folder / "manifest.json").write_text("{")
    error(Code.NOT_FOUND, library.find, BASE, "poet")
    assert library.list() == ()
    assert library.add(BASE, "poet", sources[1], None, CHECK).adapter == library.find(BASE, "poet")


def symbolic(source: Path) -> None:
    (source / "adapter_model.safetensors").rename(source.parent / "elsewhere")
    (source / "adapter_model.safetensors").symlink_to(source.parent / "elsewhere")


def pipe(source: Path) -> None:
    (source / "adapter_config.json").unlink()
    os.mkfifo(source / "adapter_config.json")


def folder_as_file(source: Path) -> None:
    (source / "adapter_config.json").unlink()
    (source / "adapter_config.json").mkdir()


def pickled(source: Path) -> None:
    (source / "adapter_model.safetensors").rename(source / "adapter_model.bin")


def no_weights(source: Path) -> None:
    (source / "adapter_model.safetensors").unlink()


def no_config(source: Path) -> None:
    (source / "adapter_config.json").unlink()


def huge(source: Path) -> None:
    os.truncate(source / "adapter_model.safetensors", 200_000)


def huge_config(source: Path) -> None:
    (source / "adapter_config.json").write_bytes(b" " * ((1 << 20) + 1))


def not_finite(source: Path) -> None:
    write_adapter(source, lora_alpha=-1)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (symbolic, "adapter_model.safetensors is a symbolic link"),
        (pipe, "adapter_config.json is not a plain file"),
        (folder_as_file, "adapter_config.json is not a plain file"),
        (pickled, "only pickled weights, which are never loaded"),
        (no_weights, "There is no adapter_model.safetensors"),
        (no_config, "There is no adapter_config.json"),
        (huge, "larger than"),
        (huge_config, "larger than"),
        (not_finite, "lora_alpha"),
    ],
)
def test_what_is_refused_leaves_everything_as_it_was(
    tmp_path: Path, sources: tuple[Path, Path], spoil: Any, sentence: str
) -> None:
    library = AdapterLibrary(tmp_path / "home", max_bytes=150_000 if spoil is huge else 1 << 31)
    first, _ = library.add(BASE, "poet", sources[0], None, CHECK)
    spoil(sources[1])
    for name in ("poet", "clerk"):
        message = error(Code.INVALID_ARGUMENT, library.add, BASE, name, sources[1], None, CHECK, replace=True)
        assert sentence in message
    assert library.list() == (first,)
    assert leftovers(tmp_path) == []


def test_a_source_that_is_no_folder(library: AdapterLibrary, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for source in ("nothing", "file"):
        error(Code.INVALID_ARGUMENT, library.add, BASE, "poet", tmp_path / source, None, CHECK)


def test_a_library_that_cannot_be_written(sources: tuple[Path, Path]) -> None:
    message = error(Code.UNAVAILABLE, AdapterLibrary(Path("/dev/null")).add, BASE, "a", sources[0], None, CHECK)
    assert "cannot be written" in message


def test_published_files_are_plain(library: AdapterLibrary, sources: tuple[Path, Path]) -> None:
    adapter, _ = library.add(BASE, "poet", sources[0], None, CHECK)
    assert all(stat.S_ISREG(path.lstat().st_mode) for path in adapter.folder.iterdir())


def test_requests_load_from_below_the_roots_only(tmp_path: Path) -> None:
    root, inside, outside = tmp_path / "root", tmp_path / "root" / "poet", tmp_path / "outside"
    for folder in (inside, outside, tmp_path / "root-and-more"):
        folder.mkdir(parents=True)
    (root / "link").symlink_to(outside)
    (root / "inner").symlink_to(inside)
    (root / "loop").symlink_to(root / "loop")
    assert within(str(inside), [tmp_path / "else", root]) == inside
    assert within(f"{root}/inner/../poet/.", [root]) == inside
    assert "CHORALE_ADAPTER_ROOTS" in error(Code.PERMISSION_DENIED, within, str(inside), [])
    for path in (
        outside,
        root / "link",
        root / "link" / "nothing",
        root / ".." / "outside",
        tmp_path / "root-and-more",
        tmp_path / "nothing",
        "poet",
        "someone/poet",
        "",
        "a\0b",
        f"{root}/a\0b",
    ):
        assert "absolute path below" in error(Code.PERMISSION_DENIED, within, str(path), [root])
    for path in (root / "nothing", root / ("x" * 300)):
        assert "no such folder" in error(Code.NOT_FOUND, within, str(path), [root])
    with pytest.raises(ServingError):
        within(str(root / "loop"), [root])


def test_adapters_may_be_used_as_keys() -> None:
    adapter = Adapter(BASE, "poet", "1", "0" * 64, Path("/x"), 4)
    assert {adapter: 1}[Adapter(BASE, "poet", "1", "0" * 64, Path("/x"), 4)] == 1
