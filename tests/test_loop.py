"""The refinement loop: stock behaviour without a constraint, valid and finished texts with one."""

import math

import pytest
import torch
from enumeration import END, PAD, TOY, enumerate_canvases
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import byte_tokenizer, random_model
from transformers import LogitsProcessorList

import constrained_diffusion as cd

END_ID = 1
TOKENIZER = byte_tokenizer()
MODEL = random_model(TOKENIZER)
GENERATOR = cd.Generator(cd.DiffusionGemmaDenoiser(MODEL, TOKENIZER))
PROMPTS = ["hello", "abcde", "ab12 \n"]


def stock(prompts, *, canvases, seed, steps, **options):
    rows = [TOKENIZER.encode(p) for p in prompts]
    longest = max(map(len, rows))
    mask = torch.tensor([[0] * (longest - len(r)) + [1] * len(r) for r in rows])
    ids = torch.tensor([[0] * (longest - len(r)) + r for r in rows])
    torch.manual_seed(seed)
    output = MODEL.generate(
        ids,
        attention_mask=mask,
        max_new_tokens=canvases * MODEL.config.canvas_length,
        max_denoising_steps=steps,
        **options,
    )
    return output.sequences[:, longest:], output.tokens_per_forward


# --- against the stock sampler -------------------------------------------------------------------


@pytest.mark.parametrize("prompts", [PROMPTS[:1], PROMPTS])
@pytest.mark.parametrize(("canvases", "seed", "steps"), [(1, 0, 6), (1, 1, 48), (3, 2, 5), (6, 3, 2)])
def test_without_a_constraint_it_is_the_stock_process(prompts, canvases, seed, steps):
    """The same random numbers in, the same accepted, renoised, stopped and committed canvases out."""
    expected, per_forward = stock(prompts, canvases=canvases, seed=seed, steps=steps)
    results = GENERATOR.generate(prompts, None, max_new_tokens=canvases * 16, seed=seed, max_passes=steps)
    for row, result, rate in zip(expected.tolist(), results, per_forward, strict=True):
        cut = row.index(END_ID) if END_ID in row else len(row)
        assert list(result.token_ids) == row[:cut]
        if END_ID not in row:
            assert result.stats.tokens_per_pass == pytest.approx(float(rate))


def test_every_pass_shows_the_model_the_stock_canvas():
    """Scripted logits through both samplers: every canvas and conditioning they produce is the same."""
    script = [torch.randn(2, 8, 7, generator=torch.Generator().manual_seed(i)) * 4 for i in range(5)]
    denoiser = cd.ScriptedDenoiser(TOY, script)
    torch.manual_seed(9)
    from transformers.models.diffusion_gemma.generation_diffusion_gemma import (
        EntropyBoundSampler,
        EntropyBoundSamplerConfig,
        LinearTemperatureScheduleLogitsProcessor,
    )

    sampler = EntropyBoundSampler(EntropyBoundSamplerConfig(entropy_bound=0.1), 8, 7, 5)
    tempered = LinearTemperatureScheduleLogitsProcessor(t_min=0.4, t_max=0.8, max_denoising_steps=5)
    canvas = sampler.initialize_canvas(2, torch.device("cpu"))
    expected = [canvas]
    for i, logits in enumerate(script):
        scores = tempered(None, logits, cur_step=5 - i)
        drawn = torch.multinomial(scores.softmax(-1).view(-1, 7), 1).view(2, 8)
        canvas = sampler.renoise_canvas(sampler.accept_canvas(canvas, drawn, scores, 5 - i), 5 - i)
        expected.append(canvas)
    generator = cd.Generator(denoiser, cd.Process(max_passes=5, stopping=cd.NeverStop()))
    generator.generate(["x", "y"], None, max_new_tokens=8, seed=9)
    assert len(denoiser.canvases) == 5
    assert all(torch.equal(met, wanted) for met, wanted in zip(denoiser.canvases, expected, strict=False))
    assert denoiser.conditionings[0] is None
    for i in range(1, 5):
        scores = tempered(None, script[i - 1], cur_step=6 - i)
        assert torch.allclose(denoiser.conditionings[i].softmax(-1), scores.softmax(-1), atol=1e-6)


# --- with a constraint ---------------------------------------------------------------------------

