"""Continuous batching: sequences join and leave between the steps of one engine.

    records      what is asked for, and who reads what comes
    blocks       the KV cache as blocks: who holds which, and which prefixes are there already
    scheduler    which tokens of which sequences the next step computes
    sampling     from logits to a token
    penalties    what a sequence's own tokens and biases add to its logits
    continuous   the thread that steps, and the calls that wait for it

Knows tokens, logits, costs and deadlines; no texts, requests, protocols or tensors.
"""
