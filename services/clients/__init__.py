"""Clients of a Chorale server: REST and gRPC, for threads and for asyncio, with the same calls, errors and retries.

>>> with RestClient() as client:
...     answer = client.call(CLASSIFY, ClassifyRequest(text=("Not bad at all!",)))

What found nobody to answer it, or was refused as too much, is sent again within the call's time: after growing pauses,
and no sooner than the server asked. Whatever fails is a `ServingError`, on both protocols. Knows nothing of servers but
what they announce and what they send.
"""

from services.clients.calls import NEVER, CallOptions, Retry
from services.clients.grpc import ADDRESS, AsyncGrpcClient, GrpcClient
from services.clients.rest import URL, AsyncRestClient, RestClient
from services.core.errors import Code, ServingError

__all__ = [
    "ADDRESS",
    "NEVER",
    "URL",
    "AsyncGrpcClient",
    "AsyncRestClient",
    "CallOptions",
    "Code",
    "GrpcClient",
    "RestClient",
    "Retry",
    "ServingError",
]
