"""Grammars of the library as parts of templates, rows and infilled texts: each part is judged by Lark."""

import json
import re

import pytest
import torch
from grammar_sentences import parses
from test_grammar_posterior import BYTES, END_ID, wild_logits

import constrained_diffusion as cd
from constrained_diffusion.cli import main

KINDS = ("random", "peaked", "opening", "closing")
LENGTH = 64
ARITHMETIC, JSON, SQL, PYTHON = (cd.grammar(n) for n in ("arithmetic", "json", "sql_select", "python_expression"))


def between(before, name, behind):
    """Whether a text is one of the grammar between two fixed ones."""

    def holds(text):
        is_between = text.startswith(before) and text.endswith(behind) and len(text) >= len(before + behind)
        return is_between and parses(name, text[len(before) : len(text) - len(behind)])

    return holds


def lines(text):
    *rows, rest = text.split("\n")
    return rest == "" and 1 <= len(rows) <= 3 and all(parses("arithmetic", row) for row in rows)


def tagged(text):
    parts = text.split("<sql>")
    ended = [part.split("</sql>", 1) for part in parts[1:]]
    return all(len(part) == 2 and parses("sql_select", part[0]) for part in ended) and 1 <= len(ended) <= 2


def fenced(text):
    found = re.fullmatch(r"(?s)(.*?)```json\n(.*)\n```", text)
    return found is not None and "```" not in found[1] and parses("json", found[2])


def pair(text):
    return any(
        parses("arithmetic", text[:place]) and parses("json", text[place + 1 :])
        for place in range(len(text))
        if text[place] == ","
    )


COMPOSED = {
    "statement": ("SQL: " + SQL + ";\n", between("SQL: ", "sql_select", ";\n")),
    "either": (JSON | ARITHMETIC, lambda text: parses("json", text) or parses("arithmetic", text)),
    "lines": ((ARITHMETIC + "\n").repeat(1, 3), lines),
    "template": (cd.template("f(x) = {body};", body=ARITHMETIC), between("f(x) = ", "arithmetic", ";")),
    "function": (
        "def area(r):\n    return " + PYTHON + "\n",
        between("def area(r):\n    return ", "python_expression", "\n"),
    ),
    "tagged": (cd.tagged("<sql>", SQL, "</sql>", at_least=1, at_most=2), tagged),
    "fenced": (cd.text(until="```") + "```json\n" + JSON + "\n```", fenced),
    "two kinds": (ARITHMETIC + "," + JSON, pair),
    "maybe": (("x = " + ARITHMETIC).optional(), lambda text: text == "" or between("x = ", "arithmetic", "")(text)),
}
AUTOMATA = {name: cd.compile(constraint, BYTES) for name, (constraint, _) in COMPOSED.items()}


@pytest.mark.parametrize("open_until", [0, 40])
@pytest.mark.parametrize("name", COMPOSED)
def test_every_part_is_one_of_its_grammar_whatever_the_logits(name, open_until):
    constraint, holds = COMPOSED[name]
    # Brackets that nothing asks for make the search for a long text of Python wide: seconds for each.
    kinds = KINDS[:2] if name == "function" and open_until else KINDS
    for seed, kind in enumerate(kinds):
        posterior = AUTOMATA[name].posterior(wild_logits(kind, seed, length=LENGTH, open_until=open_until))
        for ids in (posterior.map(), posterior.sample(torch.Generator().manual_seed(seed))):
            text = AUTOMATA[name].text(ids)
            assert END_ID in ids.tolist()
            assert holds(text), text
            assert constraint.matches(text)


@pytest.mark.parametrize("name", ["statement", "lines", "template", "two kinds"])
def test_a_canvas_may_end_anywhere_in_a_composed_text(name):
    """From every prefix of a text the rest is found, in one canvas and in several that leave a budget to the next."""
    automaton, holds = AUTOMATA[name], COMPOSED[name][1]
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(LENGTH, len(BYTES), generator=generator)
    logits[:20, END_ID] = -torch.inf
    whole = automaton.posterior(logits).map().tolist()
    ids = whole[: whole.index(END_ID)]
    for cut in range(len(ids) + 1):
        state = automaton.advance(None, ids[:cut])
        rest = automaton.posterior(torch.randn(40, len(BYTES), generator=generator), state=state).map()
        assert holds(automaton.text(ids[:cut] + rest.tolist()))
        written, state = ids[:cut], state
        for left in (36, 24, 12, 0):
            part = automaton.posterior(torch.randn(12, len(BYTES), generator=generator), state=state, budget=left)
            tokens = part.sample(torch.Generator().manual_seed(cut)).tolist()
            written = written + tokens
            if END_ID in tokens:
                break
            state = automaton.advance(state, tokens)
        assert holds(automaton.text(written))


