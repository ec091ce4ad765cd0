"""Small Lark grammars, each for one part of Lark's meaning, with texts to mutate and the characters to do it with."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sampled:
    source: str
    texts: tuple[str, ...]
    characters: str


GRAMMARS = {
    "keywords": Sampled(
        'start: stmt+\nstmt: "if" NAME "then" stmt | NAME "=" value ";"\nvalue: NAME | INT\n'
        "NAME: /[a-z]+/\nINT: /[0-9]+/\n%ignore /[ \\n]+/",
        ("if x then y = 1;", "iffy = then2;", "a=b; if a then b=c;", "if if then x=1;", "x = if;"),
        "iftxhen =;1 ",
    ),
    "words apart": Sampled(
        'start: "let" NAME "be" NAME\nNAME: /[a-z]+/\n%ignore " "',
        ("let a be b", "leta be b", "let a bebe", "let let be b"),
        "letab ",
    ),
    "strings and comments": Sampled(
        "start: (ESCAPED_STRING | CNAME | SIGNED_NUMBER)*\n%import common (ESCAPED_STRING, CNAME, SIGNED_NUMBER, WS)\n"
        "%import common.C_COMMENT\n%import common.CPP_COMMENT\n%ignore WS\n%ignore C_COMMENT\n%ignore CPP_COMMENT",
        (r'"a\"b" x', r'"\\" "', "a /* b */ c", "// d\n e", "-1.5e3 +2", r'"é\\\"" /**/', "1e 2", "/* * / */ x"),
        '"\\/*ax1.e-+ \né',
    ),
    "back up": Sampled(
        'start: range ("," range)*\nrange: NUMBER ".." NUMBER | NUMBER | NUMBER "." NAME\n'
        "NUMBER: /[0-9]+(\\.[0-9]+)?(e[+-]?[0-9]+)?/\nNAME: /[a-z+]+/",
        ("1..2", "1.5..2.5", "1.e+", "1.5.x,2", "1e..2", "1e+5..2"),
        "12.e+x,",
    ),
    "first not longest": Sampled(
        'start: (SHORT | B | LONG)+\nSHORT: /a|ab/\nB: "b"\nLONG.2: /abcc?/',
        ("ab", "abc", "aab", "abccab", "abb"),
        "abc",
    ),
    "lazy": Sampled(
        "start: (TAG | TEXT)+\nTAG: /<.*?>/\nTEXT: /[^<>]+/",
        ("<a>b<c>", "<<>", "a", "<a\n>", "x>"),
        "<>ab\n",
    ),
    "look around": Sampled(
        'start: (LONG | STRING | /x/)+\nLONG.1: /\\"\\"\\".*?(?<!\\\\)(\\\\\\\\)*?\\"\\"\\"/s\n'
        'STRING: /"(?!"").*?(?<!\\\\)(\\\\\\\\)*?"/i',
        ('"""a"b"""', '"a"x', '""', '""""""', '"\\"x', '"""\\"""'),
        '"\\xa\n',
    ),
    "flags": Sampled(
        'start: "select"i NAME ("," NAME)* ["from"i NAME]\nNAME: /[a-z_]\\w*/i\n%ignore " "',
        ("SELECT a, b FROM c", "select A", "Select fromage from x", "sElecT é"),
        "selctfrom A,é1",
    ),
    "templates and counts": Sampled(
        'start: list{item, ","}\nlist{x, d}: x (d x)*\nitem: "a"~2..3 | "[" list{item, ";"} "]" | ("b" "c")~2',
        ("aa,aaa", "[aa;aa]", "bcbc,[aa]", "aaaa"),
        "abc[];,",
    ),
    "dangling else": Sampled(
        'start: s\ns: "i" s | "i" s "e" s | "x"',
        ("ix", "iixex", "iixexex", "xe"),
        "ixe",
    ),
    "nothing": Sampled('start: a? b*\na: "a"\nb: "b" a?', ("", "a", "abba", "bb"), "ab"),
    "contexts": Sampled(
        'start: "<" KEY "=" VALUE ">"\nKEY: /[a-z]+/\nVALUE: /[^>]+/',
        ("<a=b>", "<a==>", "<ab=<>", "<a=>"),
        "<>=ab",
    ),
    "precedence": Sampled(
        'start: (A | B | C)+ "!"\nA.3: "ab"\nB: /[a-c]+/\nC.-1: /[a-z!]/\n',
        ("ab!", "abc!", "xab!", "a!", "!!"),
        "abcx!",
    ),
}
GRAMMARS["look ahead behind the match"] = Sampled(
    'start: (WORD | NUMBER | "." | "if")+\n'
    'WORD: /if(?!\\w)|[a-z]+!/\nNUMBER: /[0-9](?!\\.[0-9])|[0-9]\\.[0-9]/\n%ignore " "',
    ("if 1", "1.5", "1.", "ifx!", "1 .5", "12.5.if", "if!"),
    "ifx!1.5 ",
)
GRAMMARS["ignored words"] = Sampled(
    'start: (T | "b" | "x" "a")* ["." r]\nr: "a" ";"?\nT: /[abc]c?/\n%ignore "a"',
    ("b", "a", "aab", "xa", "xaa", "b.", "b.a;", "xab.aa"),
    "abcx.;",
)
GRAMMARS["ignored patterns"] = Sampled(
    'start: ("x" "\\n"?)+ "," ["a" "b"]\nWS: /[ \\n]+/\nA: /a+/\n%ignore WS\n%ignore A',
    ("x,a", "x\n,aa", "x x,", "ax,a", "x\nx ,", "x,ab"),
    "x\n ,ab",
)
