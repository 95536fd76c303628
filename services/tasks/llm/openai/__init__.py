"""OpenAI's shapes of text generation, so that its clients work here unchanged.

    fields            what both routes' bodies share, and what is refused of what OpenAI's API has besides
    chat_body         bodies of ``/v1/chat/completions``
    chat              that route's answers
    completion_body   bodies of ``/v1/completions``
    completions       that route's answers
    route             how bodies become calls
    answers           what answers look like
    writing           what answers share

Source: openai/openai-python, ``types/chat`` and ``types``; the parameters beyond it are named as vLLM names them.
"""
