"""Formats of JSON Schema: samples from their RFCs, the official suite, and independent readings of the grammars."""

import datetime
import ipaddress
import json
import random
import re
import string
import unicodedata
import uuid
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.byte_automaton import DEAD
from constrained_diffusion.constraints.json_schema.formats import FORMATS, format_expression
from constrained_diffusion.constraints.json_schema.formats.international import MOST_BELOW_0800, MOST_BELOW_10000
from constrained_diffusion.constraints.regex import pattern_expression
from constrained_diffusion.errors import UnsupportedConstraint
from constrained_diffusion.limits import Limits

SUITE = Path(__file__).parents[2] / "shared" / "data" / "json-schema-test-suite" / "tests" / "draft2020-12" / "optional"
DOTS = "[.。．｡]"
LABEL_63 = "a" * 63
HEXDIG = "[0-9A-Fa-f]"


def automaton(name):
    return ex.compile_expression(format_expression(name), Limits())


def accepts(name, text):
    return automaton(name).matches(text.encode())


# --- samples -------------------------------------------------------------------------------------

# fmt: off
VALID = {
    "date": ["1985-04-12", "2000-02-29", "2024-02-29", "0000-02-29", "9999-12-31", "1900-02-28"],
    "time": ["23:20:50.52Z", "16:39:57-08:00", "00:00:00z", "23:59:60Z", "15:59:60-08:00", "05:29:60.5+05:30"],
    "date-time": [
        "1985-04-12T23:20:50.52Z", "1996-12-19T16:39:57-08:00", "1990-12-31T23:59:60Z", "1990-12-31T15:59:60-08:00",
        "1937-01-01T12:00:27.87+00:20", "2024-02-29t00:00:00z",
    ],
    "duration": ["P1Y2M3DT4H5M6S", "P23DT23H", "P4Y", "PT0S", "P0D", "P1M", "PT1M", "P3W"],
    "email": [
        "Smith@bar.com", "a+b.c@x", '"a\\"b @"@x.y', "!#$%&'*+-/=?^_`{|}~@a-b.c", "x@[1.2.3.4]", "x@[IPv6:1::2]",
        "x@[ipv6:1:2:3:4:5:6:7:8]", "x@[IPv6:::255.1.2.3]", "x@xn--a",
    ],
    "idn-email": ["用户@例え.テスト", "Dörte@sörensen.example.com", "𐍈@a.b.c.d", '"é"@x', "x@דוגמה.א", "x@[1.2.3.4]"],
    "hostname": [
        "localhost", "3com.com", "a", "r3---sn-x.example.com", f"{LABEL_63}.{LABEL_63}.{LABEL_63}", "1.2.3.4",
    ],
    "idn-hostname": [
        "bücher.example.com", "www.straße.de", "пример.рф", "παράδειγμα.δοκιμή", "例え。テスト", "실례.테스트",
        "उदाहरण.परीक्षा", "क्\u200dष", "דוגמה.טעסט", "مثال.إختبار", "می\u200cخواهم", "paral·lel.cat", "ア・a",
        f"{LABEL_63}.{LABEL_63}.{LABEL_63}",
    ],
    "ipv4": ["0.0.0.1", "255.255.255.255", "192.0.2.1", "9.10.99.100"],
    "ipv6": [
        "2001:DB8:0:0:8:800:200C:417A", "FF01::101", "::1", "::", "1::", "0:0:0:0:0:0:13.1.68.3",
        "::FFFF:129.144.52.38", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3:4:5::1.2.3.4",
    ],
    "uri": [
        "ftp://ftp.is.co.za/rfc/rfc1808.txt", "ldap://[2001:db8::7]/c=GB?objectClass?one",
        "mailto:John.Doe@example.com", "tel:+1-816-555-1212", "telnet://192.0.2.16:80/",
        "urn:oasis:names:specification:docbook:dtd:xml:4.1.2", "a:", "file:///etc/hosts", "x://[v7.a:b]:", "http://a@b:1//c",
    ],
    "uri-reference": ["", "g;x=1/../y", "//g", "?y", "#s", "../..", "./a:b", "/a:b", "http:g", "a/b:c"],
    "iri": ["http://résumé.example.org", "http://example.org/\U00010300?\ue000", "x:\u00a0"],
    "iri-reference": ["", "/résumé", "#ñ", "é/b"],
    "uri-template": [
        "http://www.example.com/foo{?query,number}", "{+path:6}/here", "{/list*}", "{#x,hello}", "é{%C3%A9}", "",
    ],
    "uuid": ["f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "00000000-0000-0000-0000-000000000000"],
    "json-pointer": ["", "/foo", "/foo/0", "/", "/a~1b", "/c%d", '/k"l', "/ ", "/m~0n", "/é\n"],
    "relative-json-pointer": ["0", "1/0", "2/highly/nested/objects", "0#", "10#", "0/"],
    "regex": [
        "", "^[a-zA-Z0-9._%+-]+@[\\w.-]+\\.[A-Z]{2,}$", "a|b|", "(?:a(b(c(d))))*?", "(?=(a))(?!b)(?<=c)(?<!d)e",
        "^(?<year>[0-9]{4})-", "a{3}b{3,}c{3,12}?d{10,15}", "[^]|[]|[-a]|[a-]|[\\]\\-\\b]|[[^]",
        "\\cA\\x41\\u0041\\p{Lu}\\P{N}\\/\\.", "é+",
    ],
}
INVALID = {
    "date": [
        "1985-4-12", "1985-04-31", "1900-02-29", "2023-02-29", "85-04-12", "1985-04-12Z", "1985-00-01", "1985-13-01",
    ],
    "time": [
        "23:20:50", "24:00:00Z", "23:59:60+01:00", "22:59:60Z", "00:00:61Z", "00:00:00.Z", "00:00:00+24:00", "0:0:0Z",
    ],
    "date-time": [
        "1985-04-12 23:20:50Z", "1985-04-12T23:20:50", "1990-11-30T23:59:60Z", "1991-01-01T23:59:60Z",
        "1990-12-31T23:59:60-08:00", "1985-04-31T00:00:00Z", "1985-04-12T23:20Z",
    ],
    "duration": ["P", "PT", "P1", "P1YT", "P1Y1D", "PT1H1S", "P1W1D", "P1,5D", "-P1D", "P1D1Y", "P1DT"],
    "email": [
        "a@b@c", "a.@b", ".a@b", "a..b@c", "a@-b", "a@b-", "a@b..c", "a@b.", '"a@b', "a@[1.2.3]", "a@[1.2.3.256]",
        "a@[IPv6:1:2:3:4:5:6:7::]", "a@[IPv6:x]", "é@b", "a b@c", "a@b_c",
    ],
    "idn-email": [
        "é@é_", "é@-é", "é@é-", "é é@a", "é", "@é", "é@", "é@É", "é@א.a", "é@" + "ü" * 60, "a@[IPv6:é]",
    ],
    "hostname": [
        "", ".", "a.", ".a", "a..b", "-a", "a-", "a_b", "é", "xn--a", "a.XN--b", f"{LABEL_63}a", "a." * 127 + "a",
        f"{LABEL_63}.{LABEL_63}.{LABEL_63}.{LABEL_63}",
    ],
    "idn-hostname": [
        "", "É", "a\u0301", "é_", "é-", "-é", "xn--a", "é--x", "אa", "א.a", "a.א", "1א", "l·a", "·", "・", "a・",
        "क\u200dष", "\u200dक", "ा", "د\u200cب", "ب\u200c", "ü" * 60, "カ\u3099", "ﬁ", "²", "א\u05f3-",
        "\u05f3א", "x。", "é！",
    ],
    "ipv4": [
        "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.", "0001.2.3.4", "1.2.3.4/8", "0x1.2.3.4", "", "1.2.3.4\n", "1..2.3",
    ],
    "ipv6": [
        ":", ":::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "12345::", "g::", "::1%eth0",
        "::1.2.3", "1.2.3.4", "::01.2.3.4", "1:2:3:4:5:6::1.2.3.4", "[::1]", "::1/64",
    ],
    "uri": [
        "", "a", "//a", "1a:b", "a b:c", "a:%", "a:%4", "a:%4g", "a:[", "a://[::1", "a://[::g]", "a://b:c", "a:é",
        "a:#b#c", "a:\\b", "a://[v.a]", "a://[1.2.3.4]", ":a",
    ],
    "uri-reference": ["a b", "1:b", "%", "\\", "[", "#a#b", "//a:b", "//[1]", "é", ":", '"'],
    "iri": [
        "é", "é:b", "x:\u200e", "x:\u202e", "x:\ue000", "x:\ufdd0", "x:\ufffe", "x:\U0001ffff", "x:\U000e0001",
        "x:\x80",
    ],
    "iri-reference": ["\\é", "é é", "#\ue000", "\u200f", "%é", "é:b"],
    "uri-template": [
        "{", "}", "{}", "{a", "a}", "{a b}", "{a,}", "{,a,}", "{a:0}", "{a:}", "{a:12345}", "{a**}", "{a..b}", "{.}",
        "{a%}", "a b", "%", "<", "{é}", "{++a}", "\x7f", '"',
    ],
    "uuid": [
        "f81d4fae7dec11d0a76500a0c91e6bf6", "{f81d4fae-7dec-11d0-a765-00a0c91e6bf6}",
        "f81d4fae-7dec-11d0-a765-00a0c91e6bf", "g81d4fae-7dec-11d0-a765-00a0c91e6bf6",
        "f81d4fae-7dec-11d0-a765-00a0c91e6bf6a", "",
    ],
    "json-pointer": ["a", "#", "/~", "/~2", "~0", "0", "/a~", " /a"],
    "relative-json-pointer": ["", "/a", "-1", "+1", "01", "1a", "0##", "0#/", "#", "00", "0/~"],
    "regex": [
        "(", ")", "a)", "[", "]", "{", "}", "a{", "*", "+a", "?", "|*", "a**", "a+++", "^*", "$+", "\\b?", "(?=a)*",
        "a{2,1}", "a{12,11}", "a{12,9}", "{1}", "[b-a]", "[a-Z]", "[\\d-a]", "\\", "\\a", "\\-", "\\x4", "\\u004",
        "\\c1", "\\p{Foo}", "\\pL", "(?i)a", "(?P<a>b)", "(?#a)", "(?a", "(?<a", "(?<>a)", "(?<1>a)", "(?<a>b)(?<a>c)",
        "\\1", "\\k<a>", "(?<a>b)\\k<c>",
    ],
}
LEFT_OUT = {
    "time": ["23:44:60+23:45"],
    "date-time": ["2017-01-01T00:59:60+01:00", "2016-12-31T20:29:60-03:30"],
    "duration": ["p1d"],
    "email": ["a@[x:y]", "a@[127.0.0.001]"],
    "idn-email": ["a@ไทย", "a@[x:y]"],
    "hostname": ["a.b.c.d.e.f.g", "xn--9n2bp8q"],
    "idn-hostname": ["ไทย", "www.bücher.bücher", "xn--9n2bp8q", "a.b.c.d"],
    "ipv4": ["127.0.0.001"],
    "uri-template": ["{=x}", "{|x}"],
    "relative-json-pointer": ["0+1/a", "0-1"],
    "regex": [
        "(((((a)))))", "(a)\\1", "[b-z]", "[\\u4e00-\\u9fa5]", "\\0", "\\u{1F600}", "a{20,21}", "a{1000}",
        "\\p{Script=Greek}",
    ],
}
"""Texts of the formats that their languages are known to lack."""
# fmt: on


@pytest.mark.parametrize("name", FORMATS)
def test_samples(name):
    assert [text for text in VALID[name] if not accepts(name, text)] == []
    assert [text for text in INVALID[name] if accepts(name, text)] == []


def test_exactness_is_declared():
    assert {name for name in FORMATS if not FORMATS[name].is_exact} == set(LEFT_OUT)
    assert [(name, text) for name in LEFT_OUT for text in LEFT_OUT[name] if accepts(name, text)] == []


@pytest.mark.parametrize("name", ["", "color", "ip-address", "host-name", "int32", "Date", "date_time"])
def test_other_names_are_no_formats(name):
    assert format_expression(name) is None


def test_automata_are_small():
    states = {name: automaton(name).num_states for name in FORMATS}
    assert {name for name in FORMATS if states[name] > 300} == {
        "time",
        "idn-email",
        "hostname",
        "idn-hostname",
        "regex",
    }
    assert max(states.values()) < 2000


def test_languages_are_built_once():
    assert format_expression("uri") is format_expression("uri")


# --- the official suite --------------------------------------------------------------------------

LACKING = {
    "hostname": (15, lambda text: text.startswith("xn--")),
    "idn-hostname": (9, lambda text: text.startswith(("xn--", "παρά")) or text in RARE_LABELS),
    # RFC 6531 refers for it to RFC 5890, section 2.3.2.1: a U-label is in normalisation form C.
    "idn-email": (1, lambda text: text == "user@cafe\u0301.com"),
    "regex": (1, lambda text: "\\k<n>" in text),
}
RARE_LABELS = ["ß\u03c2\u0f0b\u3007", "α\u0375β", "\u06f00", "\u0628\u0660\u0628"]
"""How many valid texts are not accepted, and which."""


@pytest.mark.skipif(not SUITE.exists(), reason="needs the official suite beside the repository")
@pytest.mark.parametrize("name", FORMATS)
def test_official_suite(name):
    files = [f"{name}.json", *(["ecmascript-regex.json"] if name == "regex" else [])]
    groups = [group for file in files for group in json.loads((SUITE / "format" / file).read_text())]
    cases = [case for group in groups for case in group["tests"] if isinstance(case["data"], str)]
    assert len(cases) >= 7
    assert [case for case in cases if accepts(name, case["data"]) and not case["valid"]] == []
    lacking = [case["data"] for case in cases if case["valid"] and not accepts(name, case["data"])]
    count, is_known = LACKING.get(name, (0, None))
    assert len(lacking) == count
    assert all(is_known(text) for text in lacking)


# --- independent readings ------------------------------------------------------------------------


def kind(text):
    """Digits, letters or another sort of character."""
    return "".join(sorted({unicodedata.category(c)[0] for c in text}))


@st.composite
def edited(draw, name, alphabet, seeds=()):
    """A sample with up to three characters replaced (by others of their kind or by any), inserted or removed."""
    text = draw(st.sampled_from([*VALID[name], *INVALID[name], *LEFT_OUT.get(name, ()), *seeds]))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        replaced = text[at : at + draw(st.integers(0, 1))]
        pieces = ["", *alphabet]
        if draw(st.booleans()):
            pieces = [piece for piece in pieces if kind(piece) == kind(replaced)] or [replaced]
        text = text[:at] + draw(st.sampled_from(pieces)) + text[at + len(replaced) :]
    return text


def walk(name, randomness: random.Random, *, stop=0.1, longest=80):
    """A random text of the format, each class of bytes as likely as the others; None if it grows too long."""
    dfa = automaton(name)
    state, text = dfa.start, bytearray()
    while len(text) < longest:
        classes = [k for k in range(dfa.table.shape[1]) if dfa.table[state, k] != DEAD]
        if dfa.accepting[state] and (not classes or randomness.random() < stop):
            return text.decode()
        chosen = randomness.choice(classes)
        text.append(randomness.choice([byte for byte in range(256) if dfa.byte_class[byte] == chosen]))
        state = int(dfa.table[state, chosen])
    return None


def walks(name, count, **options):
    randomness = random.Random(0)
    texts = [walk(name, randomness, **options) for _ in range(count)]
    found = {text for text in texts if text is not None}
    assert len(found) > count // 10
    return found


def check_against(oracle: Callable[[str], bool], name, texts, *, examples=300):
    """The language and the oracle agree, and each says both yes and no in a tenth of the cases or more."""
    verdicts = []

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None)
    @given(texts)
    def check(text):
        verdicts.append(oracle(text))
        assert accepts(name, text) == verdicts[-1]

    check()
    assert min(verdicts.count(True), verdicts.count(False)) > len(verdicts) // 10
    assert all(oracle(text) for text in walks(name, 100))


