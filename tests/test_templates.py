"""Templates, pins, infilling, slots and their probabilities: against string work, enumeration and validators."""

import datetime
import itertools
import math
import re
from enum import Enum
from typing import Literal

import pytest
import torch
from enumeration import TOY, enumerate_canvases
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from small_models import byte_tokenizer, random_model

import constrained_diffusion as cd

TOKENIZER = byte_tokenizer()
GENERATOR = cd.Generator(cd.DiffusionGemmaDenoiser(random_model(TOKENIZER), TOKENIZER))
BYTES = cd.Vocabulary([*(bytes([b]) for b in range(256)), b"ab", b"ship", b"12", b", ", None], end_ids=260)


class Color(Enum):
    RED = "red"
    BLUE = "deep blue"


class Point(BaseModel):
    x: int
    y: int


# --- what a template is --------------------------------------------------------------------------


def test_fixed_text_and_slots():
    note = cd.template("Order {id:[0-9]{6}} ships on {day} ({{ok}}).", day=cd.choice(["Mon", "Tue"]))
    assert note.matches("Order 004711 ships on Tue ({ok}).")
    assert not note.matches("Order 4711 ships on Tue ({ok}).")
    assert not note.matches("Order 004711 ships on Wed ({ok}).")
    assert note.parse("Order 004711 ships on Tue ({ok}).") == {"id": "004711", "day": "Tue"}
    with pytest.raises(cd.errors.ConstraintError, match="not a text of template"):
        note.parse("Order")


@pytest.mark.parametrize(
    ("kind", "good", "value", "bad"),
    [
        (int, "-12", -12, "1.5"),
        (float, "2.5", 2.5, "x"),
        (bool, "true", True, "yes"),
        (str, "any line", "any line", "two\nlines"),
        (datetime.date, "2024-02-29", datetime.date(2024, 2, 29), "2023-02-29"),
        (Literal["a", "b c"], "b c", "b c", "c"),
        (Color, "deep blue", Color.BLUE, "blue"),
        (Point, '{"x": 1, "y": 2}', Point(x=1, y=2), '{"x": 1}'),
        (list[int], "[1, 2]", [1, 2], "1, 2"),
        ("fixed", "fixed", "fixed", "else"),
        (cd.regex("[a-c]+"), "abc", "abc", "d"),
    ],
    ids=str,
)
def test_what_fills_a_slot(kind, good, value, bad):
    template = cd.template("<{slot}>", slot=kind)
    assert template.matches(f"<{good}>")
    assert not template.matches(f"<{bad}>")
    assert template.parse(f"<{good}>") == {"slot": value}


@pytest.mark.parametrize(
    ("text", "slots", "message"),
    [
        ("a } b", {}, r"a single } at line 1, column 3"),
        ("a\n {b", {}, r"the { at line 2, column 2 is never closed"),
        ("{1a}", {}, r"is called '1a'"),
        ("{}", {}, r"is called ''"),
        ("{a}", {"b": int}, r"no slot {b}; it has a"),
        ("{a:x}", {"a": int}, r"{a} is described twice"),
        ("{a:x}{a:y}", {}, r"{a} is described twice"),
        ("{a:(}", {}, r"the slot \{a\}: .*unterminated"),
        ("{a}", {"a": 5}, r"the slot \{a\}: 5 is neither"),
        ("{a}", {"a": [1]}, r"the slot \{a\}: met list"),
        ("{a:[}]", {}, "is never closed"),
        (5, {}, "takes a string, met int"),
    ],
)
def test_malformed_templates(text, slots, message):
    with pytest.raises(cd.errors.InvalidConstraint, match=message):
        cd.template(text, **slots)


def test_a_name_that_occurs_twice_has_the_same_text():
    twice = cd.template("{a}{b}-{a}{b}", a=cd.choice(["x", "yy"]), b=cd.choice(["1", "2"]))
    texts = {f"{a}{b}-{c}{d}" for a, b, c, d in itertools.product(["x", "yy"], "12", ["x", "yy"], "12")}
    assert {t for t in texts if twice.matches(t)} == {f"{a}{b}-{a}{b}" for a in ["x", "yy"] for b in "12"}
    with pytest.raises(cd.errors.UnsupportedConstraint, match=r"\{a\} stands in several places"):
        cd.template("{a} and {a}")


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from(["{s}", "{t}", "a", "b", "{u}"]), min_size=2, max_size=5).map("".join),
    st.lists(st.sampled_from(["", "a", "b", "ab", "aa", "bab"]), min_size=1, max_size=4, unique=True),
    st.text(st.sampled_from("ab"), max_size=8),
)
def test_a_repeated_slot_has_one_text_at_all_of_its_places(source, options, text):
    """Against back-references, which try shorter texts first."""
    shortest_first = "|".join(sorted(options, key=len))
    patterns = {"s": f"(?:{shortest_first})", "t": "[ab]{1,2}?", "u": "(?:|b)"}
    pattern = source
    for name, inner in patterns.items():
        pattern = pattern.replace(f"{{{name}}}", f"(?P<{name}>{inner})", 1).replace(f"{{{name}}}", f"(?P={name})")
    used = {name: cd.regex(inner.replace("?}", "}")) for name, inner in patterns.items() if f"{{{name}}}" in source}
    template = cd.template(source, **(used | ({"t": cd.regex("[ab]{1,2}")} if "t" in used else {})))
    expected = re.fullmatch(pattern, text)
    assert template.matches(text) == (expected is not None)
    if expected is not None:
        assert template.parse(text) == expected.groupdict()
        places = {part.name: (part.begin, part.end) for part in reversed(template.parts(text.encode()))}
        assert places == {name: expected.span(name) for name in used}


def test_braces_in_a_set_of_characters_are_letters():
    template = cd.template(r"<{a:[^}]+}|{b:[]}{]}|{c:[\]}]{2}}>")
    assert template.matches("<x{|}|]}>")
    assert not template.matches("<x}|}|]}>")


