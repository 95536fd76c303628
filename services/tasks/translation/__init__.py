"""Translation: texts in another language, with their formatting and what is to be kept."""

from services.core.task import Kind, Method, Task
from services.tasks.translation.schema import TranslatePart, TranslateRequest, TranslateResponse

__all__ = ["STREAM_TRANSLATE", "TASK", "TRANSLATE", "TranslatePart", "TranslateRequest", "TranslateResponse"]

_PIPELINE = "services.tasks.translation.pipeline:TranslatePipeline"

TRANSLATE = Method(
    verb="Translate",
    request=TranslateRequest,
    response=TranslateResponse,
    pipeline=_PIPELINE,
)

STREAM_TRANSLATE = Method(
    verb="StreamTranslate",
    request=TranslateRequest,
    response=TranslatePart,
    pipeline=_PIPELINE,
    kind=Kind.SERVER_STREAM,
)

TASK = Task(
    name="translation",
    methods=(TRANSLATE, STREAM_TRANSLATE),
    examples=(
        TranslateRequest(text=("The weather is nice today. Shall we go for a walk?",), target="de"),
        TranslateRequest(
            text=("Wo ist der Bahnhof?", "Ich habe keine Zeit."), source="de", target="en", alternatives=1
        ),
    ),
    grpc_port=9005,
    evaluation="services.tasks.translation.evaluation:evaluate",
)
