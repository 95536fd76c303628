"""What a library remembers is what a library that remembers nothing finds, whoever changed it."""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.adapters import Adapter, AdapterLibrary
from services.core.errors import ServingError
from tests.adapters import BASE, CHECK, write_adapter
from tests.core.adapters.test_hard_times import end, said, start

ASKED = [("poet", None), ("poet", "1"), ("poet", "2"), ("clerk", None)]


def found(library: AdapterLibrary) -> list[Adapter | str]:
    def one(name: str, version: str | None) -> Adapter | str:
        try:
            return library.find(BASE, name, version)
        except ServingError as error:
            return error.message

    return [one(*asked) for asked in ASKED]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sources")
    return [write_adapter(folder / str(seed), seed) for seed in range(3)]


CHANGES = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(["poet", "clerk"]), st.integers(0, 2)),
    st.tuples(st.just("remove"), st.sampled_from(["poet", "clerk"]), st.integers(0, 2)),
)


@settings(max_examples=30, deadline=None)
@given(changes=st.lists(CHANGES, max_size=12))
def test_after_every_change_all_find_what_there_is(sources: list[Path], changes: list[tuple[str, str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        writer, reader = AdapterLibrary(home), AdapterLibrary(home)
        for action, name, number in changes:
            with suppress(ServingError):  # there is nothing to remove
                if action == "add":
                    writer.add(BASE, name, sources[number], None, CHECK, replace=True)
                else:
                    writer.remove(BASE, name, str(number) if number else None)
            assert found(reader) == found(writer) == found(AdapterLibrary(home))


def test_what_is_remembered_is_not_read_again(tmp_path: Path, sources: list[Path]) -> None:
    library = AdapterLibrary(tmp_path)
    adapter, _ = library.add(BASE, "poet", sources[0], None, CHECK)
    assert library.find(BASE, "poet") == library.find(BASE, "poet", "1") == adapter
    manifest = adapter.folder / "manifest.json"
    manifest.rename(tmp_path / "away")
    assert library.find(BASE, "poet") == library.find(BASE, "poet", "1") == adapter
    with pytest.raises(ServingError):
        AdapterLibrary(tmp_path).find(BASE, "poet")
    library.add(BASE, "clerk", sources[1], None, CHECK)  # of the same base: all is looked at again
    with pytest.raises(ServingError):
        library.find(BASE, "poet")


def test_a_change_that_failed_leaves_what_there_was(tmp_path: Path, sources: list[Path]) -> None:
    library = AdapterLibrary(tmp_path)
    adapter, _ = library.add(BASE, "poet", sources[0], None, CHECK)
    for change in (
        lambda: library.add(BASE, "poet", sources[1], None, CHECK),
        lambda: library.add(BASE, "poet", tmp_path / "nothing", None, CHECK, replace=True),
        lambda: library.remove(BASE, "poet", "7"),
    ):
        with pytest.raises(ServingError):
            change()
        assert library.find(BASE, "poet") == adapter


@pytest.mark.parametrize("forget", [lambda mark: mark.unlink(), lambda mark: mark.write_bytes(b"")])
def test_without_a_mark_all_is_read(tmp_path: Path, sources: list[Path], forget: Callable[[Path], None]) -> None:
    library = AdapterLibrary(tmp_path)
    adapter, _ = library.add(BASE, "poet", sources[0], None, CHECK)
    forget(tmp_path / "adapters" / BASE / ".mark")
    assert library.find(BASE, "poet") == adapter
    (adapter.folder / "manifest.json").unlink()
    with pytest.raises(ServingError):
        library.find(BASE, "poet")


def test_another_process_is_noticed_at_once(tmp_path: Path, sources: list[Path]) -> None:
    library = AdapterLibrary(tmp_path)
    first, _ = library.add(BASE, "clerk", sources[0], None, CHECK)
    assert library.find(BASE, "clerk") == first
    with pytest.raises(ServingError):
        library.find(BASE, "poet")
    digest = said(start(tmp_path, "add", sources[1])).split()[0]
    assert library.find(BASE, "poet").digest == digest
    assert library.find(BASE, "clerk") == first


def test_nothing_is_remembered_after_a_writer_was_killed(tmp_path: Path, sources: list[Path]) -> None:
    library = AdapterLibrary(tmp_path)
    first, _ = library.add(BASE, "poet", sources[0], None, CHECK)
    assert library.find(BASE, "poet") == first
    killed = start(tmp_path, "slow", sources[1])
    assert killed.stdout
    assert killed.stdout.readline() == "checking\n"
    end(killed)
    assert not (tmp_path / "adapters" / BASE / ".mark").exists()
    assert library.find(BASE, "poet") == first
    second, _ = library.add(BASE, "poet", sources[1], None, CHECK, replace=True)
    assert library.find(BASE, "poet") == second
