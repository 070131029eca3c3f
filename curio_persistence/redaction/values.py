"""Find secrets by their names in text: settings, sources, commands, headers, tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from curio_persistence.redaction.names import (
    ANYTHING,
    RANDOM,
    UNLIKE_A_WORD,
    Names,
    is_number_of,
    names_the_same,
)
from curio_persistence.redaction.pattern import Span, compiled
from curio_persistence.redaction.placeholders import is_code, says_nothing

# A name, its closing quote, an optional type, and the separator before the value. In truncated
# JSON, backslashes may precede quotes.
_NAME = (
    r"""(?<![\w-])([\w.-]{2,64}+)\\{0,7}["'`]?\]?[ \t]{0,2}"""
    r"""(?:\??:[ \t]?[A-Za-z_.]{1,40}(?:\[[\w.,| \[\]]{0,60}\])?"""
    r"""(?:[ ]?\|[ ]?[A-Za-z_.]{1,40}){0,4}[ ]?(?==(?!=)))?"""
    r"""(?:=>|:=|={1,3}|!={1,2}|\?=|<-|%3[AaDd]|\??:(?!//))[ \t]{0,8}"""
)
_VALUE = r"""(?xs)
      [\[(]{1,2} (?P<list> ["'] [^\])\n]*+ )
    | [bBfFrRuU]{0,2} (?P<three> ["]{3} | '{3}) (?P<long> .*?) (?: (?P=three) | \Z)
    | [bBfFrRuU]{0,2} " (?P<double> (?: [^"\\\n] | \\. )*+ )
    | [bBfFrRuU]{0,2} ' (?P<single> (?: [^'\\\n] | \\. )*+ )
    | ` (?P<back> [^`\n]*+ )
    | (?P<slashes> \\{1,7} ) (?P<quote> ["'] )
      (?P<escaped> [^\n]*? ) (?: (?<!\\) (?P=slashes) (?P=quote) | (?=\n) | \Z )
    | [|>] [+-]? [1-9]? [ \t]* \r?\n
      (?P<indent> [ \t]+ ) (?P<block> \S [^\n]* (?: \n (?: (?P=indent) [^\n]* | [ \t]* (?=\n) ) )* )
    | \r?\n [ \t]* (?P<below> [^\s"']{6,200}+ ) (?= [ \t]* (?: \r?\n | \Z ) )
    | (?P<bare> (?: [^\s&,;"'`]
                  | [&,;"'`] (?! \s | \Z | ["'`),;\]}&] | [\w.-]{1,64} ["']? [=:] ) )++ )
    """
_IN_A_SENTENCE = re.compile(r"[A-Za-z]+(?:['’][a-z]+)?[ ][A-Za-z]")
PASSWORD_IN_URL = re.compile(r"""://[^\s/:@"']{0,64}:([^\s/"']+)(?=@[\w\[])""")
_HEADER = (
    r"""(?i)(["'`])?(?<![\w-])((?:proxy-)?authorization|(?:set-)?cookie)[ \t]{0,2}[:=](?!=)"""
    r"""[ \t]{0,2}(?!["'`\s])(?P<value>(?(1)(?:(?!\1)[^\r\n])+|[^\r\n]+))"""
)
_SCHEMES = ("basic", "bearer", "digest", "token")
_FLAG = (
    r"""(?<![\w-])--([\w-]{3,40})[ \t]{1,4}"""
    r"""(?:"([^"\n]{1,500})"|'([^'\n]{1,500})'|([^\s"'-]\S{5,}+))"""
)
USER_OF_CURL = re.compile(
    r"""\bcurl\b[^\n]{0,300}?[ ](?:-[A-Za-z]{0,9}[uU]|--user|--proxy-user)[ =]?"""
    r"""(?:"[^\s:"]{1,64}:([^"\n]+)|'[^\s:']{1,64}:([^'\n]+)|[^\s:"']{1,64}:([^\s"']+))"""
)
_ELEMENT = r"<([\w.:-]{2,64})(?:[ ][^<>\n]{0,200})?>([^<\n]{1,2000})</"
_NAME_AND_VALUE = (
    r"""(?i)\b(?:name|key)["']?[ ]{0,2}[=:][ ]{0,2}["']?([\w.-]{2,64})["']?[,\s]{1,40}"""
    r"""["']?value["']?[ ]{0,2}[=:][ ]{0,2}(?:"([^"\n]+)|'([^'\n]+)|([^\s"',]+))"""
)
_NETRC = r"\blogin[ \t\n]{1,40}\S{1,200}[ \t\n]{1,40}password[ \t\n]{1,40}(\S+)"
_SENTENCE = (
    r"""(?i)\b((?:secret[ ](?:access[ ])?|api[ ]|access[ ])?(?:key|token)"""
    r"""|password|passwd|passcode|passphrase|secret|pin)[ ]((?:(?:is|was|to|as|now|be)[ ]){0,2})"""
    r"""["'`]?([^\s"'`]{4,500}?)(?=[.,;!?]?["'`)]?(?:\s|\Z))"""
)
_LONGEST_HEADING = 1000
_HEADINGS = {
    delimiter: rf"""["']?[\w.-]{{1,40}}["']?(?:{delimiter}["']?[\w.-]{{1,40}}["']?)+"""
    for delimiter in (",", ";", "\t")
}
_CELLS = {
    delimiter: rf"""(?:^|{delimiter})("(?:[^"]|"")*"|[^{delimiter}]*)""" for delimiter in _HEADINGS
}
_LONGEST_THAT_IS_NONE = 2000
_DIGITS_OF_A_SECRET = 6


