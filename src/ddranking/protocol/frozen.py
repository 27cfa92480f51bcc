"""What every rule is made of: immutable values, and numbers with ranges."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, NoReturn, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ddranking.protocol.canonical import canonical_json


class Frozen(BaseModel):
    """An immutable value with no unknown fields and no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, without what was derived from the fields and kept: it has its own."""
        copy = super().model_copy(update=update, deep=deep)
        for name in vars(copy).keys() - type(self).model_fields.keys():
            del vars(copy)[name]
        return copy

    @cached_property
    def canonical(self) -> bytes:
        """The canonical JSON, which content hashes are made of."""
        return canonical_json(self.model_dump(mode="json"))


Rate = Annotated[float, Field(gt=0, le=1000)]
Share = Annotated[float, Field(ge=0, le=1)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


def _refuse(self: object, *values: object, **named: object) -> NoReturn:
    raise TypeError("a value of a rule does not change: make a copy of it")


class FrozenDict(dict[str, Any]):
    """A dict that does not change: equal to a plain one, and written as one."""

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)


class FrozenList(list[Any]):
    """A list that does not change: equal to a plain one, and written as one."""

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse
    append = clear = extend = insert = pop = remove = reverse = sort = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenList, (list(self),)


def freeze(value: Any) -> Any:
    """Plain JSON values, with dicts and lists that do not change."""
    if isinstance(value, dict):
        return FrozenDict({key: freeze(inner) for key, inner in value.items()})
    if isinstance(value, list):
        return FrozenList(map(freeze, value))
    return value


Plain = Annotated[dict[str, Any], AfterValidator(freeze)]
"""A mapping of plain JSON values in what many objects share: nobody can change it."""
