import copy
import pickle

import pytest
from pydantic import BaseModel, ValidationError

from services.core.errors import Code, ServingError, invalid
from services.tasks.classification.schema import ClassifyRequest


@pytest.mark.parametrize("code", Code)
@pytest.mark.parametrize(("param", "retry_after"), [(None, None), ("text[3]", 2.5)])
def test_an_error_survives_pickling_and_copying(code: Code, param: str | None, retry_after: float | None) -> None:
    error = ServingError(code, "Do this.", param, retry_after)
    for twin in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(twin) is ServingError
        assert (twin.code, twin.message, twin.param, twin.retry_after) == (code, "Do this.", param, retry_after)
        assert isinstance(twin.code, Code)
        assert str(twin) == f"{code.value}: Do this."


class Inner(BaseModel):
    size: int


class Outer(BaseModel):
    rows: list[list[Inner]]


@pytest.mark.parametrize(
    ("model", "data", "param"),
    [
        (ClassifyRequest, {"text": ["fine", "  "]}, "text[1]"),
        (ClassifyRequest, {"text": ["fine", 3]}, "text[1]"),
        (ClassifyRequest, {"text": []}, "text"),
        (ClassifyRequest, {}, "text"),
        (ClassifyRequest, {"text": "fine", "top_k": 0}, "top_k"),
        (Outer, {"rows": [[], [{"size": 1}, {"size": "x"}]]}, "rows[1][1].size"),
        (Outer, 7, None),
    ],
)
def test_invalid_names_the_field_and_the_index(model: type[BaseModel], data: object, param: str | None) -> None:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(data)
    error = invalid(caught.value)
    assert error.code is Code.INVALID_ARGUMENT
    assert error.param == param
    assert error.message.startswith(f"{param}: " if param else "input should be")
    assert "pydantic" not in error.message


def test_invalid_says_that_a_field_is_unknown_and_never_repeats_the_input() -> None:
    with pytest.raises(ValidationError) as caught:
        ClassifyRequest.model_validate({"text": "fine", "topk": "private words"})
    error = invalid(caught.value)
    assert error.message == "topk: is not a field of this request; remove it"
    assert error.param == "topk"
