"""The JSON schema of config.yaml, made from the classes in `vaepipe.study.settings`."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from vaepipe.study.settings import Settings


class _Generator(GenerateJsonSchema):
    """A schema as people read it: no titles, a list of names for a choice, null beside the other type."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def literal_schema(self, schema: core_schema.LiteralSchema) -> JsonSchemaValue:
        return {"enum": list(schema["expected"])}

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        inner = self.generate_inner(schema["schema"])
        return inner | {"type": ["null", inner["type"]]}

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        described = super().model_schema(schema)
        described.pop("title", None)
        return described

    def tuple_schema(self, schema: core_schema.TupleSchema) -> JsonSchemaValue:
        """A tuple of one type has ``items`` instead of one entry for each position."""
        described = super().tuple_schema(schema)
        if prefix := described.pop("prefixItems", None):
            described["items"] = prefix[0]
        return described

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """The names in a mapping are checked on their own, before their values."""
        described = super().dict_schema(schema)
        if patterns := described.pop("patternProperties", None):
            ((pattern, value),) = patterns.items()
            one_line = {"not": {"type": "string", "pattern": "\\n"}}
            described |= {"propertyNames": {"pattern": pattern, **one_line}, "additionalProperties": value}
        return described


@cache
def config_schema() -> dict[str, Any]:
    """Return the schema. Sections have no default, as each of their keys has its own."""
    schema = Settings.model_json_schema(schema_generator=_Generator)
    for node in (schema, *schema["$defs"].values()):
        for name, key in node["properties"].items():
            if "$ref" in key:
                node["properties"][name] = {"$ref": key["$ref"]}
    schema["$defs"] = dict(sorted(schema["$defs"].items()))
    return {"$schema": _Generator.schema_dialect, "title": "vaepipe configuration", **schema}


def resolve(node: dict[str, Any]) -> dict[str, Any]:
    """Return a node of the schema with the definition that it refers to."""
    if "$ref" in node:
        return config_schema()["$defs"][node["$ref"].rsplit("/", 1)[1]] | node
    return node
