from pathlib import Path

from services.core.engine import EngineOptions
from services.engines.echo import EchoEngine


def test_payloads_come_back_as_they_are() -> None:
    engine = EchoEngine.load(Path("/nowhere"), EngineOptions())
    assert list(engine.run(["a", "", "日本"])) == ["a", "", "日本"]
    engine.close()
