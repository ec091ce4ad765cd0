"""The formats of JSON Schema, drafts 4 to 2020-12, as languages of texts.

Where a format is not regular, or its automaton would have thousands of states, the language is a part
of it. The texts are those before JSON escapes any of their characters.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.constraints.json_schema.formats import (
    addresses,
    dates,
    identifiers,
    international,
    patterns,
    references,
)
from constrained_diffusion.limits import Limits


@final
@dataclass(frozen=True)
class Format:
    """A language within a format: each of its texts is of the format.

    Attributes:
        build: gives the language, over UTF-8.
        left_out: which texts of the format the language lacks; empty if it lacks none.
    """

    build: Callable[[], ex.Expression]
    left_out: str = ""

    @property
    def is_exact(self) -> bool:
        """Whether every text of the format is in the language."""
        return not self.left_out


FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        "date": Format(dates.date),
        "time": Format(dates.time, "leap seconds where the offset from UTC is no multiple of half an hour"),
        "date-time": Format(dates.date_time, "leap seconds unless in UTC or in whole hours to the west of it"),
        "duration": Format(dates.duration, "small letters"),
        "email": Format(addresses.email, "general address literals, and IPv4 addresses with leading zeros"),
        "idn-email": Format(international.idn_email, "domains beyond idn-hostname, and what email leaves out"),
        "hostname": Format(addresses.hostname, "names of many long labels, and Punycode"),
        "idn-hostname": Format(international.idn_hostname, "most scripts, names of many labels, and Punycode"),
        "ipv4": Format(addresses.ipv4, "leading zeros"),
        "ipv6": Format(addresses.ipv6),
        "uri": Format(references.uri),
        "uri-reference": Format(references.uri_reference),
        "iri": Format(references.iri),
        "iri-reference": Format(references.iri_reference),
        "uri-template": Format(references.uri_template, "operators reserved for extensions"),
        "uuid": Format(identifiers.uuid),
        "json-pointer": Format(identifiers.json_pointer),
        "relative-json-pointer": Format(identifiers.relative_json_pointer, "adjusted indices, as in 0+1/a"),
        "regex": Format(patterns.regex, "deep nesting, back-references, and most ranges of characters"),
    }
)
"""Each format by its name."""


@lru_cache(maxsize=len(FORMATS))
def _language(name: str) -> ex.Expression:
    return ex.Embedded(ex.compile_expression(FORMATS[name].build(), Limits()))


def format_expression(name: str) -> ex.Expression | None:
    """The texts of a format, over UTF-8; None if no draft has a format of that name.

    What a format lacks, if anything, ``FORMATS[name].left_out`` says.

    >>> date = ex.compile_expression(format_expression("date"), Limits())
    >>> date.matches(b"2024-02-29"), date.matches(b"2023-02-29")
    (True, False)
    """
    return _language(name) if name in FORMATS else None
