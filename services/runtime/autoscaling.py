"""How many replicas a task needs: from the engine time its replicas have on hand, not from request counts.

Ten texts and ten books are both ten requests; what tells whether a caller waits is how long the lanes need for what
is there. Serve counts only its own HTTP requests anyway, and calls on the gRPC lanes not at all. Serve applies the
delays and bounds of the deployment's autoscaling configuration to what the policy asks for.
"""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.serve.config import AutoscalingContext

WORK = "work_seconds"
"""What each replica reports: engine time on hand, waiting or running, per lane."""

TARGET_SECONDS = 0.2
"""Engine time on hand per replica that is wanted: lanes never idle, and nobody waits long."""


def policy(context: "AutoscalingContext") -> tuple[int, dict[str, Any]]:
    """Replicas so that each has `TARGET_SECONDS` of work; Serve's ``policy_function``."""
    reported = (context.aggregated_metrics or {}).get(WORK, {})
    return max(1, math.ceil(sum(reported.values()) / TARGET_SECONDS)), {}
