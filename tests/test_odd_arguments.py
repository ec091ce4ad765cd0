"""Whatever is passed to a public function: it is taken, or refused by an error of this package."""

import contextlib
import math

import pytest
import torch

import constrained_diffusion as cd

LETTERS = [bytes([letter]) for letter in range(ord("a"), ord("z") + 1)]
VOCABULARY = cd.Vocabulary([*LETTERS, b"ab", None, None], end_ids=27, pad_id=28)
GENERATOR = cd.Generator(cd.RandomDenoiser(VOCABULARY, canvas_length=8))
AUTOMATON = cd.compile(cd.regex("[a-z]{1,5}"), VOCABULARY)
LETTER = cd.regex("a|b")
CHOICE = cd.template("{x}", x=cd.choice(["a", "b"]))
TOOL = {"name": "f"}
ODD = [None, True, 0, -1, 2**70, 1.5, math.nan, "", "x", "\ud800", b"x", b"\xff", [], ["a"], [None], {}, {"a": 1}]
ODD += [(1, 2), object(), int, type, len, LETTER, cd.Limits(), torch.tensor(1), torch.zeros(2, 2)]


def logits():
    return torch.zeros(6, len(VOCABULARY))


def generate(**options):
    return GENERATOR.generate("x", LETTER, **options)