@pytest.mark.parametrize("pattern", ["a|ab|b", "a*", "ab?", "(a|ab)(b|ba)?", "aa|aaa", "a*b", "(ab)?", ""])
@pytest.mark.parametrize(("least", "most"), [(0, None), (1, None), (2, 3), (0, 1), (3, 3), (2, 2), (4, 6)])
def test_the_texts_of_a_repetition_are_found(pattern, least, most):
    repeated = cd.template("{x}", x=cd.regex(pattern)).repeat(least, most)
    whole = re.compile(f"(?:{pattern}){{{least},{'' if most is None else most}}}")
    for text in ("".join(letters) for n in range(7) for letters in itertools.product("ab", repeat=n)):
        parts = repeated.parts(text.encode())
        if whole.fullmatch(text) is None:
            assert parts == ()
            continue
        assert least <= len(parts) <= (len(text) + least if most is None else most)
        assert "".join(text[part.begin : part.end] for part in parts) == text
        assert all(re.fullmatch(pattern, text[part.begin : part.end]) for part in parts)


def test_a_template_that_is_repeated_or_left_out_keeps_its_slots():
    list_of_two = (cd.template("{x:[0-9]}") + ";").repeat(2, 2)
    result = GENERATOR.generate("x", list_of_two, seed=0, max_new_tokens=8, max_passes=2)
    assert result.slots["x"].text == result.text[0]
    assert [p.begin for p in cd.template("{x:[0-9]}").optional().parts(b"7")] == [0]
    (part,) = cd.tagged("<", cd.template("{x:[0-9]}"), ">").parts(b"a <7> b")
    assert (part.name, part.begin) == ("x", 3)


def test_the_slot_that_nothing_fills_is_named():
    nothing = cd.regex("a") & cd.regex("b")
    with pytest.raises(cd.errors.InfeasibleError, match=r"the slot \{a\} has none, since of .* contradict each other"):
        GENERATOR.generate("x", "begin " + cd.template("{b} {a}", a=nothing, b="x"))
    with pytest.raises(cd.errors.InfeasibleError, match="its parts contradict each other"):
        GENERATOR.generate("x", cd.template("{b}", b=cd.literal("x")) & "y")


def test_templates_nest_and_combine():
    inner = cd.template("{x:[0-9]+}:{y:[0-9]+}")
    outer = "at " + cd.template("[{place}]", place=inner) + "!"
    text = b"at [3:14]!"
    assert outer.matches(text)
    (place,) = outer.parts(text)
    assert (place.name, text[place.begin : place.end]) == ("place", b"3:14")
    assert [(p.name, text[p.begin : p.end]) for p in place.parts] == [("x", b"3"), ("y", b"14")]
    either = cd.template("a{n:[0-9]}") | cd.template("b{m:[0-9]}")
    assert [p.name for p in either.parts(b"b7")] == ["m"]
    narrowed = cd.template("{n:[0-9]+}") & ~cd.literal("13")
    assert [p.name for p in narrowed.parts(b"12")] == ["n"]
    assert outer.fixed_spans(text) == [(0, 3), (3, 4), (5, 6), (8, 9), (9, 10)]


fixed_texts = st.text(st.sampled_from("a{}é .,\n"), max_size=6)
slot_patterns = st.sampled_from(["[0-9]{1,3}", "(ab|ba)*", "[^x]{0,4}", "é+", "Mon|Tue"])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(fixed_texts, min_size=2, max_size=4), st.lists(slot_patterns, min_size=1, max_size=3), st.integers(0, 99)
)
def test_random_templates_under_random_logits(texts, patterns, seed):
    """Fixed parts byte for byte, slots of their patterns, inside the canvas; judged by ``re`` alone."""
    pieces = [texts[0]]
    for i, (pattern, text) in enumerate(zip(patterns, texts[1:], strict=False)):
        pieces += [(f"s{i}", pattern), text]
    source = "".join(p.replace("{", "{{").replace("}", "}}") if isinstance(p, str) else f"{{{p[0]}}}" for p in pieces)
    slots = {p[0]: cd.regex(p[1]) for p in pieces if not isinstance(p, str)}
    template = cd.template(source, **slots)
    oracle = re.compile("".join(re.escape(p) if isinstance(p, str) else f"({p[1]})" for p in pieces))
    automaton = cd.compile(template, BYTES)
    length = automaton.min_tokens + seed % 4
    logits = torch.randn(length, 261, generator=torch.Generator().manual_seed(seed)) * (1 + seed % 7)
    posterior = automaton.posterior(logits)
    for ids in (posterior.map(), posterior.sample(torch.Generator().manual_seed(seed))):
        text = automaton.text(ids)
        assert oracle.fullmatch(text)
        parts = template.parts(text.encode())
        assert [p.name for p in parts] == list(slots)
        assert all(slots[p.name].matches(text.encode()[p.begin : p.end]) for p in parts)


# --- the slots of a generation, and their probabilities ------------------------------------------


def test_slots_of_a_generation():
    template = cd.template("é{day}: {n:[0-9]{2}}", day=cd.choice(["Mon", "Tue"]))
    result = GENERATOR.generate("x", template, seed=0, max_new_tokens=16, max_passes=3)
    day, n = result.slots["day"], result.slots["n"]
    assert result.value == {"day": day.text, "n": n.text}
    assert result.text[day.begin : day.end] == day.text
    spelled = [GENERATOR.denoiser.vocabulary.tokens[i] for i in result.token_ids[n.token_begin : n.token_end]]
    assert n.text.encode() in b"".join(spelled)
    assert n.text.encode() not in b"".join(spelled[1:])
    assert sum(day.probabilities.values()) == pytest.approx(1, abs=1e-6)
    assert n.probabilities is None


