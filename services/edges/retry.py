"""What a gRPC client should be told so that a replica's death costs it nothing: the standard retry policy.

A call under way in a replica that dies ends as UNAVAILABLE at its client, and only the client can send it again. gRPC
does so by itself, given a service config (gRFC A6). For clients and tests; the servers know nothing of it.
"""

import json
from collections.abc import Sequence
from typing import Any

from services.core.task import Kind, Task

_POLICY = {
    "maxAttempts": 5,
    "initialBackoff": "0.05s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    # CANCELLED is what grpc's core answers to a call that reaches a server as it shuts down; none of our code saw it.
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}


def channel_options(tasks: Sequence[Task]) -> list[tuple[str, Any]]:
    """Options for a channel on which calls that may be answered twice are sent again when their replica is gone."""
    names = [
        {"service": task.service, "method": method.verb}
        for task in tasks
        for method in task.methods
        if method.idempotent and method.kind is Kind.UNARY
    ]
    return [
        ("grpc.service_config", json.dumps({"methodConfig": [{"name": names, "retryPolicy": _POLICY}]})),
        # A replica that comes back is found again within a second; by default a client may wait for two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
    ]
