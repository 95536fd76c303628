"""vLLM's bodies, as its clients send them."""

import json
from typing import Any

import pytest

from services.core.errors import Code, ServingError
from services.tasks.llm.adapter_schema import LoadAdapterRequest, UnloadAdapterRequest
from services.tasks.llm.vllm import LOAD, UNLOAD, decode_load, decode_unload


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"lora_name": "poet"}, {"name": "poet"}),
        ({"lora_name": "tiny:poet"}, {"model": "tiny", "name": "poet"}),
        ({"lora_name": "tiny@1:poet@2"}, {"model": "tiny@1", "name": "poet", "version": "2"}),
        ({"lora_name": "poet@2"}, {"name": "poet", "version": "2"}),
        ({"lora_name": "poet", "base_model_name": "tiny"}, {"model": "tiny", "name": "poet"}),
        ({"lora_name": "tiny:poet", "base_model_name": "tiny"}, {"model": "tiny", "name": "poet"}),
        ({"lora_name": "poet", "base_model_name": None}, {"name": "poet"}),
    ],
)
def test_names_with_and_without_their_base(body: dict[str, Any], fields: dict[str, str]) -> None:
    load = json.dumps({**body, "lora_path": "/x", "load_inplace": True}).encode()
    assert decode_load(load) == (LoadAdapterRequest(path="/x", load_inplace=True, **fields), body["lora_name"])
    unload = json.dumps({**body, "lora_int_id": 7}).encode()
    assert decode_unload(unload) == (UnloadAdapterRequest(**fields), body["lora_name"])


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[]",
        '{"lora_path": "/x"}',
        '{"lora_name": "", "lora_path": "/x"}',
        '{"lora_name": "../../x", "lora_path": "/x"}',
        '{"lora_name": "Poet", "lora_path": "/x"}',
        '{"lora_name": "poet@", "lora_path": "/x"}',
        '{"lora_name": "tiny:", "lora_path": "/x"}',
        '{"lora_name": "a:b:c", "lora_path": "/x"}',
        '{"lora_name": "poet"}',
        '{"lora_name": "poet", "lora_path": 7}',
        '{"lora_name": "poet", "lora_path": "/x", "load_in_place": true}',
        '{"lora_name": "tiny:poet", "lora_path": "/x", "base_model_name": "other"}',
    ],
)
def test_bodies_that_are_not_valid(body: str) -> None:
    with pytest.raises(ServingError) as caught:
        decode_load(body.encode())
    assert caught.value.code == Code.INVALID_ARGUMENT


def test_answers_are_vllms_words() -> None:
    for dialect, body, done in (
        (LOAD, b'{"lora_name": "poet", "lora_path": "/x"}', "added"),
        (UNLOAD, b'{"lora_name": "poet"}', "removed"),
    ):
        _, writer = dialect.decode(body, "id")
        assert writer.whole([]) == f"Success: LoRA adapter 'poet' {done} successfully.".encode()