class Values:
    """Finds values under secret names in text of any kind."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def spans(self, text: str) -> Iterable[Span]:
        """Yield the position of each value."""
        lowered = text.lower()
        yield from self._pairs(text)
        if "authorization" in lowered or "cookie" in lowered:
            yield from self._headers(text)
        if "://" in text:
            yield from _spans_of(PASSWORD_IN_URL, text)
        if "--" in text:
            yield from self._by_name(_FLAG, text, bare=4)
        if "curl" in text:
            yield from _spans_of(USER_OF_CURL, text)
        if "</" in text:
            yield from self._by_name(_ELEMENT, text)
        if "value" in lowered:
            yield from self._by_name(_NAME_AND_VALUE, text)
        if "login" in text:
            yield from _spans_of(compiled(_NETRC), text)
        yield from self._sentences(text)
        yield from self._columns(text)

    def _pairs(self, text: str) -> Iterator[Span]:
        behind = 0  # End of the previous value: names inside it are part of it.
        for named in compiled(_NAME).finditer(text):
            if named.start() < behind or not self._names.secret(named[1]):
                continue
            value = compiled(_VALUE).match(text, named.end())
            if value is None:
                continue
            kind = value.lastgroup or ""
            begin, end = value.span(kind)
            if self._is_value(named, kind, value[kind]):
                yield begin, end
            elif end - begin < _LONGEST_THAT_IS_NONE:
                continue  # It may contain other names and values.
            behind = end

    def _is_value(self, named: re.Match[str], kind: str, value: str) -> bool:
        name = named[1]
        if not value or value.isspace():
            return False
        if kind == "list":
            return self._names.secret(name) is ANYTHING
        if kind == "below":
            return UNLIKE_A_WORD.fullmatch(value) is not None
        if kind == "bare" and _is_no_value(named, value):
            return False
        return self._names.is_secret(name, value) and not _closes_a_quote(named)

    def _headers(self, text: str) -> Iterator[Span]:
        for header in compiled(_HEADER).finditer(text):
            name, value = header[2], header["value"]
            first = value.split()[0]
            says_something = first.lower() in _SCHEMES or not says_nothing(first)
            is_one = "=" in value or "cookie" not in name.lower()
            is_one = is_one and not (is_code(first) or names_the_same(name, first))
            if is_one and says_something and self._names.is_secret(name, value):
                yield header.span("value")

    def _by_name(self, expression: str, text: str, *, bare: int | None = None) -> Iterator[Span]:
        """Yield the position of the last group that matched, if the first is a secret name.

        An ordinary word in the group `bare` is not a secret.
        """
        for found in compiled(expression).finditer(text):
            group = found.lastindex or 0
            value = found[group]
            is_word = group == bare and not UNLIKE_A_WORD.fullmatch(value)
            if self._names.is_secret(found[1], value) and not is_word:
                yield found.span(group)

    def _sentences(self, text: str) -> Iterator[Span]:
        for found in compiled(_SENTENCE).finditer(text):
            name, verb, value = found.groups()
            wanted = self._names.secret(name.replace(" ", "_"))
            if wanted is ANYTHING:
                wanted = UNLIKE_A_WORD if verb else RANDOM
            if wanted and wanted.fullmatch(value):
                yield found.span(3)

    def _columns(self, text: str) -> Iterator[Span]:
        """Yield the cells below a secret name in the first line, in lines with as many cells."""
        heading, _, _ = text[:_LONGEST_HEADING].partition("\n")
        for delimiter, headings in _HEADINGS.items():
            if compiled(headings).fullmatch(heading.rstrip("\r")):
                names = [cell.strip("\"'\r") for cell in heading.split(delimiter)]
                yield from self._cells(text, names, _CELLS[delimiter])

    def _cells(self, text: str, names: list[str], cells: str) -> Iterator[Span]:
        if not any(map(self._names.secret, names)):
            return
        begin = len(text.partition("\n")[0]) + 1
        for line in text[begin:].splitlines(keepends=True):
            row = list(compiled(cells).finditer(line.rstrip("\r\n")))
            if len(row) == len(names):
                for name, cell in zip(names, row, strict=True):
                    if self._names.is_secret(name, cell[1].strip('"')):
                        yield begin + cell.start(1), begin + cell.end(1)
            begin += len(line)


def _is_no_value(named: re.Match[str], value: str) -> bool:
    """Return whether an unquoted value is code, part of a sentence, a small number or a sign."""
    name, text = named[1], named[0]
    if "==" in text or "!=" in text:
        return True
    if ": " in text and _IN_A_SENTENCE.match(named.string, named.end()):
        return True
    if value.isdecimal() and len(value) < _DIGITS_OF_A_SECRET:
        return not is_number_of(name, int(value))
    return is_code(value) or names_the_same(name, value) or not any(map(str.isalnum, value))


def _closes_a_quote(named: re.Match[str]) -> bool:
    """Return whether the quote after a name ends the string that contains the name."""
    text, (begin, end) = named.string, named.span(1)
    quote = text[named.end() : named.end() + 1]
    is_in_a_text = begin > 0 and text[begin - 1] == quote and text[end] != quote
    return quote in ("'", '"') and is_in_a_text


def _spans_of(expression: re.Pattern[str], text: str) -> Iterator[Span]:
    for found in expression.finditer(text):
        group = found.lastindex or 0
        if not says_nothing(found[group]):
            yield found.span(group)