TOY_TEMPLATES = [
    cd.template("{s}b{t}", s=cd.choice(["a", "ab", ""]), t=cd.choice(["a", "b"])),
    cd.template("{s}{t}", s=cd.choice(["ab", "b"]), t=cd.choice(["a", "aa", "b"])),
]


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(TOY_TEMPLATES), st.integers(3, 5), st.integers(0, 10**6))
def test_slot_probabilities_are_those_of_enumeration(template, length, seed):
    """Every canvas is weighed by brute force; a text that splits in two ways counts for both answers."""
    logits = torch.randn(1, length, len(TOY), generator=torch.Generator().manual_seed(seed)) * 2
    generator = cd.Generator(cd.ScriptedDenoiser(TOY, [logits]))
    result = generator.generate(
        "", template, max_new_tokens=length, max_passes=1, temperature=1.0, seed=0, ask=["s", ("s", "t")]
    )
    texts = enumerate_canvases(logits[0], template.matches).texts
    for names, found in ((("s",), result.slots["s"].probabilities), (("s", "t"), result.joint["s", "t"])):
        for answer, probability in found.items():
            values = dict(zip(names, (answer,) if isinstance(answer, str) else answer, strict=True))
            fixed = template.fixed(values)
            expected = sum(p for ids, p in texts.items() if fixed.matches(b"".join(TOY.tokens[i] for i in ids[:-1])))
            assert probability == pytest.approx(expected, abs=1e-5)


def test_probabilities_of_a_slot_that_a_canvas_boundary_cuts():
    """The answer is decided on the first canvas by its first letter, or on the second by the last one."""
    vocabulary = cd.Vocabulary([b"a", b"b", b"c", None], end_ids=3)
    logits = torch.zeros(1, 2, 4)
    generator = cd.Generator(cd.ScriptedDenoiser(vocabulary, [logits]))
    template = cd.template("{s}", s=cd.choice(["abc", "abb", "cab"]))
    result = generator.generate("", template, max_new_tokens=4, max_passes=1, seed=0)
    probabilities = result.slots["s"].probabilities
    assert sum(probabilities.values()) == pytest.approx(1)
    expected = [0, 0.5, 0.5] if result.text.startswith("a") else [1 / 3] * 3
    assert sorted(probabilities.values()) == pytest.approx(expected)


def test_what_cannot_be_asked():
    template = cd.template("{a:[0-9]+} {b}", b=cd.choice(["x", "y"]))
    with pytest.raises(cd.errors.InvalidConstraint, match=r"no slot \{c\}; there is a, b"):
        GENERATOR.generate("x", template, ask=["c"])
    with pytest.raises(cd.errors.UnsupportedConstraint, match=r"\{a\} has more than 1,000 texts"):
        GENERATOR.generate("x", template, ask=["a"])
    with pytest.raises(cd.errors.InvalidConstraint, match="needs a constraint with slots"):
        GENERATOR.generate("x", None, ask=["a"])


def test_choosing_is_a_classification_by_one_pass():
    logits = torch.zeros(1, 3, len(TOY))
    logits[0, 0, 1] = 2.0
    generator = cd.Generator(cd.ScriptedDenoiser(TOY, [logits]))
    answer = generator.choose("", ["a", "b", "ba"], max_new_tokens=3)
    expected = enumerate_canvases(logits[0], lambda text: text in (b"a", b"b", b"ba")).texts
    by_text = {
        t: sum(p for ids, p in expected.items() if b"".join(TOY.tokens[i] for i in ids[:-1]) == t.encode())
        for t in ("a", "b", "ba")
    }
    assert dict(answer.probabilities) == pytest.approx(by_text, abs=1e-6)
    assert answer.text == answer.value == max(by_text, key=by_text.get)
    assert list(answer.probabilities.values()) == sorted(answer.probabilities.values(), reverse=True)


# --- pins ----------------------------------------------------------------------------------------


def test_pins_from_texts_and_holes():
    pins = GENERATOR.pins(["Hi ", 3, " ab"])
    spelled = [GENERATOR.denoiser.vocabulary.tokens[i] if i >= 0 else None for i in pins]
    assert spelled == [b"H", b"i", b" ", None, None, None, b" ", b"ab"]
    result = GENERATOR.generate("x", None, pins=pins, max_new_tokens=16, max_passes=3, seed=1)
    assert all(pin in (-1, token) for pin, token in zip(pins, result.token_ids, strict=False))
    assert len(result.token_ids) >= len(pins)
    for bad in (["a", 1.5], ["a", -1]):
        with pytest.raises(cd.errors.ModelError, match="the length of a hole"):
            GENERATOR.pins(bad)


def test_pinned_positions_hold_their_token_on_every_canvas_that_the_model_reads():
    script = [torch.randn(1, 4, len(TOY), generator=torch.Generator().manual_seed(i)) * 3 for i in range(6)]
    denoiser = cd.ScriptedDenoiser(TOY, script)
    pins = [-1, 1, -1, -1, 0]
    result = cd.Generator(denoiser, cd.Process(max_passes=3, stopping=cd.NeverStop())).generate(
        "", cd.regex("[ab]{5,8}"), pins=pins, max_new_tokens=8, seed=0
    )
    first, second = denoiser.canvases[:3], denoiser.canvases[3:]
    assert all(canvas[0, 1] == 1 for canvas in first)
    assert all(canvas[0, 0] == 0 for canvas in second)
    assert result.token_ids[1] == 1
    assert result.token_ids[4] == 0
    assert cd.regex("[ab]{5,8}").matches(result.text)


def test_pins_that_cannot_be_met_are_named():
    with pytest.raises(cd.errors.InfeasibleError, match=r"token 1 \(b'b'\) pinned at position 1"):
        cd.Generator(cd.RandomDenoiser(TOY, canvas_length=4)).generate(
            "", cd.regex("a*"), pins=[-1, 1], max_new_tokens=4
        )
    with pytest.raises(cd.errors.ModelError, match="the pin at position 0 is 99"):
        cd.Generator(cd.RandomDenoiser(TOY, canvas_length=4)).generate("", cd.regex("a*"), pins=[99])


