"""Converts pydantic's errors about a client's JSON into one `InputsInvalid`. Knows no body and no field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from pydantic import ValidationError

from chatserve.core.errors import InputsInvalid

Location: TypeAlias = tuple[int | str, ...]

MAX_ERRORS: Final = 20
"""How many wrong fields an error names."""

_MAX_READ_ERRORS: Final = 10_000


def shape_invalid(error: ValidationError, name_of: Callable[[Location], str]) -> InputsInvalid:
    """Return the error for JSON of another shape; `errors` names the wrong fields, the most specific first.

    `name_of` returns the client's name of the field at a location.
    """
    count = error.error_count()
    if count > _MAX_READ_ERRORS:  # only unknown members can be so many; reading all their errors would take seconds
        field, message = name_of(()), f"{count} fields are wrong, too many to name them"
        return InputsInvalid(
            f"{field}: {message}", errors=[{"field": field, "message": message, "type": "too_many_errors"}]
        )
    entries = error.errors(include_url=False, include_context=False, include_input=False)
    errors = [
        {"field": name_of(entry["loc"]), "message": entry["msg"], "type": entry["type"]}
        for entry in sorted(entries, key=lambda entry: -len(entry["loc"]))[:MAX_ERRORS]
    ]
    return InputsInvalid(f"{errors[0]['field']}: {errors[0]['message']}", errors=errors)
