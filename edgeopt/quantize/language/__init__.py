"""Weights of language models as blocks of 4 and 8 bits: the preset ``llm``, its search, its measurements and its guard."""
