"""The sinks of alerts: where a notification goes, and how it is stored."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, get_args

from curio_persistence.errors import InvalidValueError
from curio_persistence.store.codecs import encode_id

SinkKind = Literal["log", "callable", "command", "webhook", "slack"]
_KINDS = get_args(SinkKind)
_OVER_HTTP = ("webhook", "slack")
_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]{0,254}")
_NOT_IN_URLS = re.compile(r"[^!-~]|\\")


@dataclass(frozen=True)
class AlertSink:
    """A place that is told of an alert when it fires, and when it is resolved.

    Use `log`, `callable`, `command`, `webhook` and `slack`. `name` stands in the history; without
    one it is the kind. A URL with a token in it is a secret: its path appears in no repr, no
    `to_dict()` and no message. With `url_env` it is not even stored, as the signing key never is:
    both are read from the environment of the program that sends.
    """

    kind: SinkKind
    name: str = ""
    url: str | None = field(default=None, repr=False)
    url_env: str | None = None
    secret_env: str | None = None
    allow_private: bool = False
    argv: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in _KINDS:
            raise _refusal("kind", f"is one of {', '.join(_KINDS)}, not {self.kind!r}")
        if not isinstance(self.allow_private, bool):
            raise _refusal("allow_private", f"is True or False, not {self.allow_private!r}")
        object.__setattr__(self, "name", _checked_name(self.name or self.kind))
        for name in ("url_env", "secret_env"):
            _check_variable(name, getattr(self, name))
        if self.kind in _OVER_HTTP:
            _check_address(self.url, self.url_env)

    @classmethod
    def log(cls, *, name: str = "") -> AlertSink:
        """A line in the log `curio_persistence.alerts` of the program that evaluates."""
        return cls("log", name)

    @classmethod
    def callable(cls, name: str) -> AlertSink:
        """A Python function, which programs that evaluate pass by this name."""
        return cls("callable", name)

    @classmethod
    def command(cls, argv: Sequence[str], *, name: str = "") -> AlertSink:
        """A program, not a shell, that reads the notification as JSON from its stdin."""
        return cls("command", name, argv=_checked_argv(argv))

    @classmethod
    def webhook(
        cls,
        url: str | None = None,
        *,
        url_env: str | None = None,
        secret_env: str | None = None,
        allow_private: bool = False,
        name: str = "",
    ) -> AlertSink:
        """A POST of the notification as JSON, signed with the key in the variable `secret_env`.

        Private, loopback and link-local addresses are refused, unless `allow_private`.
        """
        return cls("webhook", name, url, url_env, secret_env, allow_private)

    @classmethod
    def slack(
        cls,
        url: str | None = None,
        *,
        url_env: str | None = None,
        allow_private: bool = False,
        name: str = "",
    ) -> AlertSink:
        """A POST of `{"text": …}` to an incoming webhook of Slack, or of what understands the same.

        Private addresses are refused as by `webhook`.
        """
        return cls("slack", name, url, url_env, None, allow_private)

    def to_dict(self) -> dict[str, Any]:
        """Return what is set, as JSON has it, without the secret part of the URL."""
        values = self._set_values()
        if self.url is not None:
            scheme, _, rest = self.url.partition("://")
            values["url"] = f"{scheme}://{re.split('[/?#]', rest)[0]}/…"
        return values

    def _set_values(self) -> dict[str, Any]:
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {n: list(v) if n == "argv" else v for n, v in values.items() if v}


def encode_sinks(sinks: Any) -> str:
    """Return sinks as they are stored, each under a name of its own."""
    if not isinstance(sinks, Iterable) or isinstance(sinks, str | bytes):
        raise TypeError(f"must be some AlertSinks, not one {type(sinks).__name__}")
    given = list(sinks)
    if unfit := next((each for each in given if not isinstance(each, AlertSink)), None):
        raise TypeError(f"must be AlertSinks, such as AlertSink.log(), not {unfit!r:.80}")
    return json.dumps([sink._set_values() for sink in _named_apart(given)])


def decode_sinks(column: Sequence[str]) -> Iterable[tuple[AlertSink, ...]]:
    """Decode a column of sinks."""
    return [tuple(_stored_sink(each) for each in json.loads(stored)) for stored in column]


def _stored_sink(values: dict[str, Any]) -> AlertSink:
    return AlertSink(**{**values, "argv": tuple(values.get("argv", ()))})


def _named_apart(sinks: list[AlertSink]) -> list[AlertSink]:
    """Return sinks, with a number in names that were taken: `webhook`, `webhook-2`."""
    named: dict[str, AlertSink] = {}
    for sink in sinks:
        name, number = sink.name, 1
        while name in named:
            if sink.kind == "callable":
                raise ValueError(f"has the callable {name!r} twice")
            number += 1
            name = f"{sink.name}-{number}"
        named[name] = replace(sink, name=name)
    return list(named.values())


def _refusal(name: str, reason: str) -> InvalidValueError:
    field = f"AlertSink.{name}"
    return InvalidValueError(f"{field} {reason}.", field=field)


def _checked_name(name: Any) -> str:
    try:
        return encode_id(name)
    except (TypeError, ValueError) as error:
        raise _refusal("name", str(error)) from error


def _check_variable(name: str, variable: Any) -> None:
    if variable is None:
        return
    if not isinstance(variable, str) or not _VARIABLE.fullmatch(variable):
        # Without the value: it may be the secret itself, given in the wrong place.
        raise _refusal(name, "is the name of an environment variable, such as ALERTS_KEY")


def _checked_argv(argv: Any) -> tuple[str, ...]:
    given = [] if isinstance(argv, str | bytes) or not isinstance(argv, Iterable) else list(argv)
    if not given or not given[0] or not all(isinstance(e, str) and "\0" not in e for e in given):
        example = "['notify-send', 'agents']"
        raise _refusal("argv", f"is a list of a program and its arguments, such as {example}")
    return tuple(given)


def _check_address(url: Any, url_env: str | None) -> None:
    if (url is None) is (url_env is None):
        raise _refusal("url", "or url_env is required, one of them")
    if url is not None:
        host_and_port(url)


def host_and_port(url: Any) -> tuple[str, int]:
    """Return the host and the port of a URL; raise InvalidValueError, without it, for others."""
    from urllib.parse import urlsplit  # On use: every start imports this module.

    if isinstance(url, str) and not _NOT_IN_URLS.search(url):
        try:
            parts = urlsplit(url)
            default = {"http": 80, "https": 443}.get(parts.scheme)
            if default and parts.hostname and "@" not in parts.netloc:
                return parts.hostname, parts.port or default
        except ValueError:  # Brackets without an address in them, or no number as the port.
            pass
    raise _refusal(
        "url", "is that of a webhook, such as 'https://example.com/hook', without a user"
    )
