from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.core.catalog import BatchPolicy, Catalog, ModelSpec, Source, read_catalog
from services.core.errors import Code, ServingError


def spec(name: str = "a", version: str = "1", task: str = "t", **fields: Any) -> ModelSpec:
    return ModelSpec(task=task, name=name, version=version, description="", engine="fake", licence="none", **fields)


def test_a_model_is_found_by_id_name_alias_and_as_the_default() -> None:
    small, large = spec("small", aliases=("s",)), spec("large", default=True)
    catalog = Catalog([small, large])
    assert catalog.resolve("t", "small@1") is small
    assert catalog.resolve("t", "small") is small
    assert catalog.resolve("t", "s") is small
    assert catalog.resolve("t", None) is large
    assert catalog.of("t") == (small, large)
    assert catalog.of("other") == ()


def test_a_bare_name_means_the_newest_version_which_is_the_last_in_the_catalog() -> None:
    old, new = spec(version="9", default=True), spec(version="10")
    catalog = Catalog([old, new])
    assert catalog.resolve("t", "a") is new
    assert catalog.resolve("t", "a@9") is old
    assert catalog.resolve("t", None) is old


@pytest.mark.parametrize("model", ["b", "a@2", "A", "a@", ""])
def test_an_unknown_model_is_never_replaced_by_another(model: str) -> None:
    with pytest.raises(ServingError, match=r"use one of: a@1\.") as caught:
        Catalog([spec(default=True)]).resolve("t", model)
    assert (caught.value.code, caught.value.param) == (Code.NOT_FOUND, "model")


@pytest.mark.parametrize("model", ["a:poet", "a@1:poet", "a@1:poet@2", "s:poet"])
def test_of_a_model_with_an_adapter_the_base_is_found_if_it_takes_some(model: str) -> None:
    base = spec(default=True, aliases=("s",), max_adapter_rank=8)
    assert Catalog([base]).resolve("t", model) is base
    with pytest.raises(ServingError, match=r"use one of: a@1\."):
        Catalog([spec(default=True, aliases=("s",))]).resolve("t", model)


@pytest.mark.parametrize("model", ["b:poet", "a@2:poet", "a:", ":poet"])
def test_of_a_model_with_an_adapter_the_base_must_be_known(model: str) -> None:
    with pytest.raises(ServingError, match=r"use one of: a@1\."):
        Catalog([spec(default=True, max_adapter_rank=8)]).resolve("t", model)


def test_a_model_of_another_task_is_not_found_and_a_task_may_have_none() -> None:
    catalog = Catalog([spec(default=True)])
    for model in ("a", None):
        with pytest.raises(ServingError, match="use one of: none"):
            catalog.resolve("other", model)


@pytest.mark.parametrize(
    "second",
    [spec(), spec("b", aliases=("a",))],
    ids=["same id", "alias is a name"],
)
def test_two_models_may_not_share_a_name(second: ModelSpec) -> None:
    with pytest.raises(ValueError, match="two models of task t are called a"):
        Catalog([spec(default=True), second])


def test_two_tasks_may_share_a_name() -> None:
    first, second = spec(default=True), spec(task="u", default=True)
    assert Catalog([first, second]).resolve("u", "a") is second


@pytest.mark.parametrize(("defaults", "count"), [((False, False), 0), ((True, True), 2)])
def test_a_task_needs_exactly_one_default(defaults: tuple[bool, bool], count: int) -> None:
    with pytest.raises(ValueError, match=f"task t needs exactly one .* it has {count}"):
        Catalog([spec("a", default=defaults[0]), spec("b", default=defaults[1])])


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        setattr(spec(), "max_tokens", 3)  # noqa: B010


@pytest.mark.parametrize(
    "field", ["group_items", "group_cost", "window_items", "queue_items", "queue_cost", "queue_seconds"]
)
def test_bounds_of_a_batch_policy_are_positive(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        BatchPolicy.model_validate({field: 0})


@pytest.mark.parametrize("uri", ["", "http://x", "bundled:", "hub"])
def test_a_source_has_a_known_scheme(uri: str) -> None:
    with pytest.raises(ValidationError, match="uri"):
        Source(uri=uri)


ENTRY = "{name: m, description: d, default: true, engine: fake, licence: none"


def read(folder: Path, text: str) -> Catalog:
    (folder / "t.yaml").write_text(text, encoding="utf-8")
    return read_catalog([folder], ["t", "without-a-file"])


def test_a_file_gives_its_task_and_folders_add_up(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "t.yaml").write_text("models: [{name: n, description: d, engine: fake, licence: none}]")
    read(tmp_path, f"models: [{ENTRY}, batch: {{group_items: 9}}}}]")
    catalog = read_catalog([tmp_path, tmp_path / "more"], ["t"])
    assert [found.id for found in catalog.of("t")] == ["m@1", "n@1"]
    assert catalog.resolve("t", "m").batch.group_items == 9


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (f"models: [{ENTRY}, engin: onnx}}]", "engin"),
        (f"models: [{ENTRY}, precision: int3}}]", "precision"),
        (f"models: [{ENTRY}, version: 1}}]", "version"),
        (f"models: [{ENTRY}, batch: {{group_items: many}}}}]", r"batch\.group_items"),
        (f"models: [{ENTRY}, aliases: [fine, Not Fine]}}]", r"aliases\[1\]"),
        (f"models: [{ENTRY}, sources: {{w: {{uri: 'bundled:w', sha256: {{f: abc}}}}}}}}]", r"sources\.w\.sha256\.f"),
        ("models: [{name: m}]", "description"),
    ],
)
def test_an_invalid_entry_is_refused_with_its_file_and_field(tmp_path: Path, text: str, field: str) -> None:
    with pytest.raises(ValueError, match=rf"t\.yaml: models\[0\]: {field}: "):
        read(tmp_path, text)


@pytest.mark.parametrize("text", ["", "models:", "models: 3", "- a", "models: [a]", "models: [", "model: []"])
def test_what_is_no_catalog_is_refused_with_its_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"t\.yaml: not a catalog file"):
        read(tmp_path, text)


def test_an_entry_cannot_move_itself_to_another_task(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="task"):
        read(tmp_path, f"models: [{ENTRY}, task: elsewhere}}]")


def test_a_file_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.yaml").write_bytes(b"models: [{description: caf\xe9}]")
    with pytest.raises(ValueError, match=r"t\.yaml"):
        read_catalog([tmp_path], ["t"])


def test_a_later_folders_default_wins_and_both_models_stay(tmp_path: Path) -> None:
    entry = "{name: NAME, description: d, default: true, engine: fake, licence: none}"
    for folder in ("ours", "theirs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.yaml").write_text(f"models: [{entry.replace('NAME', folder)}]")
    catalog = read_catalog([tmp_path / "ours", tmp_path / "theirs"], ["t"])
    assert catalog.resolve("t", None).name == "theirs"
    assert catalog.resolve("t", "ours").name == "ours"
