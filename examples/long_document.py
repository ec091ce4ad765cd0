"""A text longer than one canvas, shown canvas by canvas as each is finished.

The automaton's state is carried over whatever the boundary cuts: a number, a key, a character. The whole is valid
and inside its budget.
"""

import argparse
import json

import constrained_diffusion as cd

LINE = {
    "type": "object",
    "properties": {
        "product": {"type": "string", "maxLength": 12},
        "quantity": {"type": "integer", "minimum": 1, "maximum": 99},
    },
    "required": ["product", "quantity"],
    "additionalProperties": False,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="a DiffusionGemma checkpoint; default: the bundled model")
    parser.add_argument("--fast", action="store_true", help="few passes")
    options = parser.parse_args()

    gen = cd.load(options.model)
    lines = cd.json_schema({"type": "array", "items": LINE, "minItems": 40, "maxItems": 50}, whitespace="spaced")
    canvases = []
    for text in gen.stream(
        "Order 4711 from Grace Hopper: 3 lamp and 12 mug, shipped.",
        lines,
        max_new_tokens=1024,
        max_passes=2 if options.fast else 12,
        seed=0,
    ):
        canvases.append(text)
        print(f"canvas {len(canvases)}: {len(text)} characters, ends in {text[-24:]!r}", flush=True)
    items = json.loads("".join(canvases))
    print(f"{len(items)} lines, the last one {items[-1]}")


if __name__ == "__main__":
    main()