def test_revising_keeps_spans_and_shows_the_draft():
    logits = torch.randn(1, 6, len(TOY), generator=torch.Generator().manual_seed(3))
    denoiser = cd.ScriptedDenoiser(TOY, [logits])
    result = cd.Generator(denoiser).revise(
        "", "abbaa", [(1, 3)], cd.regex("[ab]*"), max_new_tokens=6, max_passes=2, seed=0
    )
    shown = [TOY.tokens[i] for i in denoiser.canvases[0][0].tolist()[:3]]
    assert shown == [b"ab", b"ba", b"a"]
    assert result.text.startswith("abba")
    with pytest.raises(cd.errors.InvalidConstraint, match="occurs 2 times"):
        cd.Generator(denoiser).revise("", "abab", ["ab"])
    with pytest.raises(cd.errors.InvalidConstraint, match="not within the draft of 4 characters"):
        cd.Generator(denoiser).revise("", "abab", [(2, 9)])


# --- filling in the middle -----------------------------------------------------------------------


@settings(deadline=None, max_examples=25)
@given(st.text("ab1 é", min_size=1, max_size=5), st.text("ab2é,", max_size=5), st.integers(0, 99))
def test_prefix_middle_and_suffix_are_in_the_language(prefix, suffix, seed):
    constraint = cd.regex("[ab1 é]*[0-9]{2}[ab2é,]*")
    result = GENERATOR.infill(prefix, suffix, constraint, seed=seed, max_new_tokens=16, max_passes=2)
    assert constraint.matches(prefix + result.text + suffix)
    assert result.stats.tokens <= 16
    assert result.value == prefix + result.text + suffix


def test_several_holes():
    result = GENERATOR.infill_many(
        ["def f(", None, "):\n    return ", None, "\n"], seed=0, max_new_tokens=32, max_passes=2
    )
    first, second = result.slots["0"], result.slots["1"]
    assert result.text == f"def f({first.text}):\n    return {second.text}\n"
    assert result.text[second.begin : second.end] == second.text


def test_a_prefix_that_ends_inside_a_token_is_healed():
    """The model's favourite spells the last given byte and the next one together."""
    vocabulary = cd.Vocabulary([b"a", b"b", b"ab", None], end_ids=3)

    class Model(cd.Denoiser):
        vocabulary_ = vocabulary

        def __init__(self):
            self.vocabulary, self.canvas_length, self.width = vocabulary, 3, 4
            self.noise, self.device = cd.UniformNoise(4), torch.device("cpu")
            self.prompt_format = cd.RandomDenoiser(vocabulary).prompt_format
            self.read = None

        def prompt_ids(self, prompt):
            return self.text_ids(prompt)

        def encode(self, prompts):
            self.read = [list(p) for p in prompts]

        def logits(self, context, canvas, self_conditioning):
            logits = torch.zeros(1, 3, 4)
            logits[0, 0, 2] = logits[0, 1, 3] = 9.0
            return logits

        def commit(self, context, canvas):
            return context

    model = Model()
    result = cd.Generator(model).infill("ba", "", cd.regex("ba[ab]*"), max_new_tokens=3, seed=0)
    assert model.read == [[1]]
    assert (result.text, result.token_ids) == ("b", (2,))


def test_the_slots_of_a_constraint_are_told_of_what_is_filled_in():
    """Probabilities against enumeration; a slot may begin in what is given."""
    logits = torch.randn(1, 4, len(TOY), generator=torch.Generator().manual_seed(3))
    whole = cd.template("a{s}{t}a", s=cd.choice(["ab", "b"]), t=cd.choice(["a", "b", "bb"]))
    generator = cd.Generator(cd.ScriptedDenoiser(TOY, [logits]))
    result = generator.infill("a", "a", whole, max_new_tokens=4, max_passes=1, temperature=1.0, ask=["s", ("s", "t")])
    assert result.value == {"s": result.slots["s"].text, "t": result.slots["t"].text}
    assert "".join(("a", result.slots["s"].text, result.slots["t"].text, "a")) == f"a{result.text}a"
    texts = enumerate_canvases(logits[0], lambda content: whole.matches(b"a" + content)).texts
    for names, found in ((("s",), result.slots["s"].probabilities), (("s", "t"), result.joint["s", "t"])):
        for answer, probability in found.items():
            fixed = whole.fixed(dict(zip(names, (answer,) if isinstance(answer, str) else answer, strict=True)))
            spelled = {ids: b"a" + b"".join(TOY.tokens[i] for i in ids[:-1]) for ids in texts}
            expected = sum(p for ids, p in texts.items() if fixed.matches(spelled[ids]))
            assert probability == pytest.approx(expected, abs=1e-5)
    begun = generator.infill("ab", "a", whole, max_new_tokens=4, max_passes=1)
    assert (begun.slots["s"].begin, begun.slots["s"].token_begin) == (1, 0)
    with pytest.raises(cd.errors.InvalidConstraint, match=r"no slot \{x\}; there is s, t"):
        generator.infill("a", "a", whole, ask=["x"])


def test_infilling_that_cannot_be():
    with pytest.raises(cd.errors.InfeasibleError, match=r"no text of .* begins with what is given: 1:2: met 'x'"):
        GENERATOR.infill("1x", "2", cd.regex("[0-9]*"))
    with pytest.raises(cd.errors.InfeasibleError, match="what is given does not go together with the constraint"):
        GENERATOR.infill("1", "x", cd.regex("[0-9]*"))
    with pytest.raises(cd.errors.InfeasibleError, match="The constraint is of the whole text"):
        GENERATOR.infill("ab ", "!", cd.regex("[0-9]*"))
    with pytest.raises(cd.errors.InfeasibleError, match="at least"):
        GENERATOR.infill("1", "2" * 40, cd.regex("[0-9]*"), max_new_tokens=8)
    with pytest.raises(cd.errors.InvalidConstraint, match="no hole"):
        GENERATOR.infill_many(["a", "b"])
    with pytest.raises(cd.errors.InvalidConstraint, match="among the pieces"):
        GENERATOR.infill_many(["a", 3])
    with pytest.raises(cd.errors.InfeasibleError):
        GENERATOR.infill("🙂", "🙂", cd.regex("🙂"))
    with pytest.raises(TypeError, match="unexpected keyword argument 'n'"):
        GENERATOR.infill("a", "b", n=3)


