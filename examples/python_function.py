"""A function of Python that parses, its indentation included.

What is written is valid under Python's own parser, not sensible: the bundled model has never seen code.
"""

import argparse
import ast

import constrained_diffusion as cd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="a DiffusionGemma checkpoint; default: the bundled model")
    parser.add_argument("--fast", action="store_true", help="one short function, few passes")
    options = parser.parse_args()

    gen = cd.load(options.model)
    function = cd.grammar("python_function")
    for seed in range(1 if options.fast else 3):
        result = gen.generate(
            "Ada Lovelace, 36, lives in London.",
            function,
            seed=seed,
            max_new_tokens=48 if options.fast else 96,
            max_passes=3 if options.fast else 12,
        )
        (parsed,) = ast.parse(result.text).body
        print(result.text)
        print(f"# {type(parsed).__name__}, {result.stats.tokens} tokens, {result.stats.passes} passes")


if __name__ == "__main__":
    main()
