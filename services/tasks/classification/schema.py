"""Request and answer of text classification; fields are those of ``chorale.classification.v1``."""

from pydantic import Field

from services.core.schema import LimitedTextRequest, Record, Response


class ClassifyRequest(LimitedTextRequest):
    """Texts to label."""

    top_k: int | None = Field(
        default=None, ge=1, le=10_000, description="Keep only the best labels of each text. Omitted: all labels."
    )


class LabelScore(Record):
    """A label and its probability."""

    label: str = Field(description="Name of the label.")
    score: float = Field(description="Calibrated probability, 0 to 1; the labels of a text add up to 1.")


class Classification(Record):
    """What one text was labelled."""

    labels: tuple[LabelScore, ...] = Field(description="Labels, most probable first.")


class ClassifyResponse(Response):
    """One result per text, in order."""

    results: tuple[Classification, ...] = Field(description="One per text of the request, in its order.")