def is_date(text):
    """Whether it is a date; the calendar repeats after 400 years, and Python's has no year 0."""
    if not (len(text) == 10 and text.isascii() and text[4] == text[7] == "-" and text[:4].isdigit()):
        return False
    try:
        datetime.date.fromisoformat(f"{2000 + int(text[:4]) % 400}{text[4:]}")
    except ValueError:
        return False
    return True


def read_time(text):
    """The seconds since midnight in UTC, the last field of the time and the offset in minutes; None if malformed."""
    found = re.fullmatch(r"(\d\d):(\d\d):(\d\d)(\.\d+)?([Zz]|([+-])(\d\d):(\d\d))", text, re.ASCII)
    if not found:
        return None
    hour, minute, second, ahead, behind = (int(found[k] or 0) for k in (1, 2, 3, 7, 8))
    if hour > 23 or minute > 59 or second > 60 or ahead > 23 or behind > 59:
        return None
    offset = (ahead * 60 + behind) * (-1 if found[6] == "-" else 1)
    return (hour * 3600 + minute * 60 - offset * 60) % 86400 + second, second, offset


def is_time(text):
    read = read_time(text)
    return bool(read) and (read[1] < 60 or (read[0] == 86400 and read[2] % 30 == 0))


def is_date_time(text):
    date, letter, time = text[:10], text[10:11], text[11:]
    read = read_time(time)
    if not (is_date(date) and letter in ("T", "t") and read):
        return False
    is_leap = read[1] == 60
    ends_half_year = date[5:] in ("06-30", "12-31")
    return not is_leap or (read[0] == 86400 and ends_half_year and -720 <= read[2] <= 0 and read[2] % 60 == 0)


