"""Echo: every text comes back unchanged, through the whole serving path. The yardstick for overhead."""

from services.core.task import Method, Task
from services.tasks.echo.schema import EchoRequest, EchoResponse

__all__ = ["ECHO", "TASK", "EchoRequest", "EchoResponse"]

ECHO = Method(
    verb="Echo",
    request=EchoRequest,
    response=EchoResponse,
    pipeline="services.tasks.echo.pipeline:EchoPipeline",
)

TASK = Task(
    name="echo",
    methods=(ECHO,),
    examples=(EchoRequest(text=("Is this thing on?",)),),
    grpc_port=9099,
    opt_in=True,
)
