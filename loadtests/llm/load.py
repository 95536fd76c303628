"""The load on a server: callers that stream completions, each its next once the last has ended.

Callers are as light as may be, since they share the cores with what is measured: they count tokens by the server's own
count at the end, and look at what is on the wire only for its first event and its end.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from loadtests.llm.shape import NEW_TOKENS, prompts

_COUNT = b'"completion_tokens":%d' % NEW_TOKENS


@dataclass(frozen=True)
class Measured:
    """Under one load.

    Args:
        rate: new tokens per second, all callers together.
        first: seconds to the first text of each answer, sorted.
    """

    rate: float
    first: tuple[float, ...]


async def measure(port: int, models: Sequence[str], seconds: float) -> Measured:
    """A caller for each of these models.

    Raises:
        ValueError: an answer was not whole.
    """
    await _run(port, models, 1.0)
    return await _run(port, models, seconds)


async def _run(port: int, models: Sequence[str], seconds: float) -> Measured:
    first: list[float] = []
    seeds = iter(range(int(time.time()), 2**62))  # no prompt twice: what was computed before would be found
    started = time.perf_counter()

    async def caller(model: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() - started < seconds:
            first.append(await _stream(reader, writer, _request(model, *prompts(1, next(seeds)))))
        writer.close()

    await asyncio.gather(*map(caller, models))
    return Measured(len(first) * NEW_TOKENS / (time.perf_counter() - started), tuple(sorted(first)))


async def _stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> float:
    """Ask, and read to the end; returns the seconds to the first event."""
    started = time.perf_counter()
    writer.write(request)
    data = await reader.readuntil(b"data: ")
    first = time.perf_counter() - started
    while not data.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"):
        if not (more := await reader.read(65536)):
            break
        data += more
    if _COUNT not in data:
        raise ValueError(f"not a whole answer: {data[-500:]!r}")
    return first


def _request(model: str, prompt: str) -> bytes:
    body = {
        "model": model,
        "prompt": prompt,
        "max_tokens": NEW_TOKENS,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    content = json.dumps(body).encode()
    head = "POST /v1/completions HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content
