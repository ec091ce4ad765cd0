"""References: URIs (RFC 3986), IRIs (RFC 3987) and URI templates (RFC 6570)."""

from dataclasses import dataclass
from typing import Final, final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.utf8 import CodePoints
from constrained_diffusion.constraints.json_schema.formats.addresses import ipv6_address
from constrained_diffusion.constraints.json_schema.formats.rules import ALPHA, HEXDIG, at_most_once, language, one_of

_PCT_ENCODED: Final = f"%{HEXDIG}{{2}}"
_SUB_DELIMS: Final = "!$&'()*+,;="
_SUPPLEMENTARY_UCSCHAR: Final = tuple((plane << 16, (plane << 16) + 0xFFFD) for plane in range(1, 14))
_UCSCHAR: Final = ((0xA0, 0xD7FF), (0xF900, 0xFDCF), (0xFDF0, 0xFFEF), *_SUPPLEMENTARY_UCSCHAR, (0xE1000, 0xEFFFD))
_UCSCHAR_OF_IRI: Final = ((0xA0, 0x200D), (0x2010, 0x2029), (0x202F, 0xD7FF), *_UCSCHAR[1:])
"""Without the marks of direction, which section 4.1 of RFC 3987 forbids."""
_IPRIVATE: Final = ((0xE000, 0xF8FF), (0xF0000, 0xFFFFD), (0x100000, 0x10FFFD))


def _set(points: CodePoints) -> str:
    """The code points as they stand in a set."""
    return "".join(f"{chr(low)}-{chr(high)}" for low, high in points)


@final
@dataclass(frozen=True)
class _Grammar:
    """The rules of RFC 3986, appendix A, and with ``ucschar`` and ``iprivate`` those of RFC 3987, section 2.2."""

    ucschar: str = ""
    iprivate: str = ""

    def characters(self, others: str) -> str:
        """Unreserved characters, those of ``sub-delims``, others and percent-encoded ones."""
        return rf"(?:[A-Za-z0-9\-._~{self.ucschar}{_SUB_DELIMS}{others}]|{_PCT_ENCODED})"

    @property
    def pchar(self) -> str:
        return self.characters(":@")

    @property
    def authority(self) -> str:
        ipvfuture = rf"[Vv]{HEXDIG}+\.[A-Za-z0-9\-._~{_SUB_DELIMS}:]+"
        ip_literal = rf"\[(?:{ipv6_address()}|{ipvfuture})\]"
        host = one_of([ip_literal, f"{self.characters('')}*"])
        return f"(?:{self.characters(':')}*@)?{host}(?::[0-9]*)?"

    def hierarchy(self, first_segment: str) -> str:
        """``hier-part``, or ``relative-part``, according to what a path without a root begins with."""
        path_abempty = f"(?:/{self.pchar}*)*"
        path_absolute = f"/(?:{self.pchar}+{path_abempty})?"
        return one_of([f"//{self.authority}{path_abempty}", path_absolute, f"{first_segment}{path_abempty}", ""])

    @property
    def query_and_fragment(self) -> str:
        query, fragment = self.characters(f":@/?{self.iprivate}"), self.characters(":@/?")
        return rf"(?:\?{query}*)?(?:#{fragment}*)?"

    @property
    def absolute(self) -> str:
        """``URI``."""
        segment_nz = f"{self.pchar}+"
        return rf"{ALPHA}[A-Za-z0-9+\-.]*:{self.hierarchy(segment_nz)}{self.query_and_fragment}"

    @property
    def relative(self) -> str:
        """``relative-ref``."""
        segment_nz_nc = f"{self.characters('@')}+"
        return f"{self.hierarchy(segment_nz_nc)}{self.query_and_fragment}"


_URI: Final = _Grammar()
_IRI: Final = _Grammar(_set(_UCSCHAR_OF_IRI), _set(_IPRIVATE))


def uri() -> ex.Expression:
    """``URI``."""
    return language(_URI.absolute)


def uri_reference() -> ex.Expression:
    """``URI-reference``."""
    return language(one_of([_URI.absolute, _URI.relative]))


def iri() -> ex.Expression:
    """``IRI``, without the formatting characters that section 4.1 forbids."""
    return language(_IRI.absolute)


def iri_reference() -> ex.Expression:
    """``IRI-reference``, without the formatting characters that section 4.1 forbids."""
    return language(one_of([_IRI.absolute, _IRI.relative]))


def uri_template() -> ex.Expression:
    """``URI-Template`` (section 2), without the operators that are reserved for extensions.

    An apostrophe is a literal, as erratum 6937 has it.
    """
    literals = rf"(?:[!#$&-;=?-\[\]_a-z~{_set(_UCSCHAR)}{_set(_IPRIVATE)}]|{_PCT_ENCODED})"
    varchar = f"(?:[A-Za-z0-9_]|{_PCT_ENCODED})"
    varname = rf"{varchar}(?:\.?{varchar})*"
    modifier = r"(?::[1-9][0-9]{0,3}|\*)"
    varspec = f"{varname}{at_most_once(modifier)}"
    expression = rf"\{{[+#./;?&]?{varspec}(?:,{varspec})*\}}"
    return language(f"(?:{literals}|{expression})*")
