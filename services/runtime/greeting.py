"""What a server prints once it is ready: addresses, and calls that work when pasted."""

from collections.abc import Sequence

from services.core.schema import Request, bytes_field
from services.core.settings import Settings
from services.core.task import Method, Task
from services.edges import snippets
from services.edges.announce import example_body


def addresses(settings: Settings, lanes: Sequence[Task] = ()) -> list[str]:
    """One line per address; ``lanes`` are tasks with a REST and a gRPC lane of their own."""
    base = f"http://{settings.host}:{settings.rest_port}"
    security = "TLS" if settings.tls_certificate else "plaintext"
    lines = [f"REST  {base}", f"gRPC  {settings.host}:{settings.grpc_port}  ({security}; health and reflection on)"]
    for task in lanes:
        grpc = f"{settings.host}:{settings.lane_port(task.grpc_port)}"
        lines += [f"REST  {base}/{task.name}/v1/…  ({task.name} alone: no hop)", f"gRPC  {grpc}  (the same)"]
    return lines


def first_example(tasks: Sequence[Task]) -> tuple[Task, Method, Request]:
    """The first task's first example, and the method that takes it; rather one that needs no file."""
    task = next((task for task in tasks if bytes_field(type(task.examples[0])) is None), tasks[0])
    example = task.examples[0]
    return task, next(method for method in task.methods if isinstance(example, method.request)), example


def curl(method: Method, example: Request, settings: Settings) -> str:
    """The REST call."""
    url, schema = f"http://{settings.host}:{settings.rest_port}", method.request.model_json_schema()
    return snippets.curl(url, method.route, example_body(example), schema)


def grpcurl(task: Task, method: Method, example: Request, settings: Settings) -> str:
    """The gRPC call."""
    address = f"{settings.host}:{settings.grpc_port}"
    schema = method.request.model_json_schema()
    return snippets.grpcurl(address, task.rpc(method), example_body(example), schema, settings.tls_certificate)