CONSTRAINTS = [
    cd.regex("[a-f]{3,40}"),
    cd.choice(["yes", "no", "perhaps tomorrow"]),
    cd.json_schema(
        {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
    ),
    cd.regex("(?s).{20,30}é"),
]


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=repr)
@pytest.mark.parametrize("max_new_tokens", [16, 23, 48])
def test_texts_are_valid_and_finished(constraint, max_new_tokens):
    if GENERATOR.compile(constraint).min_tokens > max_new_tokens:
        with pytest.raises(cd.errors.InfeasibleError, match="max_new_tokens"):
            GENERATOR.generate("x", constraint, max_new_tokens=max_new_tokens)
        return
    for seed in range(3):
        result = GENERATOR.generate("x", constraint, max_new_tokens=max_new_tokens, seed=seed, max_passes=4)
        assert constraint.matches(result.text)
        assert result.stats.tokens <= max_new_tokens
        assert result.stats.tokens == len(result.token_ids) + 1
        assert len(result.probabilities) == len(result.token_ids)
        assert all(0 < p <= 1 for p in result.probabilities)
        assert result.log_probability <= 1e-6


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10**6),
    st.integers(2, 9),
    st.sampled_from([3, 4, 5]),
    st.sampled_from(["(ab|ba)*b", "a{3,}b{0,2}", "(a|bb)+"]),
)
def test_any_canvas_boundary_and_any_budget(seed, max_new_tokens, canvas_length, pattern):
    """Texts over several short canvases, cut wherever they happen to be cut, under a model that knows nothing."""
    constraint = cd.regex(pattern)
    generator = cd.Generator(cd.RandomDenoiser(TOY, canvas_length=canvas_length, seed=seed, scale=6.0))
    if generator.compile(constraint).min_tokens > max_new_tokens:
        return
    result = generator.generate("", constraint, max_new_tokens=max_new_tokens, seed=seed, max_passes=3)
    assert constraint.matches(result.text)
    assert result.stats.tokens <= max_new_tokens


def test_seeds_reproduce_a_run():
    constraint = cd.regex("[a-z ]{5,30}")
    first, again = (GENERATOR.generate(PROMPTS, constraint, seed=5, max_passes=4) for _ in range(2))
    assert [r.text for r in first] == [r.text for r in again]
    other = GENERATOR.generate(PROMPTS, constraint, seed=6, max_passes=4)
    assert [r.text for r in first] != [r.text for r in other]


def test_one_constraint_each_and_batches():
    constraints = [cd.regex("a+"), None, cd.choice(["yes", "no"]), cd.choice(["yes", "no"])]
    prompts = ["one", "two", "three", "four"]
    results = GENERATOR.generate(prompts, constraints, batch_size=3, seed=0, max_passes=3, max_new_tokens=16)
    for constraint, result in zip(constraints, results, strict=True):
        assert constraint is None or constraint.matches(result.text)
    with pytest.raises(cd.errors.InvalidConstraint, match="3 constraints for 4 prompts"):
        GENERATOR.generate(prompts, constraints[:3])


def test_the_committed_text_is_the_map_of_its_last_pass():
    logits = torch.randn(1, 4, len(TOY), generator=torch.Generator().manual_seed(2)) * 3
    generator = cd.Generator(cd.ScriptedDenoiser(TOY, [logits]))
    result = generator.generate("", cd.regex("(ab|ba)*"), max_new_tokens=4, max_passes=1, temperature=1.0)
    expected = enumerate_canvases(
        logits[0], lambda t: len(t) % 2 == 0 and {t[i : i + 2] for i in range(0, len(t), 2)} <= {b"ab", b"ba"}
    )
    assert result.log_probability == pytest.approx(math.log(expected.best), abs=1e-4)
    assert expected.texts[(*result.token_ids, END)] == pytest.approx(expected.best)
    assert result.stats.log_z[0] == pytest.approx(expected.log_z, abs=1e-4)


def test_a_token_that_the_model_comes_to_doubt_is_drawn_again():
    """Certain of a at first, certain of b from the second pass on: nothing is locked."""
    first = torch.zeros(1, 3, len(TOY))
    first[0, 0, 0] = first[0, 1, END] = 30.0
    second = torch.zeros(1, 3, len(TOY))
    second[0, 0, 1] = second[0, 1, END] = 30.0
    denoiser = cd.ScriptedDenoiser(TOY, [first, second, second])
    result = cd.Generator(denoiser).generate("", cd.regex("a|b"), max_new_tokens=3, seed=0)
    assert denoiser.canvases[1][0, 0] == 0
    assert result.text == "b"


