"""Text classification: the labels a text deserves, with calibrated probabilities."""

from services.core.task import Method, Task
from services.tasks.classification.schema import ClassifyRequest, ClassifyResponse

__all__ = ["CLASSIFY", "TASK", "ClassifyRequest", "ClassifyResponse"]

CLASSIFY = Method(
    verb="Classify",
    request=ClassifyRequest,
    response=ClassifyResponse,
    pipeline="services.tasks.classification.pipeline:ClassifyPipeline",
)

TASK = Task(
    name="classification",
    methods=(CLASSIFY,),
    examples=(
        ClassifyRequest(text=("I have never been happier with a purchase.",)),
        ClassifyRequest(text=("The delivery was late and the box was broken.", "Not bad at all!"), top_k=1),
    ),
    grpc_port=9001,
    evaluation="services.tasks.classification.evaluation:evaluate",
)
