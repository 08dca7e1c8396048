"""Options: the signature and docstring of a function are a command's; a mistyped key is answered with the nearest."""

import inspect
import re
from argparse import Action, ArgumentError
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, NoReturn, TypeVar, get_args, get_origin, get_type_hints

import docstring_parser
from jsonargparse import ArgumentParser, Namespace

from competition_layers.names import nearest

from .bounds import check_options
from .keys import explain_key

T = TypeVar("T")
_UNION = re.compile(
    r" *Does not validate against any of the Union subtypes\n.*?Errors:\n(.*)\n *Given value type: ", re.DOTALL
)

_CHOICE = re.compile(r"Expected a typing\.Literal\[([^\]]*)\]\. Got value: (\S+)")


def parse_call(function: Callable[..., T], argv: Sequence[str], *, prog: str, positionals: Sequence[str] = ()) -> T:
    """Call `function` with the options in `argv`, in the YAML files named by `-c`, or both (the later one counts).

    A parameter is an option `--name` (one that Python calls `with_`: `--with`); those named in `positionals` stand
    without it, a list of them taking one or more.
    `--print_config` prints all options as YAML.

    Raises:
        argparse.ArgumentError: an option is unknown, missing or of another type.
        ValueError: a number out of its bounds.
    """
    parser = call_parser(function, prog=prog, positionals=positionals)
    values = instantiated(parser, parser.parse_args(list(argv)))
    options = {name: values[name] for name in inspect.signature(function).parameters}
    check_options(options)
    return function(**options)


def call_parser(function: Callable[..., Any], *, prog: str, positionals: Sequence[str] = ()) -> "Parser":
    """The parser behind `parse_call`."""
    documented = docstring_parser.parse(inspect.getdoc(function) or "")
    parser = Parser(prog=prog, description=documented.short_description, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-c", "--config", action="config", metavar="FILE", help="options in a YAML file")
    meanings = {parameter.arg_name: parameter.description or "" for parameter in documented.params}
    hints = get_type_hints(function)
    for name in positionals:
        several = get_origin(hints[name]) is not None and issubclass(get_origin(hints[name]), Sequence)
        kind, nargs = (get_args(hints[name])[0], "+") if several else (hints[name], None)
        parser.add_argument(name, type=kind, nargs=nargs, help=meanings.get(name, ""))
    keywords = [name for name in inspect.signature(function).parameters if name.endswith("_")]  # `with_`: --with
    parser.add_function_arguments(function, as_group=False, as_positional=False, skip={*positionals, *keywords})
    for name in keywords:
        default = inspect.signature(function).parameters[name].default
        parser.add_argument(
            f"--{name.rstrip('_')}", dest=name, type=hints[name], default=default, help=meanings.get(name, "")
        )
    return parser


class Parser(ArgumentParser):
    """jsonargparse's parser with house manners: dashes, bare switches, and the nearest key in every refusal."""

    def parse_args(self, args=None, *rest, **options):  # type: ignore[override]
        return super().parse_args(args if args is None else tidy_options(self, args), *rest, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        super().error(without_unions(explain_unknown_keys(self, message)), ex)


def instantiated(parser: ArgumentParser, values: Namespace) -> Namespace:
    """The objects that parsed `values` stand for, of any jsonargparse parser.

    Raises:
        argparse.ArgumentError: a group of options that may be left out refuses its values; in the group's own words.
    """
    try:
        return parser.instantiate(values)
    except ValueError as error:
        if _UNION.search(str(error)) is None:
            raise
        raise ArgumentError(None, without_unions(str(error))) from error


def without_unions(message: str) -> str:
    """What jsonargparse says of options that may be left out (`Group | None`) and of choices, without types."""
    message = _CHOICE.sub(_choice, message)
    found = _UNION.search(message)
    if found is None:
        return message
    reasons = [" ".join(reason.split()) for reason in re.split(r"^ *- ", found[1], flags=re.MULTILINE)]
    said = [reason for reason in reasons if reason and "<class 'NoneType'>" not in reason]
    keys, whole = re.findall(r'Parser key "([\w.]+)"', message[: found.start()]), []
    for reason in said:
        reason = re.sub(r"^Problem with given class_path '[\w.]+': ", "", reason)
        inner = re.match(r'Parser key "([\w.]+)": ', reason)
        key = ".".join([*keys, inner[1]] if inner else keys)
        reason = reason[inner.end() :] if inner else reason
        whole.append(
            f"{reason}, of {key}" if key and "a known key" in reason else f"{key}: {reason}" if key else reason
        )
    return "; or ".join(whole)


def _choice(said: re.Match) -> str:
    known = [word.strip("'\"") for word in said[1].split(", ")]
    return f"Expected one of {', '.join(known)} but got {said[2]!r}{nearest(said[2], known)}"


def tidy_options(parser: ArgumentParser, args: Sequence[str]) -> list[str]:
    """`--random-weights` for `--random_weights=true`: dashes in option names, switches without a value.

    For any jsonargparse parser: hand the result to its `parse_args`.
    """
    switches = {f"--{action.dest}" for action in _actions(parser) if _type_of(action) is bool}
    tidy = []
    for arg, following in zip_longest(args, args[1:], fillvalue=""):
        option = re.match(r"--[A-Za-z][\w.-]*", arg)
        if option:
            arg = "--" + option.group()[2:].replace("-", "_") + arg[option.end() :]
            if arg in switches and following.lower() not in ("true", "false", "yes", "no"):
                arg += "=true"
        tidy.append(arg)
    return tidy


def explain_unknown_keys(parser: ArgumentParser, message: str, moved: Mapping[str, str] | None = None) -> str:
    """`message`, but what it says of unknown keys becomes "Expected a known key but got ..., did you mean ...?".

    For any jsonargparse parser, LightningCLI's included: call it in the parser's `error`. Messages about other things
    come back as they were.

    Args:
        moved: keys of older versions, and their new names.
    """
    known = sorted({action.dest.rstrip("_") for action in _actions(parser)} - {"help", "print_config"})

    def explain(key: str, dashes: str = "") -> str:
        return explain_key(key, known, moved or {}, dashes)

    value = re.match(r'Parser key "([\w.]+)"', message)
    if moved and value and value[1] in moved:
        return explain(value[1])
    unknown = re.match(r"unrecognized arguments: (.*)", message, re.DOTALL)
    if unknown:
        options = re.findall(r"(?:^|\s)--([A-Za-z][\w.]*)", unknown.group(1))
        strange = [key for key in options if key not in known]
        return "; ".join(explain(key, "--") for key in strange) or message
    message = re.sub(
        r"Group '([\w.]+)' does not accept option '([\w.]+)'", lambda m: explain(f"{m[1]}.{m[2]}"), message
    )
    return re.sub(
        r"(?:Subcommand '\w+' does not accept option|Option) '([\w.]+)'(?: is not accepted)?",
        lambda m: explain(m[1]),
        message,
    )


def _actions(parser: ArgumentParser) -> list[Action]:
    """Every action of the parser and of its subcommands."""
    found = []
    for action in parser._actions:
        found.append(action)
        if isinstance(action.choices, dict):  # subcommands
            found += [inner for sub in action.choices.values() for inner in _actions(sub)]
    return found


def _type_of(action: Action) -> Any:
    return getattr(action, "_typehint", action.type)
