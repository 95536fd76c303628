"""``/v1/models`` while adapters come and go."""

from pathlib import Path
from typing import Any

from services.core.adapters import AdapterLibrary
from services.core.inference import Loaded
from services.core.settings import Settings
from services.engines.echo import EchoEngine
from services.tasks.echo.pipeline import EchoPipeline
from tests.adapters import BASE, CHECK, write_adapter
from tests.serving import TASKS, Server, fake_spec, free_grpc_port, free_port, running


async def cards(server: Server) -> dict[str, dict[str, object]]:
    return {card["id"]: card for card in (await server.rest.get("/v1/models")).json()["data"]}


async def card_of(server: Server, model: str) -> tuple[int, dict[str, Any]]:
    found = await server.rest.get(f"/v1/models/{model}")
    return found.status_code, found.json()


async def test_adapters_are_listed_while_they_are_there(tmp_path: Path) -> None:
    spec = fake_spec("tiny", "echo", default=True, max_adapter_rank=8)
    plain = fake_spec("plain", "echo")
    loaded = [Loaded(one, ("Echo", "StreamEcho"), EchoPipeline(one.id, EchoEngine())) for one in (spec, plain)]
    settings = Settings(home=tmp_path, rest_port=free_port(), grpc_port=free_grpc_port())
    library, source = AdapterLibrary(tmp_path), write_adapter(tmp_path / "source")
    async with running([task for task in TASKS if task.name == "echo"], loaded, settings) as server:
        assert {name: (card["parent"], card["root"]) for name, card in (await cards(server)).items()} == {
            "tiny@1": (None, "tiny@1"),
            "plain@1": (None, "plain@1"),
        }
        for base in (BASE, "plain@1", "unknown@1"):  # what no model here takes is not announced
            library.add(base, "poet", source, None, CHECK)
        card = (await cards(server))["tiny@1:poet@1"]
        assert (card["parent"], card["root"], card["task"], card["object"]) == (BASE, BASE, "echo", "model")
        assert len(await cards(server)) == 3
        assert await card_of(server, "tiny@1:poet@1") == await card_of(server, "tiny:poet") == (200, card)
        library.add(BASE, "poet", write_adapter(tmp_path / "other", seed=1), "2", CHECK, replace=True)
        assert [(await card_of(server, f"tiny:{name}"))[1]["id"] for name in ("poet", "poet@1")] == [
            "tiny@1:poet@2",  # what the name means to requests
            "tiny@1:poet@1",
        ]
        assert (await card_of(server, "tiny"))[0] == 200
        assert (await card_of(server, "tiny:other"))[0] == 404
        library.remove(BASE, "poet")
        assert len(await cards(server)) == 2
