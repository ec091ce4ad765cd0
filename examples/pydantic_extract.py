"""Sentences in, instances of a pydantic model out.

The model has what real ones have: a nested model, a list, an enumeration, a ``Literal``, and
members that may be missing or null. All sentences go through the model in one batch.
"""

import argparse
from enum import Enum
from typing import Literal

from pydantic import BaseModel

import constrained_diffusion as cd


class Status(Enum):
    PENDING = "pending"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


class Line(BaseModel):
    product: str
    quantity: int


class Purchase(BaseModel):
    total: float | None
    currency: Literal["EUR", "USD", "GBP"] | None = None


class Order(BaseModel):
    order_id: int
    customer: str
    items: list[Line]
    purchase: Purchase
    status: Status | None = None


SENTENCES = [
    "Order 4711 from Grace Hopper: 3 lamp and 12 mug, 84.50 in total, shipped.",
    "Omar Haddad ordered 2 chair for 199.99. Order number 815, pending.",
    "Order 20001 from Zoë Müller: 1 kettle, 4 shelf and 6 bag.",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", help="a DiffusionGemma checkpoint; default: the bundled model")
    parser.add_argument("--fast", action="store_true", help="one sentence, few passes")
    options = parser.parse_args()

    gen = cd.load(options.model)
    sentences = SENTENCES[: 1 if options.fast else None]
    orders: list[Order] = gen.json(sentences, Order, seed=0, max_passes=4 if options.fast else None)
    for sentence, order in zip(sentences, orders, strict=True):
        print(sentence)
        print(f"  {order!r}")
        print(f"  {order.model_dump_json()}")


if __name__ == "__main__":
    main()
