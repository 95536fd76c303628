"""Other servers for the benchmark, each with the model Chorale serves, in an environment of its own (``make peers``).

    model     tokenizer, onnxruntime session, softmax: the same code for all
    start     what all are told on the command line, and "X is ready"
    *_server  one server each, as its documentation sets up a text classifier
    install   the environments, from ``requirements``

Nothing here imports Chorale. What makes the comparison fair is written in README.md.
"""