@pytest.mark.parametrize("name", COMPOSED)
def test_a_budget_that_is_just_enough(name):
    automaton = AUTOMATA[name]
    least = automaton.completion(automaton.start)
    logits = torch.randn(least, len(BYTES), generator=torch.Generator().manual_seed(0))
    posterior = automaton.posterior(logits)
    for ids in (posterior.map(), posterior.sample(torch.Generator().manual_seed(0))):
        assert COMPOSED[name][1](automaton.text(ids))
    if automaton.min_tokens > 1:
        with pytest.raises(cd.errors.InfeasibleError):
            automaton.posterior(logits[: automaton.min_tokens - 1])


def test_pins_at_the_seams():
    automaton = AUTOMATA["statement"]
    logits = torch.randn(48, len(BYTES), generator=torch.Generator().manual_seed(5))
    for position in range(16, 40, 8):
        pins = torch.full((48,), -1)
        pins[position], pins[position + 1] = BYTES.tokens.index(b";"), BYTES.tokens.index(b"\n")
        ids = automaton.posterior(logits, pins=pins).map()
        assert ids[position : position + 2].tolist() == pins[position : position + 2].tolist()
        assert COMPOSED["statement"][1](automaton.text(ids))


def test_nesting_forty_deep_in_a_slot():
    automaton = AUTOMATA["template"]
    deep = "f(x) = " + "(" * 40 + "1"
    state = automaton.advance(None, [BYTES.tokens.index(bytes([byte])) for byte in deep.encode()])
    ids = automaton.posterior(wild_logits("opening", 0, length=48), state=state).map()
    assert COMPOSED["template"][1](deep + automaton.text(ids))
    favoured = torch.zeros(128, len(BYTES))
    for position, byte in enumerate((deep + ")" * 40 + ";").encode()):
        favoured[position, BYTES.tokens.index(bytes([byte]))] = 20
    assert automaton.text(automaton.posterior(favoured).map()) == deep + ")" * 40 + ";"


SEAMS = cd.Vocabulary(
    [*(bytes([b]) for b in range(256)), b"n (", b"1;", b"+1;\n", b") F", b"t\n", b"SELECT a", b"a FROM t", None],
    end_ids=[263],
)
GENERATOR = cd.Generator(cd.RandomDenoiser(SEAMS, canvas_length=24, seed=1))
INFILLED = {
    "a row": ("def area(r):\n    return ", "\n", "def area(r):\n    return " + PYTHON + "\n", COMPOSED["function"][1]),
    "inside a row": ("def area(r):\n    return 1 + (", ")\n", "def area(r):\n    return " + PYTHON + "\n", None),
    "the whole": ("SELECT ", " FROM t", SQL, lambda text: parses("sql_select", text)),
    "deep inside": ('{"a": [1, {"b": "', '"}]}', JSON, lambda text: json.loads(text) is not None),
    "a template": ("f(x) = 2 * ", ";", cd.template("f(x) = {body};", body=ARITHMETIC), COMPOSED["template"][1]),
}
INFILLED["inside a row"] = (*INFILLED["inside a row"][:3], COMPOSED["function"][1])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", INFILLED)
def test_prefix_middle_and_suffix_are_one_text_of_the_whole(name, seed):
    prefix, suffix, whole, holds = INFILLED[name]
    result = GENERATOR.infill(prefix, suffix, whole, seed=seed, max_new_tokens=40, max_passes=2)
    assert holds(prefix + result.text + suffix)
    assert whole.matches(prefix + result.text + suffix)
    assert result.stats.tokens <= 40


def test_what_cannot_be_filled_in():
    with pytest.raises(cd.errors.InfeasibleError, match=r"no text of .* begins with what is given: 1:8: met '\)'"):
        GENERATOR.infill("f(x) = )", ";", cd.template("f(x) = {body};", body=ARITHMETIC))
    with pytest.raises(cd.errors.InfeasibleError):
        GENERATOR.infill("1 + ", "x;", ARITHMETIC + ";", max_new_tokens=16)


def test_slots_and_values_of_a_template():
    constraint = cd.template("{a} = {b}", a=ARITHMETIC, b=JSON)
    result = cd.Generator(cd.RandomDenoiser(BYTES, canvas_length=40, seed=2)).generate(
        "", constraint, seed=0, max_new_tokens=40, max_passes=2
    )
    assert result.text == f"{result.slots['a'].text} = {result.slots['b'].text}"
    assert parses("arithmetic", result.slots["a"].text)
    assert parses("json", result.slots["b"].text)
    assert result.value == {"a": result.slots["a"].text, "b": result.slots["b"].text}


