"""A call as people paste it: curl, grpcurl and Python. Made from what a server announces; knows no task.

Bytes are never in it: where a request has some, the call reads a file, which people name as theirs is.
"""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from pprint import pformat
from typing import Any, NamedTuple

from services.core.forms import LISTED


def curl(url: str, route: str, body: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """The REST call: JSON, or a form where there is a file.

    Args:
        url: of the server.
        route: of the method.
        body: the request.
        schema: JSON Schema of it: what is bytes is a string in JSON.
    """
    call = f"curl -s {shlex.quote(url + route)}"
    file = _file(body, schema)
    if file is None:
        return f"{call} -H 'Content-Type: application/json' -d {shlex.quote(_json(body))}"
    # With -F, curl would take a text that begins with @ for the name of a file.
    texts = [f"--form-string {shlex.quote(text)}" for text in _texts(file.others(body))]
    return " ".join([call, f"-F {file.field}=@{file.name}", *texts])


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
    target = f"{shlex.quote(address)} {shlex.quote(rpc.removeprefix('/'))}"
    message, file = _as_message(body, schema), _file(body, schema)
    if file is None:
        return f"grpcurl {security} -d {shlex.quote(_json(message))} {target}"
    start, others = f'{{"{file.field}": "', _json(file.others(message))[1:]
    end = f'", {others}' if len(others) > 1 else '"}'
    # printf is no process, whose arguments could not be as long as files are; not every base64 has -w0.
    base64 = f"\"$(base64 < {file.name} | tr -d '\\n')\""
    return f"printf %s {shlex.quote(start)} {base64} {shlex.quote(end)} | grpcurl {security} -d @ {target}"


def python(url: str, route: str, body: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """The same from Python, with Chorale's own client; arguments as of `curl`."""
    file = _file(body, schema)
    shown = {**body, file.field: _Read(file.name)} if file else dict(body)
    call = f"answer = client.post({route!r}, {pformat(shown, width=100, sort_dicts=False)})"
    lines = ["from pathlib import Path", ""] if file else []
    lines += ["from services.clients import RestClient", "", f"with RestClient({url!r}) as client:"]
    return "\n".join([*lines, *(f"    {line}" for line in call.splitlines()), "print(answer)"])


class _File(NamedTuple):
    """The file of a request, which has one at most (see `bytes_field`)."""

    field: str
    name: str

    def others(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The fields that are no file."""
        return {name: value for name, value in body.items() if name != self.field}


class _Read:
    """Python that reads a file."""

    def __init__(self, file: str) -> None:
        self._file = file

    def __repr__(self) -> str:
        return f"Path({self._file!r}).read_bytes()"


def _file(body: Mapping[str, Any], schema: Mapping[str, Any]) -> _File | None:
    for name, field in schema.get("properties", {}).items():
        if name in body and field.get("format") == "byte":
            is_audio = field.get("contentMediaType", "").startswith("audio/")
            return _File(name, "recording.wav" if is_audio else "file")
    return None


def _texts(fields: Mapping[str, Any]) -> list[str]:
    """Fields as a form has them; a list is several of the same name."""
    found = []
    for name, value in fields.items():
        if isinstance(value, list | tuple):
            found += [f"{name}{LISTED}={_text(one)}" for one in value]
        else:
            found.append(f"{name}={_text(value)}")
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _as_message(body: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    listed = {
        name
        for name, field in schema.get("properties", {}).items()
        if any(choice.get("type") == "array" for choice in field.get("anyOf", ()))
    }
    return {name: [value] if name in listed and isinstance(value, str) else value for name, value in body.items()}