@pytest.mark.parametrize("feedback", list(cd.Feedback))
def test_what_a_pass_hands_to_the_next(feedback):
    """Two texts of one and two tokens: together the positions are surer of one than each is by itself."""
    logits = torch.zeros(1, 4, len(TOY))
    logits[0, :, 0], logits[0, :, END] = 1.5, 1.0
    denoiser = cd.ScriptedDenoiser(TOY, [logits, logits])
    process = cd.Process(2, cd.ConstantTemperature(1.0), stopping=cd.NeverStop(), feedback=feedback)
    cd.Generator(denoiser, process).generate("", cd.regex("a|aaa"), max_new_tokens=4, seed=0)
    posterior = cd.compile(cd.regex("a|aaa"), TOY).posterior(logits)
    expected = posterior.log_marginals() if feedback == "marginals" else posterior.log_predictions()
    assert torch.allclose(denoiser.conditionings[1], expected)
    assert not torch.allclose(posterior.log_marginals(), posterior.log_predictions(), atol=0.1)


def test_a_position_must_look_certain_to_the_model_too():
    """Each position leans a little to one text, together they are sure of it: kept only by the posterior's measure."""
    vocabulary = cd.Vocabulary([b"a", b"b", None], end_ids=2)
    logits = torch.zeros(1, 40, 3)
    logits[0, :, 0] = 1.5
    kept = {}
    for feedback in cd.Feedback:
        denoiser = cd.ScriptedDenoiser(vocabulary, [logits])
        process = cd.Process(1, cd.ConstantTemperature(1.0), feedback=feedback)
        result = cd.Generator(denoiser, process).generate("", cd.regex("a{39}|b{39}"), max_new_tokens=40, seed=0)
        kept[feedback] = result.trace[0].accepted
    assert kept["prediction"] < 5 < kept["marginals"]


def test_forced_positions_do_not_stop_the_loop_early():
    """Two open positions among fifty forced ones: their doubt must count in full."""
    vocabulary = cd.Vocabulary([b"a", b"b", b"x", None], end_ids=3)
    logits = torch.zeros(1, 60, 4)
    denoiser = cd.ScriptedDenoiser(vocabulary, [logits])
    stopping = cd.StableAndConfident(max_entropy=0.1, max_open_entropy=0.1)
    process = cd.Process(max_passes=6, temperature=cd.ConstantTemperature(1.0), stopping=stopping)
    result = cd.Generator(denoiser, process).generate("", cd.regex("x{50}[ab]{2}"), max_new_tokens=60, seed=0)
    assert result.stats.passes == 6
    assert {record.undetermined for record in result.trace} == {2}
    assert result.trace[0].mean_entropy == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize(("rare", "passes"), [(0.0005, 2), (0.0008, 6), (0.004, 6)])
def test_doubt_all_over_the_canvas_keeps_the_loop_going(rare, passes):
    """A canvas without a forced position is held to DiffusionGemma's own bound, 0.005 nats on average."""
    vocabulary = cd.Vocabulary([b"a", b"b", None], end_ids=2)
    nats = -rare * math.log(rare) - (1 - rare) * math.log(1 - rare)
    logits = torch.tensor([math.log(1 - rare), math.log(rare), 0.0]).expand(1, 60, 3)
    process = cd.Process(max_passes=6, temperature=cd.ConstantTemperature(1.0))
    generator = cd.Generator(cd.ScriptedDenoiser(vocabulary, [logits]), process)
    result = generator.generate("", cd.regex("[ab]{59}"), max_new_tokens=60, seed=0)
    assert result.trace[-1].mean_entropy == pytest.approx(nats, rel=1e-3)
    assert result.stats.passes == passes


def test_a_fully_determined_text_settles_at_once():
    denoiser = cd.RandomDenoiser(TOY, canvas_length=5)
    result = cd.Generator(denoiser).generate("x", cd.literal("bb"), seed=0)
    assert result.text == "bb"
    assert result.stats.passes == 2
    assert result.stats.log_z[0] < 0


