"""The stock sampler of transformers, with a constraint as its logits processor.

``model`` is transformers' own ``DiffusionGemmaForBlockDiffusion`` and ``generate()`` its own
method; only the processor comes from this package. Prints the text without it and with it.
"""

import argparse

import torch
from transformers import LogitsProcessorList

import constrained_diffusion as cd

SENTENCE = "Ticket 42 by Ada Lovelace: login and search, high priority, still open."
SCHEMA = {
    "type": "object",
    "properties": {
        "ticket": {"type": "integer"},
        "reporter": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "priority": {"enum": ["low", "medium", "high", "urgent"]},
        "resolved": {"type": "boolean"},
    },
    "required": ["ticket", "reporter", "tags", "priority", "resolved"],
    "additionalProperties": False,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="a DiffusionGemma checkpoint; default: the bundled model")
    parser.add_argument("--fast", action="store_true", help="few passes")
    options = parser.parse_args()
    steps = 4 if options.fast else 48

    denoiser = cd.load(options.model).denoiser
    assert isinstance(denoiser, cd.DiffusionGemmaDenoiser)
    model, tokenizer = denoiser.model, denoiser.tokenizer
    prompt = denoiser.prompt_format.text(SENTENCE, SCHEMA)
    ids = tokenizer(prompt, return_tensors="pt").input_ids

    def write(processors: LogitsProcessorList) -> torch.Tensor:
        torch.manual_seed(0)
        output = model.generate(ids, max_new_tokens=256, max_denoising_steps=steps, logits_processor=processors)
        written: torch.Tensor = output.sequences[0, ids.shape[1] :]
        return written

    free = write(LogitsProcessorList())
    print(f"without: {tokenizer.decode(free, skip_special_tokens=True)!r}")

    automaton = cd.compile(cd.json_schema(SCHEMA), denoiser.vocabulary)
    schedule = cd.LinearTemperature()  # the one that generate() uses by default
    processor = cd.LogitsProcessor(automaton, max_new_tokens=256, temperature=schedule, max_denoising_steps=steps)
    constrained = write(LogitsProcessorList([processor]))
    print(f"with:    {automaton.text(constrained)}")


if __name__ == "__main__":
    main()
