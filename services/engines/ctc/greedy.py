"""The best token of each frame (Graves et al. 2006, best path decoding)."""

import numpy as np

from services.engines.ctc.posteriors import Posteriors
from services.engines.ctc.texts import Text
from services.engines.ctc.vocabulary import Vocabulary


def best_path(heard: Posteriors, blank: int, vocabulary: Vocabulary) -> Text:
    """The text of the most probable path; its probability is that path's, a little less than the text's own."""
    path = heard.path
    first = np.concatenate([[True], path[1:] != path[:-1]])  # of each run of equal tokens
    tokens = path[first & (path != blank)]
    chance = float(heard.chances[np.arange(len(path)), path].sum())
    return Text(vocabulary.labels(tokens.tolist()), chance, chance)
