"""The few aggregation expressions that mongomock does not know and a history backend needs.

Update pipelines become classic updates, $expr filters become plain ones, with the time filled in.
Any form that is not listed here raises NotImplementedError: a wrong guess would hide a bug.
"""

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any

Document = dict[str, Any]
Update = Mapping[str, Any] | Sequence[Mapping[str, Any]]

NOW = "$$NOW"
COMPARISONS = {"$lt", "$lte", "$gt", "$gte"}
SCALARS = (str, int, float, bool, bytes, datetime.datetime, type(None))


def evaluate(expression: Any, now: datetime.datetime) -> Any:
    """The value of {"$literal": v}, "$$NOW", {"$add": ["$$NOW", milliseconds]} or a scalar."""
    match expression:
        case {"$literal": value} if len(expression) == 1:
            return value
        case {"$add": ["$$NOW", int() | float() as milliseconds]} if len(expression) == 1:
            return now + datetime.timedelta(milliseconds=milliseconds)
        case "$$NOW":
            return now
        case str() if expression.startswith("$"):
            raise NotImplementedError(f"expression {expression!r}")
        case _ if isinstance(expression, SCALARS):
            return expression
    raise NotImplementedError(f"expression {expression!r}")


def classic_update(update: Update, now: datetime.datetime) -> Document:
    """An update without a pipeline: as it is, or what the stages of one come to."""
    if isinstance(update, Mapping):
        if "$currentDate" in update:
            raise NotImplementedError("$currentDate: mongomock would use a clock of its own")
        return dict(update)
    fields: dict[str, Any] = {}
    removed: dict[str, Any] = {}
    for stage in update:
        match stage:
            case {"$set": Mapping() as values} if len(stage) == 1:
                for name, expression in values.items():
                    fields[_field(name)] = evaluate(expression, now)
                    removed.pop(name, None)
            case {"$unset": str() | [*_] as names} if len(stage) == 1:
                for name in [names] if isinstance(names, str) else names:
                    removed[_field(name)] = ""
                    fields.pop(name, None)
            case _:
                raise NotImplementedError(f"update stage {stage!r}")
    _refuse_overlap([*fields, *removed])
    return {key: part for key, part in (("$set", fields), ("$unset", removed)) if part}


def plain_filter(condition: Mapping[str, Any], now: datetime.datetime) -> Document:
    """A filter without $expr."""
    plain: Document = {}
    compared: list[Document] = []
    for name, value in condition.items():
        if name == "$expr":
            compared.append(_plain_expression(value, now))
        elif name in ("$and", "$or", "$nor"):
            plain[name] = [plain_filter(part, now) for part in value]
        else:
            plain[name] = value
    if compared:
        plain["$and"] = [*plain.get("$and", []), *compared]
    return plain


def compares(condition: Mapping[str, Any]) -> bool:
    """Whether a filter holds an $expr, which a server refuses in an upsert."""
    branches = [part for name in ("$and", "$or", "$nor") for part in condition.get(name, [])]
    return "$expr" in condition or any(compares(branch) for branch in branches)


def equality_fields(condition: Mapping[str, Any]) -> Document:
    """What a filter says of a document that an upsert makes: its equalities, those of $and too."""
    fields: Document = {}
    for name, value in condition.items():
        if name == "$and":
            for part in value:
                fields |= equality_fields(part)
        elif name.startswith("$") or isinstance(value, re.Pattern):
            continue
        elif not _is_operators(value):
            fields[name] = value
        elif "$eq" in value:
            fields[name] = value["$eq"]
    return fields


def _plain_expression(expression: Any, now: datetime.datetime) -> Document:
    match expression:
        case {"$and": [*parts]} if len(expression) == 1:
            return {"$and": [_plain_expression(part, now) for part in parts]}
        case {**comparison} if len(comparison) == 1 and COMPARISONS.issuperset(comparison):
            (operator,) = comparison
            match comparison[operator]:
                case [str() as path, bound] if path.startswith("$") and not path.startswith("$$"):
                    return _comparison(path[1:], str(operator), evaluate(bound, now))
    raise NotImplementedError(f"$expr {expression!r}")


def _comparison(field: str, operator: str, bound: Any) -> Document:
    if not isinstance(bound, datetime.datetime):
        raise NotImplementedError(f"$expr compares with {bound!r}, not with a time")
    plain = {_field(field): {operator: bound}}
    if operator in ("$gt", "$gte"):
        return plain
    # Expressions compare across types: what is missing or null comes before every date
    # (https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/).
    return {"$or": [plain, {field: None}]}


def _field(name: str) -> str:
    # Classic updates take a number in a path for an array's index, pipelines for a field's name.
    if name.startswith("$") or any(part.isdigit() for part in name.split(".")):
        raise NotImplementedError(f"field {name!r}")
    return name


def _is_operators(value: Any) -> bool:
    return isinstance(value, Mapping) and any(key.startswith("$") for key in value)


def _refuse_overlap(names: list[str]) -> None:
    for name in names:
        if any(other.startswith(f"{name}.") for other in names):
            raise NotImplementedError(f"{name!r} and a field inside it in one update pipeline")