def test_the_model_is_shown_the_fixed_parts_where_the_proposal_has_them():
    """Flat logits: nothing is certain, and still the suffix stands on every canvas behind the first."""
    vocabulary = cd.Vocabulary([b"a", b"b", b"c", b"d", None], end_ids=4)
    denoiser = cd.ScriptedDenoiser(vocabulary, [torch.zeros(1, 12, 5)])
    process = cd.Process(max_passes=8, stopping=cd.NeverStop())
    cd.Generator(denoiser, process).generate("", cd.template("{m:[bcd]*}aaa"), max_new_tokens=12, seed=0)
    shown = [canvas[0].tolist() for canvas in denoiser.canvases]
    assert all(any(ids[k : k + 3] == [0, 0, 0] for k in range(10)) for ids in shown[1:])
    assert len({tuple(ids[:6]) for ids in shown}) > 4


# --- several texts, several canvases -------------------------------------------------------------


def test_different_texts():
    results = GENERATOR.generate("x", cd.regex("[ab]{1,2}"), n=6, seed=0, max_passes=2, max_new_tokens=8)
    assert {r.text for r in results} == {"a", "b", "aa", "ab", "ba", "bb"}
    assert len(GENERATOR.generate("x", cd.choice(["p", "q"]), n=5, seed=0, max_passes=2, max_new_tokens=8)) == 2
    with pytest.raises(cd.errors.ModelError, match="n=2 goes with one prompt"):
        GENERATOR.generate(["x", "y"], None, n=2)


class Constant(cd.Denoiser):
    """The same logits at every pass."""

    def __init__(self, vocabulary, logits):
        self.vocabulary, self.rows = vocabulary, logits
        self.canvas_length, self.width = logits.shape
        self.noise, self.device = cd.UniformNoise(self.width), logits.device
        self.prompt_format = cd.RandomDenoiser(vocabulary).prompt_format

    def prompt_ids(self, prompt):
        return []

    def encode(self, prompts):
        return None

    def logits(self, context, canvas, self_conditioning):
        return self.rows.expand(len(canvas), -1, -1)

    def commit(self, context, canvas):
        return context


LETTERS = cd.Vocabulary([b"a", b"b", b"c", b"d", None, None], end_ids=4, specials={"<s>": 5})


def test_different_texts_come_with_their_own_probabilities():
    """Those found later too are weighed under the constraint that was asked for, not under what was left of it."""
    logits = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    template = cd.template("{x}{y}", x=cd.choice(["a", "b"]), y=cd.choice(["c", "d"]))
    found = cd.Generator(Constant(LETTERS, logits)).generate(
        "", template, n=9, seed=0, temperature=1.0, max_new_tokens=3
    )
    automaton = cd.compile(template, LETTERS)
    posterior = automaton.posterior(logits)
    ids = [torch.tensor([*result.token_ids, 4]) for result in found]
    assert [r.log_probability for r in found] == pytest.approx([float(posterior.log_prob(i)) for i in ids], abs=1e-5)
    assert [r.log_probability for r in found] == sorted((r.log_probability for r in found), reverse=True)
    assert len(found) == 4
    for result, spelled in zip(found, ids, strict=True):
        marginals = posterior.log_marginals()[range(len(spelled)), spelled].exp()
        assert result.probabilities == pytest.approx(marginals[:-1].tolist(), abs=1e-5)
    first = found[0].slots["x"].probabilities
    for result in found[1:]:
        assert result.slots["x"].probabilities == pytest.approx(first, abs=1e-5)


def test_different_texts_with_special_tokens():
    constraint = cd.special("<s>") + cd.choice(["a", "b", "c", "d"])
    found = cd.Generator(Constant(LETTERS, torch.zeros(4, 6))).generate("", constraint, n=6, seed=0, max_new_tokens=4)
    assert {r.text for r in found} == set("abcd")


