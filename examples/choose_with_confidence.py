"""Classification by a single pass: the exact distribution over answers of several tokens, and its calibration.

"Exact" means exact for the factorised prediction of that pass. Answers below a threshold are left to a person; the
table shows how often the answers above it were right, beside how probable the model said they were.
"""

import argparse
from itertools import islice

import constrained_diffusion as cd
from constrained_diffusion.models.tiny.corpus import PRIORITIES, examples


def tickets(count: int) -> list[tuple[str, str]]:
    """Sentences about tickets that state a priority, and the priority."""
    found = (
        (example.text, next(word for word in PRIORITIES if word in example.text.lower().split()))
        for example in examples(7, held_out=True)
        if "icket" in example.text and any(word in example.text.lower().split() for word in PRIORITIES)
    )
    return list(islice(found, count))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="a DiffusionGemma checkpoint; default: the bundled model")
    parser.add_argument("--fast", action="store_true", help="few sentences")
    options = parser.parse_args()

    gen = cd.load(options.model)
    answers = []
    for text, priority in tickets(4 if options.fast else 40):
        answer = gen.choose(f"{text}\n{{priority}}\n", [f'{{"priority": "{word}"}}' for word in PRIORITIES], seed=0)
        best, probability = next(iter(answer.probabilities.items()))
        answers.append((probability, priority in best))
    print("threshold  answered  right  mean probability")
    for threshold in (0.0, 0.5, 0.9):
        kept = [(p, right) for p, right in answers if p >= threshold]
        if kept:
            shares = [sum(column) / len(kept) for column in zip(*kept, strict=True)]
            print(f"{threshold:9.1f}  {len(kept) / len(answers):8.0%}  {shares[1]:5.0%}  {shares[0]:16.2f}")


if __name__ == "__main__":
    main()
