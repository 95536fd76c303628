"""Speech recognition by connectionist temporal classification (Graves et al. 2006) on onnxruntime.

    format        ctc.json: what an artefact tells beside its graph
    engine        the recogniser: network -> search -> words
    network       waveforms -> log probabilities of tokens by frame
    posteriors    logits -> log probabilities
    vocabulary    tokens <-> words
    greedy        the best token of each frame
    beam          the most probable texts, with what a scorer adds to them
    texts         what both find, and what a scorer is
    scoring       what language model and hot words add to a text, token by token
    hot_words     the part of it that a request brings
    ngrams, arpa  a language model of words, and its file
    lexicon       which letters can follow the beginning of a word
    alignment     when the tokens of a text were said

Why no library searches here: pyctcdecode holds numpy below 2; flashlight-text has had no release since March 2024, no
wheels for Linux on ARM, no hot words, and with a language model writes only words of a list; kenlm comes without
wheels. The search is small.
"""
