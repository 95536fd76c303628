"""From which language to which each text of a request is translated; finds what the request leaves open.

Knows what a model can translate. Knows no sentences.
"""

from collections.abc import Sequence

from services.core.catalog import ModelSpec
from services.core.errors import Code, ServingError
from services.tasks.translation.languages import AUTO, Pair, known, pairs_of
from services.tasks.translation.schema import TranslateRequest
from services.tasks.translation.text import LanguageDetector, readable

_LISTED = 40
"""Most pairs that an error lists."""


class Directions:
    """Those of one model."""

    def __init__(self, spec: ModelSpec, detector: LanguageDetector) -> None:
        self._spec = spec
        self._detector = detector
        self.pairs = pairs_of(spec)

    def of(self, request: TranslateRequest) -> list[Pair]:
        """One for each text; where its two languages are the same, the text is in the target language already.

        Raises:
            ServingError: INVALID_ARGUMENT for languages the model does not translate between.
        """
        target = known(request.target, self._spec.sources_of)
        if target is None:
            raise self._unsupported(f"{self._spec.id} does not translate to {request.target!r}", "target")
        sources = self._spec.sources_of[target]
        if request.source == AUTO:
            return [self._detected(request, index, sources, target) for index in range(len(request.text))]
        if request.source == request.target:
            message = f"source and target are both {request.source!r}; give two languages."
            raise ServingError(Code.INVALID_ARGUMENT, message, "target")
        source = known(request.source, sources)
        if source is None:
            raise self._unsupported(f"{self._spec.id} does not translate {request.source!r} to {target!r}", "source")
        return [Pair(source, target)] * len(request.text)

    def _detected(self, request: TranslateRequest, index: int, sources: Sequence[str], target: str) -> Pair:
        text = readable(request.text[index]) if request.format == "html" else request.text[index]
        found = self._detector.detect(text, (*sources, target)).language
        if found not in (*sources, target):
            what = f"text[{index}] seems to be in {found!r}, which {self._spec.id} does not translate to {target!r};"
            raise self._unsupported(f"{what} if it is not, give its source", f"text[{index}]")
        return Pair(found, target)

    def _unsupported(self, what: str, param: str) -> ServingError:
        listed = ", ".join(map(str, self.pairs[:_LISTED])) + (", …" if len(self.pairs) > _LISTED else "")
        return ServingError(Code.INVALID_ARGUMENT, f"{what}; it translates: {listed}.", param)
