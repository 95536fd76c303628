"""The benchmark: contenders side by side in one run, one load generator, every answer checked.

run         the plan: rounds, interleaving, progress, and what is written
contenders  what is measured: how each server is started, and where it answers
peers       contenders: other servers, each as its users run it and with sorted groups (`loadtests.peers`)
bare        a contender: one process, the same batcher and engine, no Chorale edges
direct      a contender: the engine with no server at all
server      a server process: start, ready, last words, stop
processes   a server's whole process tree: CPU, memory, sockets
generator   the load generator as the run sees it: a process of its own
load        the load generator itself; lanes (HTTP), grpc_lanes and http2 (gRPC) keep requests in flight
samples     requests, and the answers they must get
result      what was measured; figures: what must be reached
report      Markdown and JSON; plot: the picture
"""