def test_several_texts_tell_of_their_passes():
    seen = []
    cd.Generator(Constant(LETTERS, torch.zeros(3, 6))).generate(
        "", cd.regex("[ab]{2}"), n=3, seed=0, max_new_tokens=3, on_pass=lambda number, record: seen.append(number)
    )
    assert set(seen) >= {0}


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([["aaa", "aab", "bba"], ["a", "ab", "abc"]]))
def test_listed_probabilities_are_distributions(seed, length, options):
    """Also where the boundary of two canvases could cut the slot: there given that the text ends on the first one."""
    logits = torch.randn(length, 6, generator=torch.Generator().manual_seed(seed)) * 2
    result = cd.Generator(Constant(LETTERS, logits)).generate(
        "",
        cd.template("{x}{end}", x=cd.choice(options), end=cd.regex("d?")),
        seed=0,
        max_new_tokens=8,
        max_passes=1,
        temperature=1.0,
    )
    slot = result.slots["x"]
    assert sum(slot.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert list(slot.probabilities.values()) == sorted(slot.probabilities.values(), reverse=True)
    assert slot.unlisted == ""
    if result.trace[-1].canvas == 0:
        assert slot.probabilities == pytest.approx(shares_on_one_canvas(logits, options), abs=1e-5)


def shares_on_one_canvas(logits, options):
    """The probability of each answer by enumeration; if some canvas leaves it open, given that the text ends on it."""
    p = torch.log_softmax(logits.double(), -1).exp().tolist()
    texts = {x + end: x for x in options for end in ("", "d")}
    shares = {kind: dict.fromkeys(options, 0.0) for kind in ("all", "ended")}
    is_open = False
    for ids in itertools.product(range(5), repeat=len(p)):  # up to the end token
        spelled = "".join("abcd"[i] for i in itertools.takewhile(lambda i: i < 4, ids))
        is_ended = 4 in ids
        if is_ended and any(i != 4 for i in ids[len(spelled) :]):
            continue
        answers = {texts[t] for t in texts if (t == spelled if is_ended else t.startswith(spelled))}
        weight = math.prod(p[i][token] for i, token in enumerate(ids[: len(spelled) + is_ended]))
        is_open |= len(answers) > 1
        for answer in answers:
            shares["all"][answer] += weight
            shares["ended"][answer] += weight * is_ended
    chosen = shares["ended" if is_open else "all"]
    return {answer: share / sum(chosen.values()) for answer, share in chosen.items()}


def test_the_slot_that_makes_a_text_too_long_is_named():
    template = cd.template("Order {id:[0-9]{30}} on {day}.", day=cd.choice(["Mon", "Tue"]))
    with pytest.raises(cd.errors.InfeasibleError, match=r"is 12; .* The slot \{id\} alone needs 15 tokens"):
        GENERATOR.generate("x", template, max_new_tokens=12)
    with pytest.raises(cd.errors.InfeasibleError, match=r"The slot \{a\} alone needs 18 tokens"):
        GENERATOR.generate("x", cd.template("{a} {b} {a}", a=cd.regex("c{9}|d{9}"), b="d" * 9), max_new_tokens=9)
    long = cd.json_schema(
        {"type": "object", "properties": {"n": {"type": "string", "minLength": 60}}, "required": ["n"]}
    )
    with pytest.raises(cd.errors.InfeasibleError, match=r"The slot \{long\} alone needs"):
        GENERATOR.generate("x", cd.template("{id}: {long}", id=int, long=cd.regex("n*") + long), max_new_tokens=5)
    with pytest.raises(cd.errors.InfeasibleError, match=r"relax the constraint$"):
        GENERATOR.generate("x", cd.template("{a}{b}{c}", a="abcd", b="efgh", c="ijkl"), max_new_tokens=2)


def test_so_many_probabilities_are_listed_unasked():
    template = cd.template("".join(f"{{s{i}:[0-9a-f]}}" for i in range(20)))
    slots = GENERATOR.generate("x", template, seed=0, max_new_tokens=24, max_passes=1).slots
    assert [name for name, slot in slots.items() if slot.probabilities] == [f"s{i}" for i in range(16)]
    assert "256 texts together" in slots["s16"].unlisted
    asked = GENERATOR.generate("x", template, seed=0, max_new_tokens=24, max_passes=1, ask=["s19"]).slots
    assert sum(asked["s19"].probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_why_there_are_no_probabilities():
    generator = cd.Generator(Constant(LETTERS, torch.zeros(6, 6)))
    overlapping = cd.template("{x}{y}", x=cd.choice(["a", "aa"]), y=cd.choice(["a", "aa"]))
    options = {"seed": 0, "max_new_tokens": 6, "max_passes": 1}
    assert "in several ways" in generator.generate("", overlapping, **options).slots["x"].unlisted
    assert "at most 64 texts" in generator.generate("", cd.template("{x:[ab]+}"), **options).slots["x"].unlisted


def test_answers_longer_than_a_canvas():
    generator = cd.Generator(Constant(LETTERS, torch.zeros(3, 6)))
    with pytest.raises(cd.errors.InfeasibleError, match="do not fit into one canvas of 3 tokens"):
        generator.choose("", ["aaaa", "bbbb"])
    assert generator.choose("", ["aaaa", "b"]).probabilities == {"b": 1.0, "aaaa": 0.0}


def test_slots_whose_answers_are_no_single_event_are_not_listed():
    either = cd.template("a{x}", x=cd.choice(["b", "c"])) | cd.template("b{x}", x=cd.choice(["c", "d"]))
    twice = cd.template("{x}", x=cd.choice(["a", "b"])) + cd.template("{x}", x=cd.choice(["a", "b"]))
    overlapping = cd.template("{x}{y}", x=cd.choice(["a", "aa"]), y=cd.choice(["a", "aa"]))
    generator = cd.Generator(Constant(LETTERS, torch.zeros(6, 6)))
    for constraint in (either, twice, overlapping):
        result = generator.generate("", constraint, seed=0, max_new_tokens=6, max_passes=1)
        assert result.slots["x"].probabilities is None


def test_the_parts_of_long_texts_are_found_at_once():
    """Time in proportion to the text, not to its square."""
    from constrained_diffusion.constraints.parts import split

    anything = cd.text().default_automaton
    text = ("ab" * 20_000).encode()
    assert split(text, [anything, anything, cd.literal("b").default_automaton]) == [
        (0, 0),
        (0, 39_999),
        (39_999, 40_000),
    ]
    assert split(b"ab", [anything, cd.literal("x").default_automaton]) is None
    assert split(b"", []) == []


def test_streamed_canvases_join_to_the_text():
    """Characters of two bytes over canvases of three tokens, a byte each: every boundary cuts somewhere else."""
    tokens = cd.Vocabulary([bytes([b]) for b in range(256)] + [None], end_ids=256)
    constraint = cd.regex("é{4,6}x?é")
    for seed in range(6):
        generator = cd.Generator(cd.RandomDenoiser(tokens, canvas_length=3, seed=seed))
        chunks = list(generator.stream("", constraint, max_new_tokens=20, seed=seed, max_passes=2))
        again = cd.Generator(cd.RandomDenoiser(tokens, canvas_length=3, seed=seed))
        whole = again.generate("", constraint, max_new_tokens=20, seed=seed, max_passes=2)
        assert len(chunks) > 2
        assert "".join(chunks) == whole.text
        assert constraint.matches("".join(chunks))


def test_what_cannot_be_streamed_is_told_before_the_first_canvas():
    with pytest.raises(cd.errors.InfeasibleError, match="at least 41 tokens"):
        GENERATOR.stream("x", cd.regex("c{40}"), max_new_tokens=12)


BOUNDARY_SCHEMA = {
    "type": "object",
    "properties": {"ключ": {"type": "string", "minLength": 3, "maxLength": 6}, "b": {"enum": ["é", "日本"]}},
    "required": ["ключ", "b"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("canvas_length", range(3, 15))
def test_a_boundary_at_every_place_ends_valid(canvas_length):
    """Inside a string, inside a character, inside a key."""
    import json

    import jsonschema

    constraint = cd.json_schema(BOUNDARY_SCHEMA, whitespace="compact")
    generator = cd.Generator(cd.RandomDenoiser(BYTES, canvas_length=canvas_length, seed=canvas_length))
    needed = generator.compile(constraint).min_tokens
    for budget in (needed, needed + 1, needed + 9):
        result = generator.generate("", constraint, max_new_tokens=budget, seed=1, max_passes=2)
        jsonschema.validate(json.loads(result.text), BOUNDARY_SCHEMA)
        assert result.stats.tokens <= budget
    with pytest.raises(cd.errors.InfeasibleError, match=f"at least {needed} tokens"):
        generator.generate("", constraint, max_new_tokens=needed - 1)


# --- free text -----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=80)
@given(st.text("abc", max_size=8), st.sampled_from(["ab", "aa", "aba", "abcab", "c"]))
def test_free_text_ends_where_the_marker_begins(text, marker):
    free = cd.text(until=marker)
    assert free.matches(text) == ((text + marker).find(marker) == len(text))


def test_an_empty_marker_is_refused():
    with pytest.raises(cd.errors.InvalidConstraint, match="until is str ''; expected the text that ends"):
        cd.text(until="")


@settings(deadline=None, max_examples=80)
@given(st.text("abc", max_size=9))
def test_tagged_parts(text):
    tagged = cd.tagged("ab", cd.regex("c+"), "a", at_least=1, at_most=2)
    free = "(?:(?!ab)(?s:.))*?"
    expected = re.fullmatch(f"(?:{free}abc+a){{1,2}}{free}", text) is not None
    assert tagged.matches(text) == expected


def tagged_parts(text, begin, content, end, start=0):
    """How many tagged parts a text can be read to have, from the left."""
    first = text.find(begin, start)
    if first < 0:
        return {0}
    behind = first + len(begin)
    spans = [(i, j) for i in range(behind, len(text) + 1) for j in range(i, len(text) + 1) if text[i:j] == end]
    ends = {j for i, j in spans if re.fullmatch(content, text[behind:i])}
    return {1 + count for j in ends for count in tagged_parts(text, begin, content, end, j)}


@pytest.mark.parametrize(
    ("begin", "content", "end"),
    [("<c", "[1<]", ""), ("<c1<c", "1?", ""), ("<<c", "1", "<"), ("<<", "1?", "<"), ("<c<c1", "1?", "<c")],
)
def test_tagged_parts_whose_begin_repeats_its_first_letters(begin, content, end):
    tagged = cd.tagged(begin, cd.regex(content), end, at_most=2)
    for text in map("".join, (letters for n in range(9) for letters in itertools.product("<c1", repeat=n))):
        assert tagged.matches(text) == (min(tagged_parts(text, begin, content, end), default=3) <= 2), text


# --- special tokens and tool calls ---------------------------------------------------------------

SPECIAL = cd.Vocabulary(
    [*(bytes([b]) for b in range(256)), b"ab", None, None, None, None],
    end_ids=257,
    specials={"<open>": 258, "<close>": 259, "<end>": 257},
)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_special_tokens_stand_where_they_are_asked_for_and_nowhere_else(seed, canvas_length):
    constraint = cd.special("<open>") + cd.template("{thought}") + cd.special("<close>") + cd.template("{n:[0-9]{2}}")
    generator = cd.Generator(cd.RandomDenoiser(SPECIAL, canvas_length=canvas_length, seed=seed))
    result = generator.generate("", constraint, seed=seed, max_new_tokens=12, max_passes=2)
    ids = list(result.token_ids)
    assert ids[0] == 258
    assert ids.count(258) == ids.count(259) == 1
    assert re.fullmatch(r"\d\d", result.slots["n"].text)
    assert result.text == result.slots["thought"].text + result.slots["n"].text
    assert result.slots["n"].token_begin == ids.index(259) + 1


def test_the_bytes_of_marks_are_no_text():
    """Byte tokens FF and FE exist, but cannot spell a mark letter by letter."""
    automaton = cd.compile(cd.special("<open>") + "a", SPECIAL)
    assert automaton.min_tokens == 3
    assert automaton.advance(None, [258, 97]) >= 0
    with pytest.raises(cd.errors.InfeasibleError, match="leaves the language"):
        automaton.advance(None, [255])
    with pytest.raises(cd.errors.InfeasibleError, match="cannot spell any text of special"):
        cd.compile(cd.special("<end>"), SPECIAL)


def test_special_tokens_of_a_tokenizer():
    vocabulary = GENERATOR.denoiser.vocabulary
    assert vocabulary.specials == {"<bos>": 2}
    ids = [2, *TOKENIZER.encode("hi", add_special_tokens=False), 1]
    automaton = cd.compile(cd.special("<bos>") + "hi", vocabulary)
    assert automaton.advance(None, ids) == automaton.tail
    assert automaton.text(ids) == "hi"


def weather(city: str, day: datetime.date, days: int = 1) -> str:
    """A function that is only described."""


SEARCH = {
    "type": "function",
    "function": {
        "name": "search",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string", "maxLength": 12}},
            "required": ["query"],
            "additionalProperties": False,
        },
    },
}
CALL = '<tool_call>{"name": "weather", "arguments": {"city": "Rome", "day": "2024-02-29"}}</tool_call>'


def test_tool_calls_are_read():
    calls = cd.tools([weather, SEARCH])
    text = f'First {CALL} then <tool_call>{{"name": "search", "arguments": {{"query": "<tool_call>"}}}}</tool_call>.'
    assert calls.parse(text) == [
        cd.Call("weather", {"city": "Rome", "day": datetime.date(2024, 2, 29)}),
        cd.Call("search", {"query": "<tool_call>"}),
    ]
    assert calls.parse("no call") == []
    assert not calls.matches(CALL.replace("02-29", "02-30"))
    assert not calls.matches(CALL.replace("weather", "wether"))
    assert not calls.matches("<tool_call>")


@pytest.mark.parametrize(
    ("choice", "none", "one", "two"),
    [
        ("auto", True, True, True),
        ("none", True, False, False),
        ("required", False, True, True),
        ("weather", False, True, False),
    ],
)
def test_tool_choice(choice, none, one, two):
    calls = cd.tools([weather, SEARCH], choice=choice)
    assert (calls.matches("hm"), calls.matches(CALL), calls.matches(CALL + CALL)) == (none, one, two)


GEMMA = cd.Vocabulary(
    [*(bytes([b]) for b in range(256)), b"call:", *[None] * 4],
    end_ids=257,
    specials={"<|tool_call>": 258, "<tool_call|>": 259, '<|"|>': 260},
)


def plan(stops: list[str], far: bool, map_: dict[str, float] | None = None) -> None:
    """A function that is only described."""


gemma_values = st.recursive(
    st.booleans() | st.integers(-9, 99) | st.text('ab"\\\\\n:{}é', max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["k", "é1"]), inner, max_size=2),
    max_leaves=4,
)


def in_gemma(value):
    """The oracle: a value in Gemma's syntax, with marks for its tokens."""
    quote = b'\xff<|"|>\xfe'
    if isinstance(value, str):
        return quote + value.encode() + quote
    if isinstance(value, list):
        return b"[" + b",".join(map(in_gemma, value)) + b"]"
    if isinstance(value, dict):
        return b"{" + b",".join(k.encode() + b":" + in_gemma(v) for k, v in value.items()) + b"}"
    return repr(value).lower().encode()


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.sampled_from(["a", "b_2"]), gemma_values, min_size=1))
def test_values_in_gemma_s_syntax(arguments):
    """Written by hand, read by the constraint of a schema that allows just this value's shape."""
    tool = {"name": "f", "parameters": {"enum": [arguments]}}
    calls = cd.tools([tool], choice="f", syntax="gemma")
    content = b"\xff<|tool_call>\xfecall:f" + in_gemma(arguments) + b"\xff<tool_call|>\xfe"
    assert calls.matches(content)
    assert calls.value(content) == [cd.Call("f", arguments)]
    assert not calls.matches(content.replace(b"call:f", b"call:g"))