CONSTRAINTS = {
    "regex": cd.regex,
    "literal": cd.literal,
    "choice": cd.choice,
    "special": cd.special,
    "text": lambda x: cd.text(until=x),
    "tagged, begin": lambda x: cd.tagged(x, "a", "b"),
    "tagged, content": lambda x: cd.tagged("a", x, "b"),
    "tagged, end": lambda x: cd.tagged("a", "b", x),
    "tagged, at least": lambda x: cd.tagged("a", "b", "c", at_least=x),
    "tagged, at most": lambda x: cd.tagged("a", "b", "c", at_most=x),
    "tools": cd.tools,
    "tools, one": lambda x: cd.tools([x]),
    "tools, name": lambda x: cd.tools([{"name": x}]),
    "tools, parameters": lambda x: cd.tools([{"name": "f", "parameters": x}]),
    "tools, function": lambda x: cd.tools([{"function": x}]),
    "tools, choice": lambda x: cd.tools([TOOL], choice=x),
    "tools, at most": lambda x: cd.tools([TOOL], at_most=x),
    "tools, syntax": lambda x: cd.tools([TOOL], syntax=x),
    "tools, begin": lambda x: cd.tools([TOOL], begin=x),
    "tools, end": lambda x: cd.tools([TOOL], end=x),
    "template": cd.template,
    "template, slot": lambda x: cd.template("a{x}", x=x),
    "schema": cd.json_schema,
    "schema, any_depth": lambda x: cd.json_schema({}, any_depth=x),
    "schema, max_count": lambda x: cd.json_schema({}, max_count=x),
    "schema, whitespace": lambda x: cd.json_schema({}, whitespace=x),
    "schema, registry": lambda x: cd.json_schema({"type": "null"}, registry=x),
    "schema, limits": lambda x: cd.json_schema({}, limits=x),
    "grammar": cd.grammar,
    "grammar, start": lambda x: cd.grammar('start: "a"', start=x),
    "+": lambda x: LETTER + x,
    "&": lambda x: LETTER & x,
    "| from the right": lambda x: x | LETTER,
    "repeat, min": LETTER.repeat,
    "repeat, max": lambda x: LETTER.repeat(0, x),
    "matches": LETTER.matches,
    "explain": LETTER.explain,
    "automaton": LETTER.automaton,
    "Limits": lambda x: cd.Limits(max_states=x),
}
AUTOMATA = {
    "Vocabulary": lambda x: cd.Vocabulary(x, end_ids=0),
    "Vocabulary, end": lambda x: cd.Vocabulary([b"a", None], end_ids=x),
    "Vocabulary, pad": lambda x: cd.Vocabulary([b"a", None], end_ids=1, pad_id=x),
    "from_tokenizer": cd.Vocabulary.from_tokenizer,
    "compile": lambda x: cd.compile(x, VOCABULARY),
    "compile, vocabulary": lambda x: cd.compile(LETTER, x),
    "compile, limits": lambda x: cd.compile(LETTER, VOCABULARY, limits=x),
    "advance": lambda x: AUTOMATON.advance(None, x),
    "advance, state": lambda x: AUTOMATON.advance(x, [1]),
    "text": AUTOMATON.text,
    "load": lambda x: cd.TokenAutomaton.load(x, VOCABULARY),
    "posterior": AUTOMATON.posterior,
    "posterior, state": lambda x: AUTOMATON.posterior(logits(), state=x),
    "posterior, budget": lambda x: AUTOMATON.posterior(logits(), budget=x),
    "posterior, pins": lambda x: AUTOMATON.posterior(logits(), pins=x),
    "posterior, temperature": lambda x: AUTOMATON.posterior(logits(), temperature=x),
    "posterior, min_tokens": lambda x: AUTOMATON.posterior(logits(), min_tokens=x),
    "sample": lambda x: AUTOMATON.posterior(logits()).sample(x),
    "kbest": lambda x: AUTOMATON.posterior(logits()).kbest(x),
    "kbest_certified": lambda x: AUTOMATON.posterior(logits()).kbest_certified(x),
    "log_prob": lambda x: AUTOMATON.posterior(logits()).log_prob(x),
    "log_marginals": lambda x: AUTOMATON.posterior(logits()).log_marginals(x),
    "log_marginals_of": lambda x: AUTOMATON.posterior(logits()).log_marginals_of(x),
    "LogitsProcessor": cd.LogitsProcessor,
    "LogitsProcessor, max_new_tokens": lambda x: cd.LogitsProcessor(AUTOMATON, max_new_tokens=x),
}
GENERATORS = {
    "generate": lambda x: GENERATOR.generate(x, LETTER),
    "generate, constraint": lambda x: GENERATOR.generate("x", x, max_new_tokens=8),
    "generate, n": lambda x: generate(n=x),
    "generate, pins": lambda x: generate(pins=x),
    "generate, ask": lambda x: GENERATOR.generate("x", CHOICE, ask=x),
    "generate, schema_in_prompt": lambda x: generate(schema_in_prompt=x),
    "generate, batch_size": lambda x: generate(batch_size=x),
    "generate, max_new_tokens": lambda x: generate(max_new_tokens=x),
    "generate, seed": lambda x: generate(seed=x),
    "generate, process": lambda x: generate(process=x),
    "generate, max_passes": lambda x: generate(max_passes=x),
    "generate, temperature": lambda x: generate(temperature=x),
    "generate, limits": lambda x: generate(limits=x),
    "generate, on_pass": lambda x: None if callable(x) else generate(on_pass=x),
    "stream": lambda x: list(GENERATOR.stream(x, LETTER)),
    "infill, prefix": lambda x: GENERATOR.infill(x, "b", max_new_tokens=8),
    "infill, suffix": lambda x: GENERATOR.infill("b", x, max_new_tokens=8),
    "infill, constraint": lambda x: GENERATOR.infill("a", "b", x, max_new_tokens=8),
    "infill, prompt": lambda x: GENERATOR.infill("a", "b", prompt=x, max_new_tokens=8),
    "infill_many": lambda x: GENERATOR.infill_many(x, max_new_tokens=8),
    "infill_many, one": lambda x: GENERATOR.infill_many([None, x], max_new_tokens=8),
    "revise": lambda x: GENERATOR.revise(x, "abc", ["b"]),
    "revise, draft": lambda x: GENERATOR.revise("x", x, ["b"]),
    "revise, keep": lambda x: GENERATOR.revise("x", "abc", x),
    "revise, kept": lambda x: GENERATOR.revise("x", "abc", [x]),
    "revise, constraint": lambda x: GENERATOR.revise("x", "abc", ["b"], x),
    "pins": GENERATOR.pins,
    "pins, one": lambda x: GENERATOR.pins([x]),
    "choose": lambda x: GENERATOR.choose(x, ["a", "b"]),
    "choose, options": lambda x: GENERATOR.choose("x", x),
    "choose, passes": lambda x: GENERATOR.choose("x", ["a", "b"], passes=x),
    "json": lambda x: GENERATOR.json("x", x, max_new_tokens=8),
    "json, schema_options": lambda x: GENERATOR.json("x", {}, schema_options=x, max_new_tokens=8),
    "Generator.compile": GENERATOR.compile,
    "Generator.compile, limits": lambda x: GENERATOR.compile(LETTER, limits=x),
    "Generator": cd.Generator,
    "Generator, process": lambda x: cd.Generator(GENERATOR.denoiser, x),
    "Process, max_passes": lambda x: cd.Process(max_passes=x),
    "Process, temperature": lambda x: cd.Process(temperature=x),
    "Process, feedback": lambda x: cd.Process(feedback=x),
    "ConstantTemperature": cd.ConstantTemperature,
    "LinearTemperature": lambda x: cd.LinearTemperature(x, x),
    "EntropyBound": cd.EntropyBound,
    "StableAndConfident": lambda x: cd.StableAndConfident(x, x),
    "RandomDenoiser": cd.RandomDenoiser,
    "ScriptedDenoiser": lambda x: cd.ScriptedDenoiser(VOCABULARY, x),
    "load, device": lambda x: None if x is None else cd.load("no/checkpoint", device=x),
    "load, dtype": lambda x: cd.load("no/checkpoint", dtype=x),
}
CALLS = CONSTRAINTS | AUTOMATA | GENERATORS


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_odd_arguments(name):
    for value in ODD:
        with contextlib.suppress(cd.errors.ConstrainedDiffusionError):
            CALLS[name](value)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: cd.compile(LETTER, VOCABULARY, limits=3), "limits is int 3; expected Limits"),
        (lambda: cd.tools(3), "tools is int 3; expected a list of tools"),
        (lambda: cd.tools([int]), "int"),
        (lambda: GENERATOR.revise("x", 3, ["b"]), "draft is int 3; expected str"),
        (lambda: GENERATOR.pins(3), "pieces is int 3; expected a list of texts and lengths"),
        (
            lambda: GENERATOR.json("x", {}, schema_options={"white": 1}),
            "schema_options has 'white'; the options are whi",
        ),
        (lambda: generate(on_pass=3), "on_pass is int 3; expected a function"),
        (lambda: AUTOMATON.text([0, "x"]), "the id at position 1 is 'x'; expected a whole number"),
        (lambda: cd.load(device="gpu"), "device is 'gpu'; expected one such as cpu"),
        (lambda: cd.load(dtype="int8"), "dtype is 'int8'; expected a floating-point one"),
        (lambda: cd.load("/no/such/folder"), "'/no/such/folder' does not exist; expected the folder"),
        (lambda: cd.load(__file__), "is a file; expected the folder"),
        (lambda: cd.json_schema(cd.Limits()), "this is an instance of one"),
    ],
)
def test_messages_name_the_argument(call, words):
    with pytest.raises(cd.errors.ConstrainedDiffusionError) as raised:
        call()
    assert words in str(raised.value)


