"""Reading and writing the YAML of configurations.

Values are read by the core schema of YAML 1.2: `yes`, `on`, `12:30`, `1_0` and dates are text,
`010` is ten, `1e3` is a number. Keys are names and stay what was written: `yes`, `010`, `1e3` and
`~` are four classes, not a truth value, numbers and nothing. What is written here is quoted
wherever a reader of YAML 1.1 or 1.2 could take it for something else.

Whatever a file holds, it is read in bounded time and memory or refused in one line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from hqnn_jax.errors import ConfigurationError
from hqnn_jax.text import one_line

MAX_DEPTH = 50
"""Sections within sections; no configuration needs a tenth of it."""
_MAX_SIZE = 2**19
"""Values and their characters, where every alias is written out."""
_TAG = "tag:yaml.org,2002:"
_MERGE, _STRING = f"{_TAG}merge", f"{_TAG}str"
# https://yaml.org/spec/1.2.2/#103-core-schema, with the first characters a value can begin with.
_CORE: Mapping[str, tuple[re.Pattern[str], str]] = {
    f"{_TAG}null": (re.compile(r"^(?:~|null|Null|NULL|)$"), "~nN"),
    f"{_TAG}bool": (re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF"),
    f"{_TAG}int": (re.compile(r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), "-+0123456789"),
    f"{_TAG}float": (
        re.compile(
            r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
        ),
        "-+.0123456789",
    ),
}


class _Loader(yaml.SafeLoader):
    """Composes nodes by the core schema, to a limited depth; `_Reader` makes values of them."""

    def __init__(self, text: str):
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _refused(f"more than {MAX_DEPTH} levels", self.peek_event())
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """SafeDumper that also quotes text that YAML 1.2 alone reads as something else (`1e3`)."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # Between single quotes PyYAML writes this line break as one that is read as a space.
        style = '"' if "\x85" in data else None
        return self.represent_scalar(_STRING, data, style)


_Dumper.add_representer(str, _Dumper.represent_str)


# Not those of YAML 1.1.
_Loader.yaml_implicit_resolvers = {}
for _tag, (_pattern, _first) in _CORE.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(_tag, _pattern, [*_first, ""])
_Loader.add_implicit_resolver(_MERGE, re.compile("^<<$"), ["<"])


def parse_yaml(text: str, where: str) -> Any:
    """Read one YAML document.

    Args:
        text: the document.
        where: what the message of an error begins with.

    Returns:
        Dictionaries with strings as keys, lists and scalars; aliases are copies.

    Raises:
        ConfigurationError: for text that is not YAML, keys that appear twice or are no words, tags
            beyond those of JSON, aliases of what they are in, and documents that are too deep or
            too large when their aliases are written out.
    """
    try:
        root = _composed(text)
        return None if root is None else _Reader().value(root)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{where}: not valid YAML: {_described(error)}") from error


def dump_yaml(data: Mapping[str, Any]) -> str:
    """Return the YAML that `parse_yaml` reads as `data` again; any name may be a key."""
    text: str = yaml.dump(dict(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


def _composed(text: str) -> yaml.Node | None:
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    except (ValueError, OverflowError) as error:
        # PyYAML hands numbers of escapes (\UFFFFFFFF) and directives to int and chr unchecked.
        raise yaml.YAMLError(f"an escape or a directive with a wrong number ({error})") from error
    finally:
        loader.dispose()


def _refused(problem: str, where: yaml.Node | yaml.Event) -> yaml.MarkedYAMLError:
    mark: Any = where.start_mark
    return yaml.MarkedYAMLError(None, None, problem, mark)


def _described(error: yaml.YAMLError) -> str:
    """Return what is wrong and where, in one line."""
    if isinstance(error, yaml.reader.ReaderError):
        return f"character {error.position + 1} is #x{error.character:04x}: {error.reason}"
    if not isinstance(error, yaml.MarkedYAMLError):
        return str(error)
    what = one_line(", ".join(filter(None, (error.context, error.problem))))
    mark = error.problem_mark or error.context_mark
    place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
    return f"{what:.200}{place}"


class _Reader:
    """Makes values of composed nodes."""

    def __init__(self) -> None:
        self._size = 0
        self._within: set[int] = set()

    def value(self, node: yaml.Node) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._within:
            raise _refused("an alias refers to the section it is in", node)
        # Aliases of aliases can be deeper than anything that is composed.
        if len(self._within) >= MAX_DEPTH:
            raise _refused(f"more than {MAX_DEPTH} levels", node)
        self._count(1, node)
        self._within.add(id(node))
        value: Any
        if isinstance(node, yaml.MappingNode):
            value = self._mapping(node)
        else:
            self._require_tag(node, "seq")
            value = [self.value(item) for item in node.value]
        self._within.remove(id(node))
        return value

    def _count(self, size: int, node: yaml.Node) -> None:
        self._size += size
        if self._size > _MAX_SIZE:
            raise _refused(f"more than {_MAX_SIZE:,} values and characters", node)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text = self._text(node)
        if node.tag in (_STRING, _MERGE):
            return text
        pattern, _ = _CORE.get(node.tag, (None, ""))
        if pattern is None or not pattern.match(text):
            raise _refused(f"the tag {node.tag.removeprefix(_TAG)!r} does not fit here", node)
        try:
            return _VALUES[node.tag](text)
        except ValueError:
            raise _refused(f"a number of {len(text):,} digits", node) from None

    def _text(self, node: yaml.ScalarNode) -> str:
        self._count(1 + len(node.value), node)
        try:
            # JSON writes a character beyond 2^16 as two escapes.
            text: str = node.value.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise _refused("an escape that is no character", node) from None
        return text

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        self._require_tag(node, "map")
        own: dict[str, Any] = {}
        merged: dict[str, Any] | None = None
        for key_node, value_node in node.value:
            is_merge = key_node.tag == _MERGE
            key = "<<" if is_merge else self._key(key_node)
            if key in own or (is_merge and merged is not None):
                raise _refused(f"key {key!r:.80} appears twice", key_node)
            if is_merge:
                merged = self._merged(value_node)
            else:
                own[key] = self.value(value_node)
        return {**(merged or {}), **own}

    def _merged(self, node: yaml.Node) -> dict[str, Any]:
        """Return what `<<` names: a section, or several of which the first to have a key wins."""
        found = self.value(node)
        merged: dict[str, Any] = {}
        for section in found if isinstance(found, list) else [found]:
            if not isinstance(section, dict):
                raise _refused("<< names something that is no section", node)
            merged = {**section, **merged}
        return merged

    def _key(self, node: yaml.Node) -> str:
        if not isinstance(node, yaml.ScalarNode) or (node.style is None and not node.value):
            raise _refused("a key is no word", node)
        if node.tag != _STRING and node.tag not in _CORE:
            raise _refused(f"the tag {node.tag.removeprefix(_TAG)!r} does not fit here", node)
        return self._text(node)

    def _require_tag(self, node: yaml.Node, name: str) -> None:
        if node.tag != _TAG + name:
            raise _refused(f"the tag {node.tag.removeprefix(_TAG)!r} does not fit here", node)


def _integer(text: str) -> int:
    base = {"0o": 8, "0x": 16}.get(text[:2])
    return int(text) if base is None else int(text[2:], base)


def _float(text: str) -> float:
    # Python writes infinity and NaN without YAML's dot.
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_VALUES: Mapping[str, Callable[[str], Any]] = {
    f"{_TAG}null": lambda text: None,
    f"{_TAG}bool": lambda text: text.lower() == "true",
    f"{_TAG}int": _integer,
    f"{_TAG}float": _float,
}