@pytest.mark.parametrize("seed", range(4))
def test_calls_in_gemma_s_syntax_are_written(seed):
    calls = cd.tools([plan, SEARCH], choice="required", syntax="gemma", at_most=2)
    generator = cd.Generator(cd.RandomDenoiser(GEMMA, canvas_length=32, seed=seed))
    result = generator.generate("", calls, seed=seed, max_new_tokens=128, max_passes=2)
    assert 1 <= len(result.value) <= 2
    for call in result.value:
        assert call.name in ("plan", "search")
        assert set(call.arguments) <= {"stops", "far", "map_", "query"}


def test_tools_between_special_tokens():
    calls = cd.tools([SEARCH], choice="search", begin=cd.special("<open>"), end=cd.special("<close>"))
    generator = cd.Generator(cd.RandomDenoiser(SPECIAL, canvas_length=64))
    result = generator.generate("", calls, seed=0, max_new_tokens=64, max_passes=2)
    (call,) = result.value
    assert call.name == "search"
    assert len(call.arguments["query"]) <= 12


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "expected at least one"),
        ("book", "expected a list of tools"),
        ([lambda _x: None], "has no type"),
        ([weather, weather], "each name once"),
        ([3], "met the tool 3"),
        ([{"title": "x"}], "a mapping with name and parameters"),
        ([lambda x: x], "has no type"),
        ([{"name": ""}], "whose name is empty"),
        ([{"name": "f", "parameters": {"type": "string"}}], "the tool 'f' has the parameters .* Schema of an object"),
        ([{"name": "f", "parameters": int}], "expected a JSON Schema of an object"),
    ],
)
def test_malformed_tools(given, message):
    with pytest.raises(cd.errors.InvalidConstraint, match=message):
        cd.tools(given)
    with pytest.raises(cd.errors.InvalidConstraint, match="choice='maybe'"):
        cd.tools([weather], choice="maybe")