def test_mask_noise_shows_masks_where_nothing_is_decided():
    denoiser = cd.ScriptedDenoiser(TOY, [torch.randn(1, 5, 7)], noise=cd.MaskNoise(PAD))
    cd.Generator(denoiser).generate("", cd.regex("[ab]{2,4}"), max_new_tokens=5, max_passes=3, seed=0)
    assert (denoiser.canvases[0] == PAD).all()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("constraint", [None, cd.regex("a*")])
def test_malformed_logits_of_a_model_are_named(value, constraint):
    logits = torch.zeros(1, 4, 7)
    logits[0, 2] = value
    generator = cd.Generator(cd.ScriptedDenoiser(TOY, [logits]))
    with pytest.raises(cd.errors.ModelError, match="position 2 of canvas 0"):
        generator.generate("", constraint, max_new_tokens=4)


def test_an_end_token_never_stands_inside_a_text():
    vocabulary = cd.Vocabulary([b"a", None, None, None], end_ids=[1, 2])
    logits = torch.zeros(1, 6, 4)
    logits[..., 2] = 40.0
    logits[..., 3] = 60.0
    result = cd.Generator(cd.ScriptedDenoiser(vocabulary, [logits])).generate("", cd.regex("a{3}"), max_new_tokens=6)
    assert result.text == "aaa"
    assert result.token_ids == (0, 0, 0)


def test_passes_are_reported():
    records = []
    result = GENERATOR.generate("x", CONSTRAINTS[0], seed=1, max_passes=5, on_pass=records.append)
    assert tuple(records) == result.trace
    assert [r.number for r in records if r.canvas == 0] == list(range(1, 1 + sum(r.canvas == 0 for r in records)))
    assert result.stats.seconds_model > 0
    assert result.stats.seconds_constraint > 0
    assert result.stats.log_z == tuple(r.log_z for r in records)
    numbered = []
    GENERATOR.generate(
        ["x", "y"], CONSTRAINTS[1], seed=1, batch_size=1, on_pass=lambda i, r: numbered.append(i), progress=True
    )
    assert set(numbered) == {0, 1}


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"prompt": 7}, cd.errors.ModelError, "expected a prompt"),
        ({"prompt": []}, cd.errors.ModelError, "non-empty list"),
        ({"prompt": [{"role": "user", "content": "x"}]}, cd.errors.ModelError, "no chat template"),
        ({"prompt": "x", "constraint": "abc"}, cd.errors.InvalidConstraint, "expected one made by"),
        ({"prompt": "x", "max_new_tokens": 0}, cd.errors.ModelError, "max_new_tokens is 0"),
        ({"prompt": "x", "batch_size": 0}, cd.errors.ModelError, "batch_size is 0"),
        ({"prompt": "x", "max_passes": 0}, cd.errors.ModelError, "max_passes is 0"),
        ({"prompt": "x", "temperature": 0.0}, cd.errors.ModelError, "temperature is 0.0"),
        ({"prompt": "x", "max_new_tokens": "8"}, cd.errors.ModelError, "max_new_tokens is '8'"),
        ({"prompt": "x", "max_new_tokens": 2**70}, cd.errors.ModelError, "max_new_tokens is"),
        ({"prompt": "x", "batch_size": 1.5}, cd.errors.ModelError, "batch_size is 1.5"),
        ({"prompt": "x", "max_passes": 1.5}, cd.errors.ModelError, "max_passes is 1.5"),
        ({"prompt": "x", "temperature": "hot"}, cd.errors.ModelError, "temperature is 'hot'"),
        ({"prompt": "x", "process": 5}, cd.errors.ModelError, "process is int"),
        ({"prompt": "x", "limits": 5}, cd.errors.InvalidConstraint, "limits is int"),
        ({"prompt": "x", "seed": 1.5}, cd.errors.ModelError, "seed"),
        ({"prompt": "x", "schema_in_prompt": True}, cd.errors.InvalidConstraint, "needs a JSON Schema"),
        ({"prompt": "x " * 600}, cd.errors.ModelError, "Shorten the prompt"),
    ],
)
def test_malformed_requests_are_refused(arguments, error, words):
    with pytest.raises(error, match=words):
        GENERATOR.generate(**arguments)


# --- the drop-in for the stock sampler -----------------------------------------------------------


