"""Internationalised host names (RFC 5890 to 5893) and mailboxes (RFC 6531).

Whether a label in Unicode is valid depends on tables of all characters, on the direction of the
whole name and on the length of its Punycode. What is accepted here is a part that holds in every
version of Unicode since 11: labels of one script out of those below, with letters and digits of
ASCII. Their characters and signs have one order and no composed form, so that every label is in
normalisation form C. Two hyphens in a row are left out with those that Punycode begins with.
"""

from typing import Final

from constrained_diffusion.automata import expressions as ex
from constrained_diffusion.automata.utf8 import ALL_CODE_POINTS
from constrained_diffusion.constraints.json_schema.formats.addresses import (
    ADDRESS_LITERAL,
    ATEXT,
    DOT,
    MAX_LABEL,
    QTEXT,
    SUB_DOMAIN,
    label,
    local_part,
)
from constrained_diffusion.constraints.json_schema.formats.rules import language
from constrained_diffusion.constraints.json_schema.spelling import optional

MOST_BELOW_0800: Final = 15
"""A label of so many characters below U+0800, whichever they are, has at most 63 octets in Punycode."""
MOST_BELOW_10000: Final = 11
"""Likewise of characters below U+10000."""

_ASCII = "a-z0-9"
_LATIN = "ß-öø-ÿāăąćĉċčďđēĕėęěĝğġģĥħĩīĭįıĵķĸĺļľłńņňŋōŏőœŕŗřśŝşšţťŧũūŭůűųŵŷźżž"
_GREEK = "ά-ώ"
_CYRILLIC = "а-џ"
_HIRAGANA = "ぁ-ゖゝゞ"
_KATAKANA = "ァ-ヺヽヾ"
_HAN = "々〇一-\u9fef"
_HANGUL = "가-힣"
_DEVANAGARI = "ऄ-हऽॐ०-९"
_DEVANAGARI_SIGNS = "\u0901-\u0903\u093e-\u094c"
_VIRAMA = "\u094d"
_HEBREW = "\u05d0-\u05ea"
_GERESH_AND_GERSHAYIM = "\u05f3\u05f4"
_ARABIC = "\u0621-\u063f\u0641-\u064a\u0679-\u06d3\u06d5\u06fd\u06fe"
_DUAL_JOINING = "\u0626\u0628\u062a-\u062e\u0633-\u063a\u0641-\u0647\u0649\u064a\u067e\u0686\u06a9\u06af\u06cc"
_RIGHT_JOINING = "\u0622-\u0625\u0627\u0629\u062f-\u0632\u0648\u0698"
_NON_JOINER = "\u200c"
_JOINERS = "\u200c\u200d"


# --- the shapes of labels (RFC 5892: section 2, which characters; appendix A, in which context) --------


def _alphabetic() -> ex.Expression:
    """Latin, Greek and Cyrillic; a middle dot only between two ``l`` (appendix A.3)."""
    letter = f"[{_ASCII}{_LATIN}{_GREEK}{_CYRILLIC}]"
    shape = language(f"{letter}(?:[-·]?{letter})*")
    return ex.Difference(shape, language("(?s:.*(?:[^l]·|·[^l]).*)"))


def _east_asian() -> ex.Expression:
    """Kana and Han; a katakana middle dot not without one of them (appendix A.7)."""
    native = f"[{_HIRAGANA}{_KATAKANA}{_HAN}]"
    any_of = f"[{_ASCII}{_HIRAGANA}{_KATAKANA}{_HAN}ー・]"
    return language(f"(?:[{_ASCII}]-?)*・?{native}(?:-?{any_of})*")


def _hangul() -> ex.Expression:
    letter = f"[{_ASCII}{_HANGUL}]"
    return language(f"{letter}(?:-?{letter})*")


def _devanagari() -> ex.Expression:
    """Devanagari; joiners only behind a virama (appendices A.1 and A.2)."""
    letter = f"[{_ASCII}{_DEVANAGARI}]"
    return language(f"{letter}(?:-?{letter}|[{_DEVANAGARI_SIGNS}]|{_VIRAMA}[{_JOINERS}]?)*")


def _hebrew() -> ex.Expression:
    """Hebrew; geresh and gershayim only behind a letter (appendices A.5 and A.6)."""
    letter = f"[{_HEBREW}][{_GERESH_AND_GERSHAYIM}]?"
    return language(f"{letter}(?:-?(?:{letter}|[0-9]))*")


def _arabic() -> ex.Expression:
    """Arabic; a non-joiner only between letters that would be joined (appendix A.1)."""
    shape = language(f"[{_ARABIC}](?:-?[{_ARABIC}0-9]|{_NON_JOINER}[{_ARABIC}])*")
    unjoined = f"[^{_DUAL_JOINING}]{_NON_JOINER}|{_NON_JOINER}[^{_DUAL_JOINING}{_RIGHT_JOINING}]"
    return ex.Difference(shape, language(f"(?s:.*(?:{unjoined}).*)"))


def _at_most(characters: int, shape: ex.Expression) -> ex.Expression:
    return ex.Intersection((shape, ex.Repetition(ex.characters(ALL_CODE_POINTS), 1, characters)))


def _left_to_right() -> ex.Expression:
    """Labels that stand in names without letters of Hebrew or Arabic."""
    alphabetic = _at_most(MOST_BELOW_0800, _alphabetic())
    others = (_at_most(MOST_BELOW_10000, shape) for shape in (_east_asian(), _hangul(), _devanagari()))
    return ex.Union((alphabetic, *others))


def _right_to_left() -> ex.Expression:
    """Labels in Hebrew or Arabic; all labels of a name then keep to the rule of RFC 5893, section 2."""
    return ex.Union((_at_most(MOST_BELOW_0800, _hebrew()), _at_most(MOST_BELOW_10000, _arabic())))


# --- names -----------------------------------------------------------------------------------------------


def idn_hostname() -> ex.Expression:
    """Host names of up to three labels, the third of ASCII, or of two in Hebrew or Arabic.

    The dots are those of RFC 3490, section 3.1. Labels of ASCII have up to 63 characters and no
    hyphens in third and fourth place (RFC 5891, section 4.2.3.1), so there is no Punycode.
    """
    dot = language("[.。．｡]")
    ascii_label = ex.Difference(label(MAX_LABEL), language("..--.*"))
    any_label = ex.Union((ascii_label, _left_to_right()))
    third = optional(ex.Concatenation((dot, ascii_label)))
    name = ex.Concatenation((any_label, optional(ex.Concatenation((dot, any_label, third)))))
    right_to_left = _right_to_left()
    return ex.Union((name, right_to_left, ex.Concatenation((right_to_left, dot, right_to_left))))


def idn_email() -> ex.Expression:
    """``Mailbox`` as RFC 6531, section 3.3, extends it, with the internationalised labels of ``idn_hostname``.

    All labels of a name are in Hebrew or Arabic, or none is.
    """
    non_ascii = "\x80-\U0010ffff"
    local = language(f"{local_part(ATEXT + non_ascii, QTEXT + non_ascii)}@")
    left_to_right = _dotted(ex.Union((language(SUB_DOMAIN), _left_to_right())))
    right_to_left = _dotted(_right_to_left())
    return ex.Concatenation((local, ex.Union((left_to_right, right_to_left, language(ADDRESS_LITERAL)))))


def _dotted(sub_domain: ex.Expression) -> ex.Expression:
    return ex.Concatenation((sub_domain, ex.Repetition(ex.Concatenation((DOT, sub_domain)))))