def is_duration(text):
    found = re.fullmatch(r"P((?:[0-9]+[A-Z])*)(?:T((?:[0-9]+[A-Z])+))?", text)
    if not found or text == "P":
        return False
    date, time = ("".join(re.findall("[A-Z]", part or "")) for part in found.groups())
    return (date == "W" and not time) or (date in "YMD" and time in "HMS")


def is_ipv4(text):
    try:
        return str(ipaddress.IPv4Address(text)) == text
    except ValueError:
        return False


def is_ipv6(text):
    try:
        return "%" not in text and bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False


def is_uuid(text):
    try:
        return str(uuid.UUID(text)) == text.lower() and text.isascii()
    except ValueError:
        return False


def is_host_name(text):
    labels = text.split(".")
    letters = {*string.ascii_letters, *string.digits, "-"}
    return sum(1 if len(label) < 32 else 2 for label in labels) <= 6 and all(
        0 < len(label) < 64
        and set(label) <= letters
        and "-" not in (label[0], label[-1])
        and label[:4].lower() != "xn--"
        for label in labels
    )


def is_address_literal(text):
    if not (text.startswith("[") and text.endswith("]")):
        return False
    inside = text[1:-1]
    if inside[:5].lower() != "ipv6:":
        return is_ipv4(inside)
    groups = re.findall("[0-9A-Fa-f.]+", inside[5:])
    width = len(groups) + sum("." in group for group in groups)
    return is_ipv6(inside[5:]) and ("::" not in inside or width <= 6)


