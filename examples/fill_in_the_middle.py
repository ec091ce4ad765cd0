"""Text between two given ends, and several holes at once: all settle together, at whatever length they need.

The ends stay byte for byte. With a constraint, what is in it is the whole: prefix, middle and suffix.
"""

import argparse
import json

import constrained_diffusion as cd

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "city": {"type": "string"}},
    "required": ["name", "age", "city"],
    "additionalProperties": False,
}
PROMPT = "Ada Lovelace, 36, lives in London.\n{name, age, city}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="a DiffusionGemma checkpoint; default: the bundled model")
    parser.add_argument("--fast", action="store_true", help="few passes")
    options = parser.parse_args()
    passes = 4 if options.fast else 24

    gen = cd.load(options.model)
    schema = cd.json_schema(PERSON)
    middle = gen.infill('{"name": "Ada', '"}', schema, prompt=PROMPT, seed=0, max_new_tokens=64, max_passes=passes)
    print(f"middle: {middle.text}")
    print(f"whole:  {json.dumps(middle.value)}")
    holes = ['{"name": "', None, '", "age": ', None, ', "city": "', None, '"}']
    several = gen.infill_many(holes, schema, prompt=PROMPT, seed=0, max_new_tokens=64, max_passes=passes)
    print(f"holes:  {[slot.text for slot in several.slots.values()]}")
    free = gen.infill("Ada Lovelace, 36,", " and works as a nurse.", seed=0, max_new_tokens=32, max_passes=passes)
    print(f"free:   Ada Lovelace, 36,{free.text} and works as a nurse.")


if __name__ == "__main__":
    main()
