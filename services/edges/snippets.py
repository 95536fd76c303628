"""A call as people paste it: curl, grpcurl and Python. Made from what a server announces; knows no task."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from pprint import pformat
from typing import Any


def curl(url: str, route: str, body: Mapping[str, Any]) -> str:
    """The REST call."""
    return f"curl -s {shlex.quote(url + route)} -H 'Content-Type: application/json' -d {_quoted(body)}"


def grpcurl(
    address: str, rpc: str, body: Mapping[str, Any], schema: Mapping[str, Any], certificate: Path | None = None
) -> str:
    """The gRPC call; reflection spares the client the proto files.

    Args:
        address: host and port.
        rpc: path of the method.
        body: as for REST.
        schema: JSON Schema of the request: protobuf has a list where JSON may have a single text.
        certificate: of the server or its authority, for TLS.
    """
    security = f"-cacert {shlex.quote(str(certificate))}" if certificate else "-plaintext"
    method = shlex.quote(rpc.removeprefix("/"))
    return f"grpcurl {security} -d {_quoted(_as_message(body, schema))} {shlex.quote(address)} {method}"


def python(url: str, route: str, body: Mapping[str, Any]) -> str:
    """The same from Python, with Chorale's own client."""
    call = f"answer = client.post({route!r}, {pformat(dict(body), width=100, sort_dicts=False)})"
    lines = ["from services.clients import RestClient", "", f"with RestClient({url!r}) as client:"]
    return "\n".join([*lines, *(f"    {line}" for line in call.splitlines()), "print(answer)"])


def _quoted(body: Mapping[str, Any]) -> str:
    return shlex.quote(json.dumps(body, ensure_ascii=False))


def _as_message(body: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    listed = {
        name
        for name, field in schema.get("properties", {}).items()
        if any(choice.get("type") == "array" for choice in field.get("anyOf", ()))
    }
    return {name: [value] if name in listed and isinstance(value, str) else value for name, value in body.items()}