def is_local_part(text, *, ascii_only=True):
    specials = set('()<>[]:;@\\,." ')
    if any(not " " <= c <= "~" and (ascii_only or c < "\x80") for c in text):
        return False
    if text.startswith('"'):
        unescaped = re.sub(r"\\[ -~]", "", text[1:-1])
        return len(text) > 1 and text.endswith('"') and not set('"\\') & set(unescaped)
    return all(atom and not set(atom) & specials for atom in text.split("."))


def is_mailbox(text):
    local, at, domain = text.rpartition("@")
    if not at or not is_local_part(local):
        return False
    labels = domain.split(".")
    letters = {*string.ascii_letters, *string.digits, "-"}
    return is_address_literal(domain) or all(
        label and set(label) <= letters and "-" not in (label[0], label[-1]) for label in labels
    )


UNRESERVED = {*string.ascii_letters, *string.digits, *"-._~"}
SUB_DELIMS = set("!$&'()*+,;=")
MARKS_OF_DIRECTION = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e"


def is_ucschar(c):
    point = ord(c)
    is_mark_of_direction = c in MARKS_OF_DIRECTION
    if point < 0x10000:
        return (
            0xA0 <= point < 0xD800 or 0xF900 <= point < 0xFDD0 or 0xFDF0 <= point < 0xFFF0
        ) and not is_mark_of_direction
    return point < 0xF0000 and point & 0xFFFF < 0xFFFE and not 0xE0000 <= point < 0xE1000


