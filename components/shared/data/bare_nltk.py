"""NLTK without the classifiers and statistics that it imports, and that nothing here uses.

They are three of the four seconds that its import takes.
"""

import sys

# An import of what is None here fails, and NLTK does without.
_UNUSED = {"scipy.stats", "sklearn"} - sys.modules.keys()
sys.modules.update(dict.fromkeys(_UNUSED))  # type: ignore[arg-type]
try:
    import nltk as nltk
finally:
    for name in _UNUSED:
        del sys.modules[name]