def test_a_pin_behind_the_longest_text_is_named():
    with pytest.raises(cd.errors.InfeasibleError, match="pinned at position 30, but with max_new_tokens=20 the end"):
        GENERATOR.generate("x", cd.regex("[a-z]*"), pins=[-1] * 30 + [0], max_new_tokens=20)


class Faulty(cd.Denoiser):
    """Gives whatever it is told to give for logits."""

    def __init__(self, made):
        self.made, self.vocabulary, self.canvas_length, self.width = made, VOCABULARY, 4, len(VOCABULARY)
        self.noise, self.device = cd.UniformNoise(self.width), torch.device("cpu")
        self.prompt_format = GENERATOR.denoiser.prompt_format

    def prompt_ids(self, prompt):
        return []

    def encode(self, prompts):
        return len(prompts)

    def logits(self, context, canvas, self_conditioning):
        return self.made(*canvas.shape, self.width)

    def commit(self, context, canvas):
        return context


@pytest.mark.parametrize("constraint", [None, LETTER])
@pytest.mark.parametrize(
    ("made", "words"),
    [
        (lambda *shape: [0.0], r"is list \[0.0\]; expected Tensor"),
        (lambda *shape: torch.zeros(shape, dtype=torch.int64), "torch.int64 .* expected floating point"),
        (lambda *shape: torch.zeros(3), r"\[3\]; expected floating point \[1, 4, 29\]"),
        (lambda *shape: torch.full(shape, math.nan), "NaN.* at position 0"),
        (lambda *shape: torch.full(shape, math.inf), r"\+inf.* at position 0"),
        (lambda *shape: torch.full(shape, -math.inf), "only -inf at position 0"),
    ],
)
def test_faulty_logits(constraint, made, words):
    with pytest.raises(cd.errors.ModelError, match=words):
        cd.Generator(Faulty(made)).generate("x", constraint, max_new_tokens=4)


@pytest.mark.parametrize(
    "value",
    [
        GENERATOR,
        VOCABULARY,
        AUTOMATON,
        AUTOMATON.posterior(logits()),
        generate(seed=0),
        cd.regex("a" * 3000),
        cd.literal("a" * 3000),
        cd.choice([str(i) for i in range(3000)]),
        cd.tools([{"name": f"f{i}"} for i in range(300)]),
        cd.template("a" * 3000),
        cd.json_schema({"enum": list(range(3000))}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_repr_is_a_line(value):
    assert len(repr(value)) < 400
    assert "object at 0x" not in repr(value)
    assert "\n" not in repr(value)
