"""Grammars in the manner of those that come with Lark and stand in its tutorials, with texts that they parse."""

MANNERS = {
    "ini": (
        r"""
start: _NL? section+
section: "[" NAME "]" _NL item*
item: NAME "=" VALUE? _NL
NAME: /[a-z_]\w*/i
VALUE: /[^\n]+/
_NL: /(\r?\n[\t ]*)+/
%ignore /[\t \f]+/
""",
        ("[a]\nx=1\n", "\n[a]\n[b]\ny = two words\n"),
    ),
    "json of the tutorial": (
        r"""
?start: value
?value: object | array | string | SIGNED_NUMBER -> number
      | "true" -> true | "false" -> false | "null" -> null
array: "[" [value ("," value)*] "]"
object: "{" [pair ("," pair)*] "}"
pair: string ":" value
string: ESCAPED_STRING
%import common.ESCAPED_STRING
%import common.SIGNED_NUMBER
%import common.WS
%ignore WS
""",
        ('{"a": [1, -2.5e3, true], "b\\"": null}', '"x"'),
    ),
    "calculator with assignments": (
        r"""
?start: sum | NAME "=" sum -> assign_var
?sum: product | sum "+" product -> add | sum "-" product -> sub
?product: atom | product "*" atom -> mul | product "/" atom -> div
?atom: NUMBER -> number | "-" atom -> neg | NAME -> var | "(" sum ")"
%import common.CNAME -> NAME
%import common.NUMBER
%import common.WS_INLINE
%ignore WS_INLINE
""",
        ("a = -(1 + b) * 2.5", "3/4"),
    ),
    "turtle": (
        r"""
start: instruction+
instruction: MOVEMENT NUMBER -> movement
           | "c" COLOR [COLOR] -> change_color
           | "fill" code_block -> fill
           | "repeat" NUMBER code_block -> repeat
code_block: "{" instruction+ "}"
MOVEMENT: "f"|"b"|"l"|"r"
COLOR: LETTER+
%import common.LETTER
%import common.INT -> NUMBER
%import common.WS
%ignore WS
""",
        ("c red yellow fill { repeat 36 { f200 l170 } }", "f 1"),
    ),
    "conf of many kinds of lines": (
        r"""
start: (line? _NL)+
line: directive | block
directive: KEY argument* ";"
block: KEY argument* "{" (line? _NL)* "}"
argument: KEY | QUOTED | NUMBER
KEY: /[a-z][a-z_]*/
QUOTED: /'[^'\n]*'/
NUMBER: /[0-9]+[kmg]?/
_NL: /\n+/
%ignore / +/
%ignore /#[^\n]*/
""",
        ("server {\n listen 80;\n\n}\n", "a 'b' 10k; # c\n"),
    ),
    "separated by a template": (
        r"""
start: _list{pair, ";"} | _list{_quoted, "|"}
pair: KEY "=" _sep{VALUE, ","}
_list{x, s}: "<" _sep{x, s} ">"
_sep{x, s}: x (s x)*
_quoted: "'" KEY "'"
KEY: /[a-z]+/
VALUE: /[0-9]+/
""",
        ("<a=1,2;b=3>", "<'a'|'b'>", "<a=1>"),
    ),
    "priorities of terminals": (
        r"""
start: (HEX | DEC | WORD | OP)+
HEX.3: /0x[0-9a-f]+/
DEC.2: /[0-9]+/
WORD.1: /[a-z0-9]+/
OP.-1: /[^ ]/
%ignore " "
""",
        ("0xff 12 ab3 +", "0x 1a"),
    ),
    "keywords against names": (
        r"""
start: statement+
statement: "let" NAME ["be" expression] "." | "print" expression "." | "if" expression "then" statement+ "end"
expression: NAME | NUMBER | expression "and" NAME | "not" expression
NAME: /[a-z]+/
NUMBER: /\d+/
%ignore /\s+/
""",
        ("let x be 12. print x and y.", "if not a then print 1. end", "let lets. print printed."),
    ),
    "counts": (
        r"""
start: record~2..4 "!"
record: "(" DIGIT~3 [("," WORD)~1..2] ")"
DIGIT: /[0-9]/
WORD: /[a-z]{2,30}/
""",
        ("(123)(456,ab)!", "(000,ab,cd)(111)(222)!"),
    ),
    "lists of Python": (
        r"""
start: assignment+
assignment: NAME "=" value _NEWLINE
?value: list | tuple | dict | STRING | NUMBER | NAME | "None" -> none
list: "[" [value ("," value)* [","]] "]"
tuple: "(" value "," [value ("," value)* [","]] ")"
dict: "{" [entry ("," entry)* [","]] "}"
entry: (STRING | NAME) ":" value
NAME: /[A-Za-z_]\w*/
NUMBER: /-?\d+(\.\d+)?/
STRING: /"[^"\n\\]*"|'[^'\n\\]*'/
_NEWLINE: /\n+/
%ignore /[ \t]+/
%ignore /\\\n/
""",
        ("x = [1, 'a', (None,), {\"k\": [],}]\n", "a = b\nc = {}\n\n"),
    ),
    "comments and strings": (
        r"""
start: (definition | use)*
definition: "def" CNAME "(" [CNAME ("," CNAME)*] ")" block
use: CNAME "(" [argument ("," argument)*] ")" ";"
argument: CNAME | ESCAPED_STRING | SIGNED_INT
block: "{" (definition | use)* "}"
%import common (CNAME, ESCAPED_STRING, SIGNED_INT, WS, C_COMMENT, CPP_COMMENT)
%ignore WS
%ignore C_COMMENT
%ignore CPP_COMMENT
""",
        ('def f(a, b) { g("x\\n", -1); } // end\n', "/* ( */ f();"),
    ),
    "case and flags": (
        r"""
start: query (";" query)* ";"?
query: "select"i columns "from"i NAME ["where"i condition]
columns: "*" | NAME ("," NAME)*
condition: NAME OPERATOR (NAME | INT) | condition AND NAME OPERATOR INT
AND.2: /and|or/i
OPERATOR: /[<>]=?|=|like/i
NAME: /[a-z_]+/i
INT: /[0-9]+/
%ignore /\s+/
""",
        ("SELECT a, b FROM t WHERE a >= 3 AND c like 4", "select * from x;"),
    ),
}
