"""JSON of a schema that comes from a file, for a few sentences.

Prints each text with two of its figures: the log of the probability that the model's own
prediction meets the schema (log Z, at the first and at the last pass), and tokens per pass.
Without options: people. Orders: ``--schema examples/order.schema.json --kind order``.
"""

import argparse
import json
from pathlib import Path

import constrained_diffusion as cd

SENTENCES = {
    "person": (
        "Ada Lovelace, 36, lives in London.",
        "Kenji Tanaka is 52 years old and comes from Kyoto.",
        "Zoë Müller, 29, lives in Zürich and works as a chemist.",
    ),
    "order": (
        "Order 4711 from Grace Hopper: 3 lamp and 12 mug, shipped.",
        "Omar Haddad ordered 2 chair on 4 May 2024. Order number 815, pending.",
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--schema", type=Path, default=Path(__file__).parent / "person.schema.json")
    parser.add_argument("--kind", choices=SENTENCES, default="person", help="what the sentences are about")
    parser.add_argument("--model", default="tiny", help="a DiffusionGemma checkpoint; default: the bundled model")
    parser.add_argument("--fast", action="store_true", help="one sentence, few passes")
    options = parser.parse_args()

    gen = cd.load(options.model)
    constraint = cd.json_schema(json.loads(options.schema.read_text()))
    sentences = SENTENCES[options.kind][: 1 if options.fast else None]
    for sentence in sentences:
        result = gen.generate(sentence, constraint, seed=0, max_passes=4 if options.fast else None)
        first, last = result.stats.log_z[0], result.stats.log_z[-1]
        print(sentence)
        print(f"  {result.text}")
        print(f"  log Z {first:.2f} -> {last:.2f}, {result.stats.tokens_per_pass:.1f} tokens per pass")


if __name__ == "__main__":
    main()
