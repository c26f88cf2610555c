"""The schemas of the models that a route table names, as they are read and as they are written."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, TypeGuard

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from vault_core import durations
from vault_core.api.problems import Problem
from vault_core.api.routing import AnswerBody, Route

Schema = dict[str, Any]

REFERENCE = "#/components/schemas/{model}"


class Schemas:
    """`definitions` holds each schema by its name; what is sent and what is read differ where they must."""

    def __init__(self, routes: Iterable[Route]) -> None:
        models: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(Problem, "serialization"): None}
        queries: dict[type[BaseModel], None] = {}
        for route in routes:
            models.update({(model, "validation"): None for model in (route.body, route.query) if model})
            models.update({(model, "serialization"): None for model in route.answers.values() if is_model(model)})
            queries.update({route.query: None} if route.query else {})
        self._references, generated = models_json_schema(
            list(models), ref_template=REFERENCE, schema_generator=_SchemaOfWhatIsSent
        )
        self.definitions: Schema = generated["$defs"]
        self._queries: dict[type[BaseModel], Schema] = {
            model: self.definitions.pop(self._name_read_under(model)) for model in queries
        }

    def query(self, model: type[BaseModel]) -> Schema:
        """Return the schema of a query, which is described parameter by parameter and not referred to."""
        return self._queries[model]

    def read(self, model: type[BaseModel]) -> Schema:
        """Return the reference to the schema of a body that is read."""
        return self._references[model, "validation"]

    def sent(self, model: type[BaseModel]) -> Schema:
        """Return the reference to the schema of a body that is sent."""
        return self._references[model, "serialization"]

    def needs_body(self, model: type[BaseModel]) -> bool:
        """Return whether a body of this model must be there: an absent one is read as an empty object."""
        return bool(self.definitions[self._name_read_under(model)].get("required"))

    def _name_read_under(self, model: type[BaseModel]) -> str:
        reference: str = self.read(model)["$ref"]
        return reference.rpartition("/")[2]


def is_model(body: AnswerBody) -> TypeGuard[type[BaseModel]]:
    """Return whether the body of an answer is described by a model."""
    return isinstance(body, type)


class _SchemaOfWhatIsSent(GenerateJsonSchema):
    """Answers leave out what is null: there, a field that may be null may be absent, and is never null."""

    def field_is_required(
        self,
        field: core_schema.ModelField | core_schema.DataclassField | core_schema.TypedDictField,
        total: bool,
    ) -> bool:
        nullable = self.mode == "serialization" and field["schema"]["type"] == "nullable"
        return not nullable and super().field_is_required(field, total)

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        if self.mode == "serialization":
            return self.generate_inner(schema["schema"])
        return super().nullable_schema(schema)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        described = super().default_schema(schema)
        if self.mode == "serialization" and described.get("default", ...) is None:
            del described["default"]
        return described

    def encode_default(self, dft: Any) -> Any:
        # Left alone, a duration that is read would be described in another form than it is read in.
        return durations.render(dft) if isinstance(dft, timedelta) else super().encode_default(dft)
