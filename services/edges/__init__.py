"""Protocol edges: decode, call, encode. Both REST and gRPC are made from the Task records; neither knows a task."""