@pytest.mark.parametrize("max_new_tokens", [16, 40])
@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("tempered", [False, True])
def test_the_stock_sampler_commits_valid_texts(max_new_tokens, steps, tempered):
    constraint = cd.regex('(true|[a-f]{2,30}), "é"')
    automaton = cd.compile(constraint, GENERATOR.denoiser.vocabulary)
    schedule = cd.LinearTemperature() if tempered else None
    processor = cd.LogitsProcessor(
        automaton, max_new_tokens=max_new_tokens, temperature=schedule, max_denoising_steps=steps
    )
    canvases = math.ceil(max_new_tokens / 16)
    for seed in range(3):  # the same processor again: it notices that a new text begins
        sequences, _ = stock(
            PROMPTS, canvases=canvases, seed=seed, steps=steps, logits_processor=LogitsProcessorList([processor])
        )
        for row in sequences:
            assert constraint.matches(automaton.text(row))
            assert row.tolist().index(END_ID) < max_new_tokens


def test_the_processor_conditions_like_the_posterior():
    automaton = cd.compile(cd.regex("(ab|ba)*"), TOY)
    scores = torch.randn(2, 4, 7, generator=torch.Generator().manual_seed(0))
    result = cd.LogitsProcessor(automaton, max_new_tokens=4)(torch.zeros(2, 3, dtype=torch.long), scores)
    posterior = automaton.posterior(scores)
    assert torch.equal(result.argmax(-1), posterior.map())
    others = torch.ones_like(result, dtype=torch.bool).scatter(-1, posterior.map().unsqueeze(-1), False)
    assert torch.allclose(result[others], posterior.log_marginals()[others])


def test_a_processor_notices_that_the_last_output_became_a_prompt():
    """A second turn whose prompt is exactly the first turn's prompt and output."""
    vocabulary = cd.Vocabulary([b"a", b"b", b"ab", None, None], end_ids=3, pad_id=4)
    automaton = cd.compile(cd.regex("(ab){2,8}"), vocabulary)
    processor = cd.LogitsProcessor(automaton, max_new_tokens=12)
    ids = torch.tensor([[0, 1]])
    for seed in range(4):
        scores = torch.randn(1, 4, 5, generator=torch.Generator().manual_seed(seed))
        scores[..., 3] += 5.0
        committed = processor(ids, scores).argmax(-1)
        assert automaton.text(committed[0]) in ("abab", "ababab")
        ids = torch.cat([ids, committed], dim=-1)


def test_the_processor_stays_valid_where_logits_are_masked_with_the_least_float():
    automaton = cd.compile(cd.regex("(ab|c)+"), cd.Vocabulary([b"a", b"b", b"ab", b"c", None, None], 4, 5))
    scores = torch.zeros(1, 4, 6)
    scores[..., :5] = torch.finfo(torch.float32).min
    ids = cd.LogitsProcessor(automaton, max_new_tokens=4)(torch.zeros(1, 3, dtype=torch.long), scores).argmax(-1)
    assert automaton.advance(None, ids[0]) == automaton.tail


def test_the_processor_refuses_what_it_cannot_meet():
    automaton = cd.compile(cd.regex("a{9}"), TOY)
    with pytest.raises(cd.errors.InfeasibleError, match="at least 10 tokens"):
        cd.LogitsProcessor(automaton, max_new_tokens=4)
    with pytest.raises(cd.errors.ModelError, match="for diffusion models"):
        cd.LogitsProcessor(automaton)(torch.zeros(1, 3, dtype=torch.long), torch.zeros(1, 7))


# --- checkpoints ---------------------------------------------------------------------------------

TEMPLATE = (
    "{% for m in messages %}<bos>{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}model: {% endif %}"
)


