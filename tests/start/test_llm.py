"""The bundled language model on a local Ray cluster, asked by OpenAI's own client through the gateway and its lane."""

import openai
import pytest

from tests.runtime.process import Chorale

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

USER = [{"role": "user", "content": "What news from the prison?"}]


@pytest.mark.parametrize("prefix", ["", "/llm"])
def test_base_and_bundled_adapters_answer_each_in_their_own_way(server: Chorale, prefix: str) -> None:
    client = openai.OpenAI(base_url=f"{server.url}{prefix}/v1", api_key="none", max_retries=0)
    assert {card.id for card in client.models.list()} >= {
        "tiny-lm@1",
        "tiny-lm@1:prose@1",
        "tiny-lm@1:shakespeare@1",
    }
    said = {}
    for model in ("tiny-lm", "tiny-lm:shakespeare", "tiny-lm:prose"):
        asked = {"model": model, "messages": USER, "max_tokens": 40, "temperature": 0}
        whole = client.chat.completions.create(**asked).choices[0].message.content  # type: ignore[call-overload]
        stream = client.chat.completions.create(**asked, stream=True)  # type: ignore[call-overload]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole
        said[model] = whole
    assert len(set(said.values())) == 3
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="tiny-lm:none", messages=USER)  # type: ignore[arg-type]
