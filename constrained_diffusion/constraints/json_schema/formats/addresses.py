"""Internet addresses: IP addresses, host names and mailboxes in ASCII."""

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.constraints.json_schema.formats.rules import HEXDIG, language, one_of

# --- IP addresses (RFC 2673, section 3.2; RFC 4291, section 2.2; rules as in RFC 3986, section 3.2.2) --

_DEC_OCTET = "(?:[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
IPV4_ADDRESS = rf"{_DEC_OCTET}(?:\.{_DEC_OCTET}){{3}}"
_H16 = f"{HEXDIG}{{1,4}}"


def _compressed(before: int, behind: int) -> str:
    """Addresses with ``before`` groups before the two colons and at most ``behind`` groups behind them."""
    left = f"{_H16}(?::{_H16}){{{before - 1}}}" if before else ""
    right = [""]
    if behind >= 1:
        right.append(f"{_H16}(?::{_H16}){{0,{behind - 1}}}")
    if behind >= 2:
        right.append(f"(?:{_H16}:){{0,{behind - 2}}}{IPV4_ADDRESS}")
    return f"{left}::{one_of(right)}"


def ipv6_address(most: int = 7) -> str:
    """The rule of addresses with at most ``most`` groups beside the two colons that stand for zeros."""
    full = f"(?:{_H16}:){{6}}(?:{_H16}:{_H16}|{IPV4_ADDRESS})"
    return one_of([full, *(_compressed(before, most - before) for before in range(most + 1))])


def ipv4() -> ex.Expression:
    """Four numbers up to 255, without leading zeros, which RFC 2673 allows but many take for octal."""
    return language(IPV4_ADDRESS)


def ipv6() -> ex.Expression:
    """The textual representations of RFC 4291, section 2.2, without a zone."""
    return language(ipv6_address())


# --- host names (RFC 1123, section 2.1; RFC 1034, section 3.1) -----------------------------------------

MAX_LABEL = 63
_UNIT = 32
_UNITS = 6
DOT = ex.literal(b".")


def label(most: int) -> ex.Expression:
    """Letters, digits and hyphens inside, at most so many."""
    return language(f"[A-Za-z0-9](?:[A-Za-z0-9-]{{0,{most - 2}}}[A-Za-z0-9])?")


def hostname() -> ex.Expression:
    """Host names whose labels of up to 31 characters are at most six; a longer one, up to 63, counts as two.

    To count the 253 characters of a name beside the 63 of each label would take 24,000 states. No
    label begins with ``xn--``: whether Punycode is valid (RFC 5891, section 5.4) no automaton can tell.
    """
    short, long = label(_UNIT - 1), label(MAX_LABEL)
    names: list[ex.Expression] = [ex.NOTHING, short]
    for units in range(2, _UNITS + 1):
        behind_short = ex.Concatenation((short, DOT, names[units - 1]))
        behind_long = ex.Concatenation((long, DOT, names[units - 2]))
        names.append(ex.Union((long, behind_short, behind_long)))
    a_label_inside = language(r"(?:[A-Za-z0-9-]+\.)*[Xx][Nn]--[A-Za-z0-9.-]*")
    return ex.Difference(names[_UNITS], a_label_inside)


# --- mailboxes (RFC 5321, section 4.1.2) ----------------------------------------------------------------

ATEXT = r"A-Za-z0-9!#$%&'*+\-/=?\^_`{|}~"
QTEXT = r" !#-\[\]-~"
SUB_DOMAIN = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
ADDRESS_LITERAL = rf"\[(?:{IPV4_ADDRESS}|[Ii][Pp][Vv]6:{ipv6_address(most=6)})\]"


def local_part(atext: str, qtext: str) -> str:
    """``Local-part`` over the characters of atoms and of quoted strings."""
    dot_string = rf"[{atext}]+(?:\.[{atext}]+)*"
    quoted_string = rf'"(?:[{qtext}]|\\[ -~])*"'
    return one_of([dot_string, quoted_string])


def email() -> ex.Expression:
    """``Mailbox``, without general address literals, of which none is registered, and without leading
    zeros in an IPv4 address."""
    domain = rf"{SUB_DOMAIN}(?:\.{SUB_DOMAIN})*"
    return language(f"{local_part(ATEXT, QTEXT)}@{one_of([domain, ADDRESS_LITERAL])}")
