"""Text that parses with a Lark grammar: every bracket that opens is closed, and the whole fits its budget.

The grammar comes from the library, which has others; ``cd.grammar`` also takes a file or a grammar as text. Lark itself
judges the result.
"""

import argparse
from pathlib import Path

import lark

import constrained_diffusion as cd

GRAMMAR = Path(__file__).parent.parent / "grammars" / "arithmetic.lark"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="a DiffusionGemma checkpoint; default: the bundled model")
    parser.add_argument("--fast", action="store_true", help="one text, few passes")
    options = parser.parse_args()

    gen = cd.load(options.model)
    arithmetic = cd.grammar("arithmetic")
    judge = lark.Lark(GRAMMAR.read_text(), parser="lalr")
    for seed in range(1 if options.fast else 4):
        result = gen.generate(
            "Order 4711 from Grace Hopper: 3 lamp and 12 mug, 84.50 in total.",
            arithmetic,
            seed=seed,
            max_new_tokens=32,
            max_passes=3 if options.fast else 12,
        )
        judge.parse(result.text)
        print(f"{result.text}  ({result.stats.passes} passes)")


if __name__ == "__main__":
    main()