def is_iprivate(c):
    return unicodedata.category(c) == "Co"


def is_made_of(text, others, extra=None):
    """Whether it is made of unreserved characters, sub-delims, percent-encoded ones and others."""
    plain = re.sub(f"%{HEXDIG}{{2}}", "", text)
    return all(c in UNRESERVED | SUB_DELIMS | set(others) or (extra is not None and extra(c)) for c in plain)


def is_authority(text, extra):
    user, at, host_and_port = text.rpartition("@")
    found = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]*)(:[0-9]*)?", host_and_port)
    if not found or (at and not is_made_of(user, ":", extra)):
        return False
    host = found[1]
    if not host.startswith("["):
        return is_made_of(host, "", extra)
    future = re.fullmatch(f"[vV]{HEXDIG}+[.](.+)", host[1:-1], re.DOTALL)
    return is_ipv6(host[1:-1]) or bool(future and set(future[1]) <= UNRESERVED | SUB_DELIMS | {":"})


def is_reference(text, *, needs_scheme, international):
    """RFC 3986, appendix B, takes it apart."""
    extra = is_ucschar if international else None
    scheme, authority, path, query, fragment = re.fullmatch(
        r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(?:\?([^#]*))?(?:#(.*))?", text, re.DOTALL
    ).groups()
    in_query = (lambda c: is_ucschar(c) or is_iprivate(c)) if international else None
    return (
        (not needs_scheme if scheme is None else bool(re.fullmatch("[A-Za-z][A-Za-z0-9+.-]*", scheme)))
        and (authority is None or is_authority(authority, extra))
        and (scheme is not None or authority is not None or ":" not in path.split("/")[0])
        and is_made_of(path, "/:@", extra)
        and is_made_of(query or "", "/:@?", in_query)
        and is_made_of(fragment or "", "/:@?", extra)
    )


def is_uri(text):
    return is_reference(text, needs_scheme=True, international=False)


def is_uri_reference(text):
    return is_reference(text, needs_scheme=False, international=False)


def is_iri(text):
    return is_reference(text, needs_scheme=True, international=True)


def is_iri_reference(text):
    return is_reference(text, needs_scheme=False, international=True)


def is_expression(text):
    operator = text[:1] if text[:1] in set("+#./;?&") else ""
    for spec in text[len(operator) :].split(","):
        found = re.fullmatch(r"([^:*]*)(?:\*|:([0-9]+))?", spec, re.ASCII | re.DOTALL)
        if not found or (found[2] and not (0 < int(found[2]) < 10000 and found[2][0] != "0")):
            return False
        plain = re.sub(f"%{HEXDIG}{{2}}", "x", found[1])
        if not all(part and all(c == "_" or (c.isascii() and c.isalnum()) for c in part) for part in plain.split(".")):
            return False
    return True


def is_literal(c):
    if c.isascii():
        return c > " " and c not in '"%<>\\^`{|}\x7f'
    return is_ucschar(c) or is_iprivate(c) or c in MARKS_OF_DIRECTION


def is_uri_template(text):
    first, *rest = text.split("{")
    literals = [first]
    for part in rest:
        expression, closing, behind = part.partition("}")
        if not closing or not is_expression(expression):
            return False
        literals.append(behind)
    return all(map(is_literal, "".join(re.sub(f"%{HEXDIG}{{2}}", "", literal) for literal in literals)))


def is_json_pointer(text):
    return text[:1] in ("", "/") and all(rest[:1] in ("0", "1") and rest for rest in text.split("~")[1:])


def is_relative_json_pointer(text):
    digits = text[: len(text) - len(text.lstrip(string.digits))]
    rest = text[len(digits) :]
    return bool(digits) and (digits == "0" or digits[0] != "0") and (rest == "#" or is_json_pointer(rest))


URI_ALPHABET = [*":/?#[]@%.-a1Gv~!&+= \\^é", "%41", "//", "::", "é\u202e", "\ue000", "\U0001fffd", "\U0001fffe"]


@pytest.mark.parametrize(
    ("name", "oracle", "alphabet", "seeds"),
    [
        ("date", is_date, [*"0123456789-T٣ "], ["2100-02-28", "2023-11-30", "2023-04-30", "1999-09-09"]),
        ("time", is_time, [*"0123456789:.+-Zz٣"], ["09:29:60+09:30", "22:59:60.0-01:00"]),
        ("date-time", is_date_time, [*"0123456789-:.TtZz+ "], ["2015-06-30T18:59:60-05:00", "2015-07-01T00:00:00Z"]),
        ("duration", is_duration, [*"0123PTYMDHSWpt.-", "1M", "2D"], []),
        ("ipv4", is_ipv4, [*"0123456789.a٣"], ["249.250.199.10"]),
        ("ipv6", is_ipv6, [*"0123456789abcdefABCDEFg:.", "::", "1:", "1.2.3.4"], ["1:2:3:4:5:6:7:8", "a:b::c:d"]),
        ("uuid", is_uuid, [*"0123456789abcdefABCDEFg-{}"], [str(uuid.UUID(int=k * 7**40)) for k in range(5)]),
        (
            "hostname",
            is_host_name,
            [*"abzAZ019-._é", "xn--", ".a" * 3, "b" * 31, "c" * 32, "d" * 63],
            ["a.b", "example.com"],
        ),
        (
            "email",
            is_mailbox,
            [*'abz019-._@"\\[]:!~ é', "..", "[IPv6:", "::", "1.2.3.4]"],
            ["a.b@c.d", "x@[IPv6:1:2:3:4::6:7]"],
        ),
        ("uri", is_uri, URI_ALPHABET, []),
        ("uri-reference", is_uri_reference, URI_ALPHABET, []),
        ("iri", is_iri, URI_ALPHABET, VALID["uri"]),
        ("iri-reference", is_iri_reference, URI_ALPHABET, VALID["uri-reference"]),
        ("uri-template", is_uri_template, [*"{}+#,:*.%a1_ =|'<é", "%41", "{a}", "\u202e", "\ue000", "\ufffe"], []),
        ("json-pointer", is_json_pointer, [*"/~01a#é\0"], []),
        ("relative-json-pointer", is_relative_json_pointer, [*"/~01#+-a٣"], ["12/a/b", "3/~0"]),
    ],
)
def test_against_an_independent_reading(name, oracle, alphabet, seeds):
    check_against(oracle, name, edited(name, alphabet, seeds))


# --- internationalised names ---------------------------------------------------------------------


def is_idna(name):
    """Whether the ``idna`` package can look the name up, and its labels have one direction (RFC 5893, section 2)."""
    import idna

    labels = re.split(DOTS, name)
    try:
        idna.encode(name)
        if any(unicodedata.bidirectional(c) in ("R", "AL", "AN") for c in name):
            for label in filter(None, labels):
                idna.check_bidi(label, check_ltr=True)
    except idna.IDNAError:
        return False
    return all(labels)


REPERTOIRE = "abl1-·.。ßéžάςжя日本々〇あアー・가힣कषनािं्\u200c\u200dאב׳״بيدءی\u06fd٠۰ÉﬁไA\u0301\u3099"


def idn_names():
    return st.one_of(edited("idn-hostname", REPERTOIRE), st.text(REPERTOIRE, min_size=1, max_size=8))


def test_idn_host_names_are_sound():
    pytest.importorskip("idna", reason="it comes with transformers")
    verdicts = []

    @settings(max_examples=800, deadline=None, derandomize=True, database=None)
    @given(idn_names())
    def check(text):
        verdicts.append((accepts("idn-hostname", text), is_idna(text)))
        assert verdicts[-1] != (True, False)

    check()
    accepted, valid = ({k for k, pair in enumerate(verdicts) if pair[which]} for which in (0, 1))
    assert len(accepted) > len(verdicts) // 10
    assert len(accepted) > len(valid) // 2
    assert len(valid) < len(verdicts) * 9 // 10
    assert [text for text in walks("idn-hostname", 800, stop=0.3) if not is_idna(text)] == []


def test_characters_of_idn_labels():
    """Each stands alone if it may come first, and none is reordered or composed with what precedes it."""
    pytest.importorskip("idna", reason="it comes with transformers")
    basic_plane = [chr(point) for point in range(0x80, 0x10000) if not 0xD800 <= point < 0xE000]
    first = [c for c in basic_plane if accepts("idn-hostname", c)]
    assert len(first) > 30_000
    assert [c for c in first if ord(c) < 0x4E00 and not is_idna(c)] == []
    assert [c for c in first[::50] if not is_idna(c)] == []
    later = [c for c in basic_plane if any(accepts("idn-hostname", f"{before}{c}") for before in "aकאب日")]
    assert set(first) <= set(later)
    assert {c for c in later if unicodedata.combining(c)} == {"\u094d"}
    assert [c for c in later if unicodedata.normalize("NFC", c) != c] == []
    composed = (unicodedata.decomposition(c).split() for c in basic_plane)
    seconds = {chr(int(parts[1], 16)) for parts in composed if len(parts) == 2 and "<" not in parts[0]}
    assert seconds & set(later) == set()


def most_octets(characters, first, last):
    """A bound on the length of an A-label of so many characters, those that are not ASCII within a range (RFC 3492).

    A number needs the more digits the larger it is, whatever the bias, and together the numbers are at most
    (last - first + 1) * characters: each time the code point rises by one, all characters are passed at most once.
    """

    def least_number(digits, bias):
        thresholds = [min(max(36 * (k + 1) - bias, 1), 26) for k in range(digits)]
        weights = accumulate((36 - t for t in thresholds), lambda x, y: x * y, initial=1)
        return sum(t * w for t, w in zip(thresholds[:-1], weights, strict=False))

    least = [min(least_number(digits, bias) for bias in range(250)) for digits in range(1, 9)]
    first_delta = (last - 127) * characters
    first_digits = max(digits for digits in range(1, 9) if least_number(digits, 72) <= first_delta)
    worst = 0
    for others in range(characters):
        budget, digits = (last - first + 1) * characters, [1] * others
        for step in range(1, 8):
            for k in range(others):
                if least[step] - least[step - 1] <= budget:
                    budget -= least[step] - least[step - 1]
                    digits[k] = step + 1
        basic = characters - others - 1
        worst = max(worst, len("xn--") + (basic + 1 if basic else 0) + first_digits + sum(digits))
    return worst


def test_idn_labels_are_short_enough():
    most = most_octets(MOST_BELOW_0800, 0x80, 0x7FF)
    assert most <= 63 < most_octets(MOST_BELOW_0800 + 1, 0x80, 0x7FF)
    assert most_octets(MOST_BELOW_10000, 0x80, 0xFFFF) <= 63 < most_octets(MOST_BELOW_10000 + 1, 0x80, 0xFFFF)
    randomness = random.Random(0)
    for _ in range(300):
        label = "".join(chr(randomness.randrange(0x80, 0x800)) for _ in range(MOST_BELOW_0800))
        assert 20 < len(b"xn--" + label.encode("punycode")) <= most


@pytest.mark.parametrize(("letter", "most"), [("é", MOST_BELOW_0800), ("א", MOST_BELOW_0800), ("日", MOST_BELOW_10000)])
def test_length_of_idn_labels(letter, most):
    assert accepts("idn-hostname", letter * most)
    assert not accepts("idn-hostname", letter * (most + 1))


def is_idn_mailbox(text):
    local, at, domain = text.rpartition("@")
    if not at or not is_local_part(local, ascii_only=False):
        return False
    return is_mailbox(f"a@{domain}") or all_are_idna(domain.split("."))


def all_are_idna(labels):
    """Whether the labels can be in one name of any length: what they share is but their direction."""
    return all(is_idna(f"{label}.{other}") for label in labels for other in labels)


def test_idn_mailboxes_are_sound():
    pytest.importorskip("idna", reason="it comes with transformers")
    verdicts = []
    seeds = [*VALID["email"], *(f"x@{name}" for name in VALID["idn-hostname"])]

    @settings(max_examples=500, deadline=None, derandomize=True, database=None)
    @given(edited("idn-email", [*'@."\\[]a é\x85\uffffא日\u0301ü-', "日本"], seeds))
    def check(text):
        verdicts.append(accepts("idn-email", text))
        assert is_idn_mailbox(text) or not verdicts[-1]

    check()
    assert min(verdicts.count(True), verdicts.count(False)) > len(verdicts) // 10
    assert [text for text in walks("idn-email", 500, stop=0.3) if not is_idn_mailbox(text)] == []


# --- regular expressions -------------------------------------------------------------------------


class Malformed(Exception):
    pass


class Ecma:
    """A parser of patterns by recursive descent (ECMA-262, section 22.2.1, with the flag ``u``)."""

    CATEGORIES = frozenset(
        kind + sub
        for kind, subs in zip("LMNPSZC", ("ultmo", "nce", "dlo", "cdseif", "mcko", "slp", "cfson"), strict=True)
        for sub in ("", *subs)
    )

    def __init__(self, pattern):
        self.text = pattern
        self.at = 0
        self.names = []
        self.groups = 0
        self.references = []
        self.disjunction()
        if self.at < len(pattern) or len(set(self.names)) < len(self.names):
            raise Malformed
        for reference in self.references:
            if reference not in self.names if isinstance(reference, str) else reference > self.groups:
                raise Malformed

    def take(self, pattern):
        found = re.compile(pattern, re.DOTALL | re.ASCII).match(self.text, self.at)
        if found:
            self.at = found.end()
        return found

    def need(self, pattern):
        found = self.take(pattern)
        if not found:
            raise Malformed
        return found

    def disjunction(self):
        self.alternative()
        while self.take(r"\|"):
            self.alternative()

    def alternative(self):
        while self.at < len(self.text) and self.text[self.at] not in "|)":
            self.term()

    def term(self):
        if self.take(r"[\^$]|\\[bB]"):
            return
        if self.take(r"\(\?<?[=!]"):
            self.disjunction()
            self.need(r"\)")
            return
        self.atom()
        counts = self.take(r"(?:[*+?]|\{(\d+)(?:,(\d*))?\})\??")
        if counts and counts[1] and counts[2] and int(counts[1]) > int(counts[2]):
            raise Malformed

    def atom(self):
        if self.take(r"\(\?:") or self.take(r"\((?!\?)"):
            self.groups += self.text[self.at - 1] == "("
            self.disjunction()
            self.need(r"\)")
        elif named := self.take(r"\(\?<([A-Za-z_$][\w$]*)>"):
            self.groups += 1
            self.names.append(named[1])
            self.disjunction()
            self.need(r"\)")
        elif self.take(r"\["):
            self.take(r"\^")
            while not self.take(r"\]"):
                self.class_item()
        elif self.text[self.at] == "\\":
            self.escape(in_class=False)
        else:
            self.need(r"[^\^$\\*+?()\[\]{}|]")

    def escape(self, *, in_class):
        """Takes an escape; gives the code point, or None for a class or a back-reference."""
        self.need(r"\\")
        if found := self.take(r"u\{([0-9a-fA-F]+)\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})"):
            point = int(found[1] or found[2] or found[3], 16)
            if point > 0x10FFFF:
                raise Malformed
            return point
        if found := self.take(r"[pP]\{(\w+)\}"):
            if found[1] not in self.CATEGORIES:
                raise Malformed
            return None
        if self.take("[dDsSwW]"):
            return None
        if found := self.take(r"[\^$\\.*+?()\[\]{}|/]" + (r"|-" if in_class else "")):
            return ord(found[0])
        if in_class and self.take("b"):
            return 8
        if not in_class and (found := self.take(r"([1-9]\d*)|k<([^>]*)>")):
            self.references.append(int(found[1]) if found[1] else found[2])
            return None
        if control := self.take("c([A-Za-z])"):
            return ord(control[1]) % 32
        return {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13, "0": 0}[self.need(r"[tnvfr]|0(?!\d)")[0]]

    def class_atom(self):
        if self.text[self.at : self.at + 1] == "\\":
            return self.escape(in_class=True)
        return ord(self.need(r"[^\]\\]")[0])

    def class_item(self):
        low = self.class_atom()
        if self.take(r"-(?!\])"):
            high = self.class_atom()
            if low is None or high is None or low > high:
                raise Malformed


def is_pattern(text):
    try:
        Ecma(text)
    except Malformed:
        return False
    return True


def test_regex_is_sound():
    assert all(map(is_pattern, [*VALID["regex"], *LEFT_OUT["regex"][:-1]]))
    assert not any(map(is_pattern, INVALID["regex"]))
    verdicts = []
    alphabet = [*"()[]{}|*+?^$.\\/-,:=!<>ab019Zé", "(?:", "[a-", "\\d", "{1,2}", "{12,", "(?<n>"]

    @settings(max_examples=800, deadline=None, derandomize=True, database=None)
    @given(edited("regex", alphabet, ["[0-9]{3}", "(a|b)*", "^(?:x)$"]))
    def check(text):
        verdicts.append((accepts("regex", text), is_pattern(text)))
        assert verdicts[-1] != (True, False)

    check()
    accepted, valid = (sum(pair[which] for pair in verdicts) for which in (0, 1))
    assert accepted > len(verdicts) // 10
    assert accepted > valid // 2
    assert [text for text in walks("regex", 800) if not is_pattern(text)] == []


def test_regex_is_what_patterns_are_made_of():
    """The package itself reads every pattern of the format, or refuses what is not regular."""
    refused = 0
    for text in walks("regex", 300):
        try:
            pattern_expression(text, dialect="ecma", search=True)
        except UnsupportedConstraint:
            refused += 1
    assert refused < 150
