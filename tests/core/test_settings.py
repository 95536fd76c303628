from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.core.settings import BUNDLED_CATALOG, Settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"CHORALE_{name.upper()}", raising=False)


def test_defaults_listen_on_loopback_and_find_the_bundled_catalog() -> None:
    settings = Settings()
    assert settings.host == "127.0.0.1"
    assert (settings.rest_port, settings.grpc_port) == (8000, 9000)
    assert settings.tasks == ()
    assert (settings.catalog[0] / "echo.yaml").is_file()
    assert settings.cpus >= 1


def test_the_environment_is_read_with_its_prefix_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHORALE_REST_PORT", "8123")
    monkeypatch.setenv("GRPC_PORT", "9123")
    settings = Settings()
    assert (settings.rest_port, settings.grpc_port) == (8123, 9000)


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHORALE_REST_PORT", "8123")
    assert Settings(rest_port=8124).rest_port == 8124


@pytest.mark.parametrize(
    ("given", "expected"), [("a", ("a",)), ("a,b", ("a", "b")), (" a , b ,", ("a", "b")), ("", ()), (" , ", ())]
)
def test_comma_lists(monkeypatch: pytest.MonkeyPatch, given: str, expected: tuple[str, ...]) -> None:
    monkeypatch.setenv("CHORALE_TASKS", given)
    assert Settings().tasks == expected


def test_catalog_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHORALE_CATALOG", f"bundled, {tmp_path}")
    assert Settings().catalog == (BUNDLED_CATALOG, tmp_path)
    monkeypatch.setenv("CHORALE_CATALOG", str(tmp_path / "missing"))
    with pytest.raises(ValidationError, match="no folder"):
        Settings()


def test_adapter_roots_are_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert Settings().adapter_roots == ()
    monkeypatch.setenv("CHORALE_ADAPTER_ROOTS", f"{tmp_path}, .")
    assert Settings().adapter_roots == (tmp_path, Path.cwd())
    monkeypatch.setenv("CHORALE_ADAPTER_ROOTS", str(tmp_path / "missing"))
    with pytest.raises(ValidationError, match="no folder"):
        Settings()


def test_rest_and_grpc_need_a_port_each() -> None:
    with pytest.raises(ValidationError, match="need a port each"):
        Settings(rest_port=7000, grpc_port=7000)


@pytest.mark.parametrize(
    ("fields", "valid"),
    [
        ({}, True),
        ({"tls_certificate": "c", "tls_key": "k"}, True),
        ({"tls_certificate": "c", "tls_key": "k", "tls_client_ca": "a"}, True),
        ({"tls_certificate": "c"}, False),
        ({"tls_key": "k"}, False),
        ({"tls_client_ca": "a"}, False),
    ],
)
def test_tls_is_whole_or_off(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fields: dict[str, str], valid: bool
) -> None:
    for name, value in fields.items():
        (tmp_path / value).touch()
        monkeypatch.setenv(f"CHORALE_{name.upper()}", str(tmp_path / value))
    if valid:
        assert {name for name in fields if getattr(Settings(), name) == tmp_path / fields[name]} == set(fields)
    else:
        with pytest.raises(ValidationError, match="CHORALE_TLS_CERTIFICATE and CHORALE_TLS_KEY"):
            Settings()


@pytest.mark.parametrize(
    "fields",
    [
        {"rest_port": 0},
        {"grpc_port": 65536},
        {"cpus": 0},
        {"replicas": 0},
        {"default_timeout": 0},
        {"max_timeout": -1},
        {"drain_seconds": -1},
        {"max_request_bytes": 0},
        {"log_level": "loud"},
        {"tls_certificate": "/no/such/file"},
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(fields))):
        Settings(**fields)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        setattr(Settings(), "rest_port", 8001)  # noqa: B010


def test_a_tilde_in_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHORALE_HOME", "~/artefacts")
    assert Settings().home == Path.home() / "artefacts"


def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHORALE_TLS_CERTIFICATE", "")
    assert Settings().tls_certificate is None
