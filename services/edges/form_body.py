"""A request written as a form, as clients and gateways send it: its fields as JSON, its bytes as they are.

What `multipart` reads. In JSON, bytes would be base64: a third longer, and all in memory.
"""

from collections.abc import AsyncIterator, Iterator

from services.core.context import new_request_id
from services.core.forms import REQUEST
from services.core.schema import Request, bytes_field
from services.edges.multipart import MEDIA

_PIECE = 256 * 1024


class FormBody:
    """The body of one request; may be sent several times.

    Args:
        fields: all but the bytes, as JSON.
        name: of the field of bytes.
        content: of that.
    """

    def __init__(self, fields: str, name: str, content: bytes | memoryview) -> None:
        boundary = new_request_id()  # 128 random bits: in no file
        self._file = memoryview(content).cast("B")
        self._head = (
            f"--{boundary}\r\nContent-Disposition: form-data; name={REQUEST}\r\n\r\n{fields}\r\n"
            f'--{boundary}\r\nContent-Disposition: form-data; name={name}; filename="{name}"\r\n\r\n'
        ).encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        length = len(self._head) + len(self._file) + len(self._tail)
        self.headers = {"content-type": f"{MEDIA}; boundary={boundary}", "content-length": str(length)}

    def __iter__(self) -> Iterator[bytes]:
        """The body, piece by piece."""
        yield self._head
        for start in range(0, len(self._file), _PIECE):
            yield bytes(self._file[start : start + _PIECE])
        yield self._tail

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The same, for asyncio."""
        for piece in self:
            yield piece


def form_of(request: Request) -> FormBody | None:
    """The form that a request is best sent as; None for one without bytes."""
    name = bytes_field(type(request))
    if name is None or not getattr(request, name):
        return None
    return FormBody(request.model_dump_json(exclude_unset=True, exclude={name}), name, getattr(request, name))


def only_bytes(request: Request) -> bytes | memoryview | None:
    """The bytes of a request of nothing else, which a WebSocket sends as they are; None for any other."""
    name = bytes_field(type(request))
    return getattr(request, name) if name and request.model_fields_set == {name} else None
