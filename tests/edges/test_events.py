"""Server-sent events: what is written is read, however the network cuts it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.core.errors import Code
from services.edges.events import DONE, EventReader, event, failure

texts = st.lists(st.text(), max_size=8)


@given(texts, st.data())
def test_however_it_is_cut(texts: list[str], data: st.DataObject) -> None:
    sent = [json.dumps({"text": text}, ensure_ascii=data.draw(st.booleans())).encode() for text in texts]
    wire = b"".join(map(event, [*sent, DONE, b"after the end"]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=20)))
    reader = EventReader()
    found = [
        one for start, end in zip([0, *cuts], [*cuts, len(wire)], strict=True) for one in reader.feed(wire[start:end])
    ]
    assert found == sent
    assert reader.is_done


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_whatever_comes_is_read_or_refused(chunks: list[bytes]) -> None:
    reader = EventReader()
    try:
        for chunk in chunks:
            list(reader.feed(chunk))
    except ValueError:
        pass


def test_an_event_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.edges.events.LONGEST", 100)
    with pytest.raises(ValueError, match="without end"):
        list(EventReader().feed(b"data: " + b"x" * 200))


def test_an_error_is_told_from_an_answer() -> None:
    error = failure(b'{"error": {"code": "INTERNAL", "message": "m", "param": null}}')
    assert error is not None
    assert error.code is Code.INTERNAL
    assert failure(b'{"model": "a", "error": {"code": "INTERNAL"}}') is None
