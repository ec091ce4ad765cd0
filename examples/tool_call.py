"""Tool calls from Python functions: free text, then calls whose arguments are of the functions' types.

The calls come back validated and are carried out here. With a model that has special tokens for thoughts and
calls, ``cd.special`` puts these in place of the tags.
"""

import argparse
from collections.abc import Callable
from typing import Literal

import constrained_diffusion as cd


def book(seats: int, origin: str, destination: str) -> str:
    """Books seats on a flight."""
    return f"{seats} seats from {origin} to {destination}"


def cancel(order: int, reason: Literal["late", "broken", "other"] = "other") -> str:
    """Cancels an order."""
    return f"order {order} cancelled: {reason}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="a DiffusionGemma checkpoint; default: the bundled model")
    parser.add_argument("--fast", action="store_true", help="few passes")
    options = parser.parse_args()

    gen = cd.load(options.model)
    functions: dict[str, Callable[..., str]] = {"book": book, "cancel": cancel}
    sentence = "Book 3 seats from Lisbon to Oslo for Ada Lovelace.\n{name, arguments{seats, origin, destination}}\n"
    for choice in ("book", "none"):
        constraint = cd.tools([book, cancel], choice=choice)
        result = gen.generate(sentence, constraint, seed=0, max_new_tokens=96, max_passes=4 if options.fast else 24)
        print(f"{choice}: {result.text!r}")
        for call in result.value:
            print(f"  {call.name}{dict(call.arguments)} -> {functions[call.name](**call.arguments)}")


if __name__ == "__main__":
    main()