def test_a_text_is_explained():
    statement = COMPOSED["statement"][0]
    assert statement.explain("SQL: select 1;\n") is None
    assert "1:15: the text ends, expected" in statement.explain("SQL: select 1 ")
    assert "one edit makes it 'f(x) = 1;'" in COMPOSED["template"][0].explain("f(x) = (1;")


def test_special_tokens_around_a_grammar():
    vocabulary = cd.Vocabulary(
        [*(bytes([b]) for b in range(256)), None, None, None],
        end_ids=[256],
        specials={"<|sql|>": 257, "<|end|>": 258},
    )
    constraint = cd.tagged(cd.special("<|sql|>"), ARITHMETIC, cd.special("<|end|>"), at_least=1, at_most=1)
    automaton = cd.compile(constraint, vocabulary)
    for seed in range(4):
        logits = 3 * torch.randn(32, len(vocabulary), generator=torch.Generator().manual_seed(seed))
        posterior = automaton.posterior(logits)
        for ids in (posterior.map().tolist(), posterior.sample(torch.Generator().manual_seed(seed)).tolist()):
            begin, end = ids.index(257), ids.index(258)
            assert parses("arithmetic", vocabulary.decode(ids[begin + 1 : end]).decode())
            assert ids.count(257) == ids.count(258) == 1


def test_a_composition_is_kept_on_disk_and_saved(tmp_path, monkeypatch):
    monkeypatch.setenv("CONSTRAINED_DIFFUSION_CACHE", str(tmp_path))
    monkeypatch.setattr("constrained_diffusion.automata.token_automaton._LEAST_SECONDS", 0.0)
    logits = wild_logits("random", 0, length=40)
    found = []
    for suffix in (";", ";", "."):
        automaton = cd.compile("x = " + ARITHMETIC + suffix, BYTES)
        found.append(automaton.text(automaton.posterior(logits).map()))
    assert found[0] == found[1]
    assert found[2].endswith(".")
    assert len(sorted(tmp_path.glob("grammar-automaton-*.npz"))) == 2
    automaton = AUTOMATA["two kinds"]
    automaton.save(tmp_path / "saved.npz")
    loaded = cd.TokenAutomaton.load(tmp_path / "saved.npz", BYTES)
    for seed in range(3):
        posteriors = [one.posterior(wild_logits("random", seed, length=40)) for one in (automaton, loaded)]
        first, second = (posterior.map().tolist() for posterior in posteriors)
        assert first == second


def test_many_ways_to_split_a_text_are_followed_as_far_as_they_go():
    """Every letter may open a bracket or begin a new text, so the threads differ in depth and grow in number."""
    words = cd.grammar('start: "a" start | "a" "b"* | "b" start "a"')
    constraint = words.repeat() + "."
    for count in (3, 20, 60, 200):
        assert constraint.matches("ab" * count + ".")
        assert not constraint.matches("ab" * count)
        assert not constraint.matches("b" * count + ".")


FAST = ["--seed", "0", "--max-new-tokens", "32", "--max-passes", "2"]


def test_grammars_on_the_command_line(capsys):
    assert main(["infill", "f(x) = ", ";", "--grammar", "arithmetic", *FAST]) == 0
    assert parses("arithmetic", capsys.readouterr().out.removesuffix("\n"))
    assert main(["template", "{a} is {b}.", "sums", "--grammar", "a=arithmetic", "--choice", "b=odd,even", *FAST]) == 0
    found = re.fullmatch(r"(?s)(.*) is (odd|even)\.\n", capsys.readouterr().out)
    assert parses("arithmetic", found[1])
    assert main(["template", "{a}", "sums", "--grammar", "arithmetic", *FAST]) == 2
    assert "met --grammar 'arithmetic', expected NAME=FILE" in capsys.readouterr().err
    assert main(["template", "{a}", "sums", "--grammar", "a=json", "--choice", "a=b", *FAST]) == 2
    assert "describe a slot twice" in capsys.readouterr().err


def test_tokens_that_differ_only_to_an_earlier_match_are_told_apart():
    """Behind "abc" Lark takes "eX" for the end of a name, but "dX" for the end of "abcd" and a name that cannot be."""
    words = cd.grammar("start: A NAME\nA: /abcd|ab/\nNAME: /[a-z][a-zX]*/\n")
    for tokens in ([b"abc", b"dX", b"eX"], [b"abc", b"eX", b"dX"]):
        automaton = cd.compile(words, cd.Vocabulary([*tokens, None], end_ids=[3]))
        logits = torch.tensor([[9.0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 9.0]])
        for favoured in (1, 2):
            logits[1] = torch.tensor([0, 1.0, 1.0, 0.5])
            logits[1, favoured] = 5
            text = automaton.text(automaton.posterior(logits).map())
            assert words.matches(text)
            assert text == ("abceX" if tokens[favoured] == b"eX" else text)
