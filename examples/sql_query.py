"""Queries in SQL that SQLite's own parser takes.

The grammar comes from the library. What is written is a valid query, not a sensible one: the bundled model has never
seen SQL, and asks for columns that no table has.
"""

import argparse
import sqlite3

import constrained_diffusion as cd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="a DiffusionGemma checkpoint; default: the bundled model")
    parser.add_argument("--fast", action="store_true", help="one query, few passes")
    options = parser.parse_args()

    gen = cd.load(options.model)
    query = cd.grammar("sql_select")
    for seed in range(1 if options.fast else 4):
        result = gen.generate(
            "Order 4711 from Grace Hopper: 3 lamp and 12 mug, 84.50 in total.",
            query,
            seed=seed,
            max_new_tokens=48,
            max_passes=3 if options.fast else 12,
        )
        print(f"{result.text}  ({judged(result.text)})")


def judged(query: str) -> str:
    """What SQLite says of a query to an empty database: tables and columns are missing, the syntax is not at fault."""
    try:
        sqlite3.connect(":memory:").execute(f"EXPLAIN {query}")
    except sqlite3.OperationalError as error:
        return str(error)
    return "SQLite takes it"


if __name__ == "__main__":
    main()
