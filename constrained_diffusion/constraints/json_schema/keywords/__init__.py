"""The keywords of JSON Schema, one small function for each case.

To enforce one more keyword, write what it says if it holds and if it fails, and name it in the table of its group.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from constrained_diffusion.constraints.json_schema.facts import ALL_TYPES
from constrained_diffusion.constraints.json_schema.keywords import arrays, logic, objects, scalars
from constrained_diffusion.constraints.json_schema.keywords.base import Keyword, passed, refused

_ANNOTATIONS: Final = (
    *("$schema", "$id", "id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$vocabulary", "$comment"),
    *("$defs", "definitions", "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"),
    *("contentEncoding", "contentMediaType", "contentSchema"),
)
_OLD: Final = ("extends", "disallow", "divisibleBy")
_REASON: Final = "it is of draft 3"

TABLE: Final[Mapping[str, Keyword]] = MappingProxyType(
    {
        **logic.KEYWORDS,
        **scalars.KEYWORDS,
        **arrays.KEYWORDS,
        **objects.KEYWORDS,
        **{name: Keyword("refused", refused(name, ALL_TYPES, _REASON)) for name in _OLD},
        **dict.fromkeys(_ANNOTATIONS, Keyword("annotation", passed)),
    }
)
"""What becomes of each keyword that any draft knows."""

KEYWORDS: Final[Mapping[str, str]] = MappingProxyType({name: keyword.fate for name, keyword in TABLE.items()})
"""The same for a reader: ``exact``, ``partial``, ``refused`` or ``annotation`` (read past)."""
