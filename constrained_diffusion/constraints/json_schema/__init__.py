"""JSON Schema as regular languages of bytes.

Every text of the language is JSON (RFC 8259) that is valid under the schema; drafts 4, 6, 7, 2019-09
and 2020-12 (the default) are read as ``$schema`` says. The keywords of one schema object, siblings of
``$ref``, ``enum`` and ``anyOf`` included, hold together in every draft.

What becomes of each keyword (the same as data: ``KEYWORDS``):

=================================================  ======================================================
``type`` ``enum`` ``const`` ``allOf`` ``anyOf``    exact
``$ref``                                           exact for JSON pointers into the document, unless
                                                   recursive; refused otherwise
``minimum`` ``maximum`` ``exclusiveMinimum``       exact; a subset of spellings (see numbers)
``exclusiveMaximum``
``minLength`` ``maxLength`` ``pattern``            exact; a subset of spellings (see strings); ``maxLength``
                                                   is counted up to ``max_count``
``items`` ``prefixItems`` ``additionalItems``      exact; ``maxItems`` is counted up to ``max_count``
``minItems`` ``maxItems``
``properties`` ``required``                        exact; members in the order of ``properties``, then the
``additionalProperties``                           required ones that it lacks, then additional ones
``format``                                         not enforced; noted among the warnings
``oneOf``                                          refused, unless it has a single branch
``not`` ``if`` ``then`` ``else`` ``multipleOf``    refused with path and name where they have an effect on
``uniqueItems`` ``contains`` ``minContains``       a type of value that the other keywords leave;
``maxContains`` ``unevaluatedItems``               noted among the warnings with ``lenient=True``
``patternProperties`` ``propertyNames``
``minProperties`` ``maxProperties``
``dependencies`` ``dependentRequired``
``dependentSchemas`` ``unevaluatedProperties``
``$dynamicRef`` ``$recursiveRef`` ``extends``
``disallow`` ``divisibleBy``
other keywords of the specification                annotations, read past
keywords that no draft knows                       read past, and noted among the warnings
=================================================  ======================================================

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

Where a finite automaton must stop somewhere, ``JsonSchema.bounds`` says where: any JSON nests at most
``any_depth`` deep (a scalar or an empty container has depth 0). A declared name never occurs twice in an object; that
additional names differ among each other is beyond a finite automaton, but all of them satisfy the same schema.
"""

from constrained_diffusion.constraints.json_schema.constraint import JsonSchema, json_schema
from constrained_diffusion.constraints.json_schema.keywords import KEYWORDS

__all__ = ["KEYWORDS", "JsonSchema", "json_schema"]
