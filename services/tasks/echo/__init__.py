"""Echo: every text comes back unchanged, through the whole serving path. The yardstick for overhead."""

from services.core.task import Kind, Method, Task
from services.tasks.echo.schema import EchoPart, EchoRequest, EchoResponse

__all__ = ["ECHO", "STREAM_ECHO", "TASK", "EchoPart", "EchoRequest", "EchoResponse"]

_PIPELINE = "services.tasks.echo.pipeline:EchoPipeline"

ECHO = Method(
    verb="Echo",
    request=EchoRequest,
    response=EchoResponse,
    pipeline=_PIPELINE,
)

STREAM_ECHO = Method(
    verb="StreamEcho",
    request=EchoRequest,
    response=EchoPart,
    pipeline=_PIPELINE,
    kind=Kind.SERVER_STREAM,
)

TASK = Task(
    name="echo",
    methods=(ECHO, STREAM_ECHO),
    examples=(EchoRequest(text=("Is this thing on?",)),),
    grpc_port=9099,
    opt_in=True,
)
