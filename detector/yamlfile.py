# SPDX-License-Identifier: AGPL-3.0-or-later
"""A YAML file checked whole against its schema: each fault on a line of its own, with file, line, field and mend."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from detector.errors import ConfigError

Kind = TypeVar("Kind", bound=BaseModel)


def read_checked(path: Path, kind: type[Kind]) -> Kind:
    """The file as `kind`; raises ConfigError. Relative paths in it are meant from its folder."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"settings file {path} cannot be read: {error}") from error
    return parse_checked(text, kind, str(path), path.parent)


def parse_checked(text: str, kind: type[Kind], name: str, folder: Path) -> Kind:
    """The same for a text, called `name`, whose relative paths are meant from `folder`."""
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        # The library lets pass what its own types refuse: 2026-13-45 looks like a date and is none.
        raise ConfigError(f"settings file {name} is not YAML: {' '.join(str(error).split())}") from error
    twice = [f"{name}:{line}: {key}: stands here twice; remove one of them" for key, line in _twice(tree, set())]
    if twice:
        raise ConfigError("\n".join(twice))
    try:
        return kind.model_validate(content, context={"folder": folder})
    except ValidationError as error:
        faults = [
            f"{name}:{_line(tree, fault['loc'])}: {'.'.join(map(str, fault['loc'])) or 'the file'}: "
            f"{_said(kind, fault['type'], fault['loc'], fault['msg'])}"
            for fault in error.errors(include_url=False)
        ]
        raise ConfigError("\n".join(faults)) from error


def _said(kind: type[BaseModel], fault: str, where: tuple[int | str, ...], message: str) -> str:
    """The message, and for an unknown key the known one that was probably meant."""
    if fault != "extra_forbidden":
        return message.removeprefix("Value error, ")
    known = sorted(_keys_at(kind, where[:-1]))
    meant = get_close_matches(str(where[-1]), known, 1, 0.6)
    mend = f"do you mean {meant[0]}?" if meant else f"known here: {', '.join(known)}"
    return f"there is no such setting; {mend}"


def _keys_at(kind: type[BaseModel], where: tuple[int | str, ...]) -> set[str]:
    """The keys that may stand at a place of the file."""
    here: list[Any] = [kind]
    for step in where:
        models = [each for each in here if _is_model(each)]
        fields = [model.model_fields[step].annotation for model in models if step in model.model_fields]
        here = [inner for annotation in fields for inner in _inside(annotation)] if fields else here
    return {name for each in here if _is_model(each) for name in each.model_fields}


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _inside(annotation: Any) -> Iterator[Any]:
    """The types that an annotation is made of."""
    yield annotation
    for each in get_args(annotation):
        yield from _inside(each)


def _twice(node: Any, done: set[int]) -> Iterator[tuple[str, int]]:
    """Keys that their mapping has already, with their lines: of two the library would silently take the last.
    `done`: parts of the file that were looked through, to which an alias may lead back."""
    if not isinstance(node, yaml.CollectionNode) or id(node) in done:
        return
    done.add(id(node))
    seen: set[str] = set()
    for part in node.value:
        key, value = part if isinstance(part, tuple) else (None, part)
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                yield key.value, key.start_mark.line + 1
            seen.add(key.value)
        yield from _twice(value, done)


def _line(node: Any, where: tuple[int | str, ...]) -> int:
    """The line, from 1, of the deepest part of the file on the way to `where`."""
    line = node.start_mark.line + 1 if node else 1
    for step in where:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == str(step)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            pair = node.value[step], node.value[step]
        else:
            pair = None
        if pair is None:
            break
        line, node = pair[0].start_mark.line + 1, pair[1]
    return line
