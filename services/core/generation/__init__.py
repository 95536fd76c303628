"""Continuous batching: sequences join and leave while others are generated.

    records      what is asked for, and who reads what comes
    calls        who waits for it
    continuous   lanes by model, and the calls that wait for them
    lane         who may come in to an engine
    active       a sequence on its way to its caller

Engines that are stepped (`Generator`):

    stepped      the thread that steps
    blocks       the KV cache as blocks: who holds which, and which prefixes are there already
    scheduler    which tokens of which sequences the next step computes
    stepping     one step
    sampling     from logits to a token
    penalties    what a sequence's own tokens and biases add to its logits

Engines that do all that by themselves (`SelfScheduled`):

    relayed      a task for each sequence, on the event loop

Knows tokens, logits, costs and deadlines; no texts, requests, protocols or tensors.
"""
