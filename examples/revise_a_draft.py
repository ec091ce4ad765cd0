"""A draft is rewritten around the spans that are to stay, each pinned at its place on the canvas.

The model reads the draft on the canvas; the kept tokens hold in every pass, the others may change. Prints the
draft, the revision, and which positions changed in each pass.
"""

import argparse

import constrained_diffusion as cd

SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "city": {"type": "string"}},
    "required": ["name", "age", "city"],
    "additionalProperties": False,
}
DRAFT = '{"name": "Ada Lovelace", "age": 99, "city": "Lisbon"}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="a DiffusionGemma checkpoint; default: the bundled model")
    parser.add_argument("--fast", action="store_true", help="few passes")
    options = parser.parse_args()

    gen = cd.load(options.model)
    result = gen.revise(
        "Grace Hopper, 36, lives in London.",
        DRAFT,
        ['"name": "Ada Lovelace"', '"age": ', '"city": "'],
        cd.json_schema(SCHEMA),
        seed=0,
        schema_in_prompt=True,
        max_passes=4 if options.fast else None,
    )
    print(f"draft:    {DRAFT}")
    print(f"revision: {result.text}")
    for record in result.trace:
        print(f"pass {record.number}: {record.settled:4.0%} settled, changed at {list(record.changed)[:12]}")


if __name__ == "__main__":
    main()
