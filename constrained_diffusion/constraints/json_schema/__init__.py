"""JSON Schema as languages of bytes: regular ones, unless a value nests to any depth.

Every text of the language is JSON (RFC 8259) that is valid under the schema; drafts 4, 6, 7, 2019-09
and 2020-12 (the default) are read as ``$schema`` says. The keywords of one schema object, siblings of
``$ref``, ``enum`` and ``anyOf`` included, hold together in every draft.

What becomes of each keyword is data: ``KEYWORDS``. ``exact``: the keyword means what the specification says, whatever
stands beside it and also where it must fail (under ``not``, in the other branches of ``oneOf``, behind ``if``).
``partial``: with exceptions, namely

=================================================  ======================================================
``format``                                         each format is exact or leaves out what ``FORMATS`` says;
                                                   one that leaves something out is refused where it must fail
``uniqueItems``                                    exact for up to nine listed values, see ``unique.py``;
                                                   refused where it must fail
``minProperties``                                  beyond one, additional names count once for each group of
                                                   first letters
``unevaluatedProperties`` ``unevaluatedItems``     refused where they must fail
=================================================  ======================================================

``annotation``: read past; so are keywords that no draft knows, which are noted among the warnings. ``refused``: with
path and name, or noted among the warnings with ``lenient=True``. ``maxLength`` and ``maxItems`` are counted up to
``max_count``, and less far where a pattern beside ``maxLength`` makes that large. Members stand in the order of
``properties``, then come others; one or two required ones that it lacks stand anywhere if the object is small, else
before the others; in a whole document ``$schema``, ``$id`` and ``id`` may stand first where they are not declared. Or
members stand in any order, with ``property_order="any"``; with ``"flexible"``, as far as that stays small. References
may lead to anchors, to embedded resources and to the documents of a ``registry``; dynamic ones are followed as the way
to them decides.

How a value may be written:

- *Space between tokens*: see ``json_schema``; never around the value, before a comma or a colon, or in
  an empty container.
- *Free strings*: every spelling of every string, but for half a surrogate pair.
- *Strings with a pattern or a length*: characters raw or with a backslash and a letter; control characters
  and what is not ASCII also as ``\\uXXXX``, if the string has few places that must be told apart (16).
- *Names, and strings of* ``enum`` *and* ``const``: as ``json.dumps`` writes them, with ``ensure_ascii`` or
  without; what needs an escape in all its spellings, ``/`` also as ``\\/``. A letter of ASCII is only itself.
- *Integers*: without an exponent; ``1.0`` is one, but for draft 4 and Python types.
- *Numbers*: every spelling; between bounds without an exponent, unless the sign alone decides.
- *Numbers of* ``enum`` *and* ``const``: as ``json.dumps`` writes them and in plain decimals, ``1`` also as ``1.0``.

A schema that refers to itself is followed to any depth, and so is any JSON where a schema allows it: what is inside
itself becomes a call in a pushdown automaton (see ``automata.network``). With a number as ``any_depth``, both nest at
most so deep (a scalar or an empty container has depth 0), and the automaton is finite. Where it must stop somewhere,
``JsonSchema.bounds`` says where; the constraint is exact in depth if nothing is said there.

A declared name never occurs twice in an object; that additional names differ among each other is beyond such an
automaton, but all of them satisfy the same schema.
"""

from constrained_diffusion.constraints.json_schema.constraint import JsonSchema, json_schema
from constrained_diffusion.constraints.json_schema.keywords import KEYWORDS

__all__ = ["KEYWORDS", "JsonSchema", "json_schema"]
