"""Options in groups: the fields of a dataclass, or those of the recipe's class, become flags.

A parameter of a command that is a dataclass stands for the options that are its fields, and
`**settings` for all fields of the recipe's class, whose names, types, ranges, defaults and help
pydantic knows: a new field becomes a flag without another edit.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

import typer
from pydantic import BaseModel

from augment.experiment.recipe import Recipe

PANELS = ("data", "generator", "comparison", "execution", "output")  # in this order on a help page
TYPES = {"integer": "INTEGER", "number": "FLOAT", "string": "TEXT", "boolean": ""}  # JSON Schema's


def option(panel: str, *names: str, metavar: str = "", **settings: Any) -> Any:
    """Return a Typer option in a group of the help page; a flag has no metavar."""
    if panel not in PANELS:
        raise ValueError(f"{names}: no group of options is called {panel!r}")
    return typer.Option(
        *names,
        metavar=metavar,
        rich_help_panel=panel.capitalize(),
        show_default=False,  # the help says it, as it does for the settings of a recipe
        **settings,
    )


def setting_option(name: str, schema: dict[str, Any], help: str = "") -> Any:
    """Return the option of one setting from its JSON schema; `help` replaces what that says."""
    return option(
        schema["panel"],
        f"--{name.replace('_', '-')}",
        metavar=value_form(schema),
        help=help or help_text(schema),
    )


def value_form(schema: dict[str, Any]) -> str:
    """Return the form of a setting's value: its own metavar, its choices, or its type."""
    if "metavar" in schema:
        return schema["metavar"]
    if "choices" in schema:
        return "|".join(schema["choices"])
    form = TYPES[one_value(schema)["type"]]
    return f"{form}[,{form}…]" if schema.get("type") == "array" else form


def one_value(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a single value: of a list's items, of an optional value if given."""
    if schema.get("type") == "array":
        return schema["items"]
    return next(part for part in schema.get("anyOf", [schema]) if part["type"] != "null")


def help_text(schema: dict[str, Any]) -> str:
    """Return a setting's description with its range, where its names are listed, its default."""
    single = one_value(schema)
    default = default_text(schema["default"]) or schema.get("unset", "")
    notes = [
        "" if "metavar" in schema else range_text(single),  # that form is no plain number
        "see augment list" if schema.get("listed") else "",
        f"default: {default}" if default else "",
    ]
    added = "; ".join(filter(None, notes))
    return schema["description"].removesuffix(".") + (f" ({added})." if added else ".")


def range_text(single: dict[str, Any]) -> str:
    """Format the range of a number as Typer does: 0<x<=1, or x>=1 if open on one side."""
    low = next((k for k in ("minimum", "exclusiveMinimum") if k in single), None)
    high = next((k for k in ("maximum", "exclusiveMaximum") if k in single), None)
    if low and high:
        signs = ("<" if low != "minimum" else "<=", "<" if high != "maximum" else "<=")
        return f"{single[low]:g}{signs[0]}x{signs[1]}{single[high]:g}"
    if low:
        return f"x{'>' if low != 'minimum' else '>='}{single[low]:g}"
    return f"x{'<' if high != 'maximum' else '<='}{single[high]:g}" if high else ""


def default_text(value: Any) -> str:
    """Format a default as the flag takes it; empty for one that is empty or off."""
    if isinstance(value, list):
        return ", ".join(map(default_text, value))
    if isinstance(value, bool) or value is None or value == {}:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def setting_parameters(model: type[BaseModel]) -> list[inspect.Parameter]:
    """Return a command's parameter for each field of a recipe's class; None is its default."""
    forms = {"boolean": bool | None, "object": list[str] | None}  # an object is given key by key
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                forms.get(schema.get("type", ""), str | None), setting_option(name, schema)
            ],
        )
        for name, schema in model.model_json_schema()["properties"].items()
    ]


def group_parameters(group: Any) -> list[inspect.Parameter]:
    """Return a command's parameter for each field of a dataclass of options."""
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(group)
    ]


def panel_place(parameter: inspect.Parameter) -> int:
    """Return where a parameter stands on the help page: arguments, then the groups in order."""
    (shown,) = parameter.annotation.__metadata__
    panel = (shown.rich_help_panel or "").lower()
    return PANELS.index(panel) if panel in PANELS else -1


def with_options(
    command: Callable[..., None], model: type[BaseModel] = Recipe
) -> Callable[..., None]:
    """Expand a command's groups of options into single ones for Typer; regroup them at a call.

    `**settings` of the command holds those of `model` that were given, as text; pydantic reads it.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {}
    settings: set[str] = set()
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        hint = hints[parameter.name]
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            found = setting_parameters(model)
            settings = {each.name for each in found}
            parameters = found + parameters  # before the others of their panels
        elif dataclasses.is_dataclass(hint):
            groups[parameter.name] = hint
            parameters += group_parameters(hint)
        else:
            kind = inspect.Parameter.KEYWORD_ONLY  # so that any order will do
            parameters.append(parameter.replace(annotation=hint, kind=kind))

    @functools.wraps(command)
    def gathered(**values: Any) -> None:
        given = {k: v for k, v in values.items() if k not in settings or v not in (None, [])}
        for name, group in groups.items():
            fields = [field.name for field in dataclasses.fields(group)]
            given[name] = group(**{field: given.pop(field) for field in fields})
        command(**given)

    parameters.sort(key=panel_place)
    gathered.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    gathered.__annotations__ = {each.name: each.annotation for each in parameters}
    return gathered
