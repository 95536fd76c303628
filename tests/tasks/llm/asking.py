"""Asking a served language model, and waiting until it has done with all that was asked."""

import asyncio
from pathlib import Path
from typing import Any

import openai

from tests.serving import Server


def client(server: Server) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{server.rest.base_url}/v1", api_key="none", max_retries=0, timeout=60)


def body(**fields: Any) -> dict[str, Any]:
    return {"prompt": "hell", "max_tokens": 12, "temperature": 0, "ignore_eos": True, **fields}


async def text(server: Server, **fields: Any) -> str:
    answer = await server.post("/v1/generate", body(**fields))
    assert answer.status_code == 200, answer.text
    found: str = answer.json()["choices"][0]["text"]
    return found


async def load(server: Server, home: Path, name: str, source: str = "", **fields: Any) -> Any:
    path = str(home / "saved" / (source or name))
    return await server.post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": path, **fields})


async def settled(server: Server) -> None:
    """Until the metrics say that nothing runs or waits and no block is held."""
    names = ("chorale_running_sequences", "chorale_cache_blocks", "chorale_queue_depth", "chorale_inflight")
    async with asyncio.timeout(20):
        while True:
            lines = (await server.rest.get("/metrics")).text.splitlines()
            if not any(float(line.rpartition(" ")[2]) for line in lines if line.startswith(names)):
                return
            await asyncio.sleep(0.02)
