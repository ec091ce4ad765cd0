"""A letter with fixed wording and slots: what is fixed stays byte for byte, and floats with the slots' lengths.

The slots are a line of text, a regular expression, a choice, a date and a whole number. A name that stands in
two places has the same text in both. Prints the letter, and what stands in each slot.
"""

import argparse
import datetime

import constrained_diffusion as cd

LETTER = """Dear {name:[A-Z][a-zé]+ [A-Z][a-zé]+},

your order {id} of {quantity:[1-9][0-9]?} {product} is {status}.
It was placed on {date}. Is {status} what you expected?
"""
PRODUCTS = ["lamp", "chair", "table", "mug", "kettle", "clock"]
STATUSES = ["pending", "shipped", "delivered", "cancelled"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="a DiffusionGemma checkpoint; default: the bundled model")
    parser.add_argument("--fast", action="store_true", help="few passes")
    options = parser.parse_args()

    gen = cd.load(options.model)
    letter = cd.template(LETTER, id=int, product=cd.choice(PRODUCTS), status=cd.choice(STATUSES), date=datetime.date)
    sentence = "Order 4711 from Grace Hopper: 3 lamp, shipped, on 2024-05-04."
    result = gen.generate(sentence, letter, seed=0, max_passes=4 if options.fast else 24)
    print(result.text, end="")
    for name, slot in result.slots.items():
        likely = {text: round(p, 3) for text, p in (slot.probabilities or {}).items() if p > 0.0005}
        print(f"{name}: {slot.value!r}, tokens {slot.token_begin} to {slot.token_end} {likely or ''}".rstrip())


if __name__ == "__main__":
    main()