def test_a_checkpoint_is_loaded_with_its_tokenizer(tmp_path):
    tokenizer = byte_tokenizer(TEMPLATE)
    model = random_model(tokenizer, extra_rows=9, canvas_length=32)
    model.generation_config.eos_token_id = [1, 2]
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    generator = cd.load(tmp_path, dtype=torch.bfloat16, device="cpu")
    denoiser = generator.denoiser
    assert isinstance(denoiser, cd.DiffusionGemmaDenoiser)
    assert denoiser.model.dtype == torch.bfloat16
    assert denoiser.vocabulary.end_ids == (1, 2)
    assert denoiser.width == len(tokenizer) + 9
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    chat = [{"role": "user", "content": "Is it?"}]
    for prompt in ("Is it?", chat):
        value = generator.json(prompt, schema, seed=0, max_passes=3, schema_in_prompt=True)
        assert value in ({"ok": True}, {"ok": False})
    text = denoiser.prompt_format.text(chat, schema)
    assert text.startswith("<bos>user: Is it?\n\nAnswer with one JSON value")
    assert text.endswith("model: ")
    assert chat == [{"role": "user", "content": "Is it?"}]


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(cd.errors.ModelError, match="holds no checkpoint"):
        cd.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(cd.errors.ModelError, match="cannot load a DiffusionGemma checkpoint"):
        cd.load(tmp_path)
    with pytest.raises(cd.errors.ModelError, match="give one"):
        cd.load(tmp_path, device="cpu", device_map="auto")


def test_json_of_several_schemas():
    values = GENERATOR.json(PROMPTS[:2], [{"const": 1}, {"enum": ["ab"]}], seed=0, max_new_tokens=16, max_passes=2)
    assert values == [1, "ab"]
    with pytest.raises(cd.errors.InvalidConstraint, match="1 constraints for 2 prompts"):
        GENERATOR.json(PROMPTS[:2], [{"const": 1}])


def test_an_unknown_option_is_named_with_those_there_are():
    with pytest.raises(
        TypeError, match="unexpected keyword argument 'max_tokens'; the options are max_new_tokens, seed"
    ):
        GENERATOR.generate("x", None, max_tokens=5)


def test_pins_on_a_later_canvas_steer_the_earlier_ones():
    vocabulary = cd.Vocabulary([bytes([b]) for b in range(256)] + [None], end_ids=256)
    generator = cd.Generator(cd.RandomDenoiser(vocabulary, canvas_length=8))
    for seed in range(5):
        pins = [-1] * 20 + [ord("1"), -1, -1, -1, ord("z")]
        text = generator.generate("", cd.regex("[a-z]*1[a-z]*"), pins=pins, max_new_tokens=40, seed=seed).text
        assert (text[20], text[24], text.count("1")) == ("1", "z", 1)
    with pytest.raises(cd.errors.InfeasibleError, match="pinned behind this canvas, up to position 18"):
        generator.generate("", cd.regex("a{20}"), pins=[-1] * 18 + [ord("b")], max_new_tokens=40)


@pytest.mark.parametrize("arguments", [("x\ud800", None), (["x", "\ud800"], None)])
def test_a_prompt_that_utf8_cannot_spell_is_refused(arguments):
    with pytest.raises(cd.errors.ModelError, match="surrogate pair"):
        GENERATOR.generate(*arguments, max_new_tokens=4)


@pytest.mark.parametrize(("arguments", "name"), [((None,), "denoiser"), ((GENERATOR.denoiser, None), "process")])
def test_a_generator_of_something_else_is_refused(arguments, name):
    with pytest.raises(cd.errors.ModelError, match=f"^{name} is NoneType"):
        cd.Generator(*arguments)


def scripted_texts(*texts):
    """What is written when pass after pass the model is all but sure of another text."""
    vocabulary = cd.Vocabulary([b"a", b"b", b"\n", None], end_ids=3)
    script = []
    for text in texts:
        logits = torch.zeros(1, 4, 4)
        logits[0, range(4), ["ab\n.".index(symbol) for symbol in text]] = 30.0
        script.append(logits)
    process = cd.Process(max_passes=len(texts), temperature=cd.ConstantTemperature(1.0), stopping=cd.NeverStop())
    generator = cd.Generator(cd.ScriptedDenoiser(vocabulary, script), process)
    return generator.generate("", cd.regex(r"[ab\n]{0,3}"), max_new_tokens=4, seed=0)


def test_the_picture_shows_what_is_to_stay():
    result = scripted_texts("aab.", "bab.", "bbb.", "bb\n.")
    assert ["".join(record.pieces) for record in result.trace] == ["aab", "bab", "bbb", "bb\n"]
    table = result.picture()
    shown = [
        [(str(line)[span.start : span.end], span.style) for span in line.spans] for line in table.columns[-1].cells
    ]
    assert shown == [
        [("aab", "red")],
        [("b", "green"), ("ab", "yellow")],
        [("bb", "green"), ("b", "yellow")],
        [("bb\u23ce", "green")],
    ]
