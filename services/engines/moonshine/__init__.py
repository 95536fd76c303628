"""English speech recognition by Moonshine (Jeffries et al. 2024) on onnxruntime: no torch, no spectrogram.

    recognizer   the engine
    network      the two graphs: an utterance into keys and values, and steps
    search       beam search over the hypotheses of an utterance
    repeats      hypotheses that go round in a circle
    alignment    when each token was said
    words        tokens into words
    pauses       words do not reach into them

Reads ``encoder.onnx``, ``decoder.onnx`` and ``tokenizer.json`` of an artefact.
"""
