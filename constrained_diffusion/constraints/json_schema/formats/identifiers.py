"""JSON pointers (RFC 6901) and UUIDs (RFC 4122)."""

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.constraints.json_schema.formats.rules import HEXDIG, language

_JSON_POINTER = "(?:/(?:[^/~]|~[01])*)*"


def uuid() -> ex.Expression:
    """``UUID`` (RFC 4122, section 3), of any version and variant."""
    return language(f"{HEXDIG}{{8}}(?:-{HEXDIG}{{4}}){{3}}-{HEXDIG}{{12}}")


def json_pointer() -> ex.Expression:
    """``json-pointer`` (RFC 6901, section 3)."""
    return language(_JSON_POINTER)


def relative_json_pointer() -> ex.Expression:
    """``relative-json-pointer`` (draft-handrews-relative-json-pointer-01, section 3).

    The later draft-bhutton-relative-json-pointer-00 also has ``0+1/a``, which few know.
    """
    return language(f"(?:0|[1-9][0-9]*)(?:{_JSON_POINTER}|#)")
