"""English speech recognition on pocketsphinx, a decoder of hidden Markov models (Huggins-Daines et al., 2006).

recognizer   the engine: a pool of lanes
lane         a decoder, and the searches that it has ready
decoder      one decoder of the C library, in the only order of calls that is safe
library      the C library: its functions and their types
searches     what a request asks for -> what the library is to search for
rules, lexemes, jsgf, automaton   a grammar: checked and bounded before the library sees it
keywords     phrases to spot, and how sure it must be of each
dictionary   the words that a model can hear
answers      what was found -> words, times, probabilities, other texts
"""