def test_arguments_are_an_object_whether_their_schema_says_so_or_not():
    calls = cd.tools([{"name": "f", "parameters": {"properties": {"x": {"type": "integer"}}}}], choice="f")
    assert calls.parse('<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>')[0].arguments == {"x": 1}
    assert not calls.matches('<tool_call>{"name": "f", "arguments": 3}</tool_call>')


def test_parameters_that_would_be_lost_are_refused():
    def one(_x: int, y: int) -> None: ...
    def two(model_config: int) -> None: ...

    for function in (one, two):
        with pytest.raises(cd.errors.InvalidConstraint, match="pydantic keeps for itself"):
            cd.tools([function])
    with pytest.raises(cd.errors.InvalidConstraint, match="at_most=5 does not go with choice='weather'"):
        cd.tools([weather], choice="weather", at_most=5)


def test_special_tokens_are_explained():
    explained = (cd.special("<s>") + "x").explain("x")
    assert "expected a special token" in explained
    assert "one edit makes it '<s>x', where <s> stands for a special token" in explained
    assert cd.tools([weather], choice="required").explain("x").splitlines()[0].endswith("expected any character")


def test_a_slot_is_fixed_to_a_text():
    with pytest.raises(cd.errors.InvalidConstraint, match=r"the text of slot \{d\} is dict"):
        cd.template("{d}", d=cd.json_schema({})).fixed({"d": {"a": 1}})
