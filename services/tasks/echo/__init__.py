"""Echo: every text comes back unchanged, through the whole serving path. The yardstick for overhead."""

from services.core.task import Method, Task
from services.tasks.echo.schema import EchoRequest, EchoResponse

TASK = Task(
    name="echo",
    methods=(
        Method(
            verb="Echo",
            request=EchoRequest,
            response=EchoResponse,
            pipeline="services.tasks.echo.pipeline:EchoPipeline",
        ),
    ),
    examples=(EchoRequest(text=("Is this thing on?",)),),
    grpc_port=9099,
    opt_in=True,
)
