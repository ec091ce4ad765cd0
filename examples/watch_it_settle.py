"""How a canvas settles: the most probable text of each pass, each token coloured by whether it is to stay.

Every line is JSON of the schema, from the first pass on. Green tokens stay, red ones have just
changed and change again, yellow ones are changed later. ``--svg FILE`` writes the picture to a file.
"""

import argparse
import io
from pathlib import Path

import rich
from pydantic import BaseModel
from rich.console import Console

import constrained_diffusion as cd

SENTENCE = "Rosa Maja Hakend and Founyu Gupta will be at the Chen seminar in Ottawa at 02:00."


class Meeting(BaseModel):
    event: str
    location: str
    speakers: list[str]


class Visit(BaseModel):
    meeting: Meeting
    start: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="a DiffusionGemma checkpoint; default: the bundled model")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="where to write the picture")
    parser.add_argument("--fast", action="store_true", help="few passes")
    options = parser.parse_args()

    gen = cd.load(options.model)
    result = gen.generate(SENTENCE, cd.json_schema(Visit), seed=0, max_passes=4 if options.fast else None)
    rich.print(result.picture())
    if options.svg:
        console = Console(record=True, width=118, file=io.StringIO())
        console.print(result.picture())
        console.save_svg(str(options.svg), title=SENTENCE)


if __name__ == "__main__":
    main()
