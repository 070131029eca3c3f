"""The named patterns find secrets, leave other text alone, and preserve JSON."""

from __future__ import annotations

import json
import re
import string
from random import Random
from time import thread_time
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from curio_persistence.redaction.patterns import KNOWN, SecretPatterns
from curio_persistence.redaction.shapes import SHAPES, Shape

ALL = SecretPatterns("all")
EVERY = SecretPatterns(*KNOWN)


def redact(text: str, *names: str) -> str:
    return SecretPatterns(*names)("AgentRunEvent.data", text)


def redact_value(value: Any, *names: str) -> Any:
    return json.loads(redact(json.dumps(value), *names))


# --- keys -----------------------------------------------------------------------------------------

SECRET_NAMES = [
    *("password", "Password", "passwd", "db_password", "DB_PASSWORD", "passphrase", "pwd"),
    *("secret", "client_secret", "clientSecret", "secrets", "credentials"),
    *("access_token", "accessToken", "refresh_token", "id_token", "X-Auth-Token"),
    *("api_key", "apiKey", "api-key", "apikey", "OPENAI_API_KEY", "api_keys"),
    *("private_key", "privateKey", "secret_key", "AWS_SECRET_ACCESS_KEY", "signing_key"),
    *("authorization", "Authorization", "Proxy-Authorization", "cookie", "Set-Cookie"),
    *("api_key_1", "APIKEY2", "openai_key", "STRIPE_KEY", "refreshTokenValue", "OAuth2Token"),
]
OTHER_NAMES = [
    *("input_tokens", "output_tokens", "tokens", "token_count", "max_tokens", "tokenCount"),
    *("primary_key", "key", "keys", "foreign_key", "sort_key", "keyboard", "monkey"),
    *("author", "authority", "passed", "passenger", "compass", "secretary", "tokenizer"),
    *("token_type", "password_length", "secret_name", "cookie_policy", "x" * 65 + "_password"),
    *("authorization_url", "secret_id", "credential_ids", "password_reset", "public_key"),
    *("next_page_token", "nextPageToken", "pad_token", "eos_token", "stop_token", "progressToken"),
    *("sessionId", "session_id", "signature", "passes", "bypass", "spin"),
]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_values_under_secret_names_are_redacted(name: str) -> None:
    for value in ["hunter2", ["a"], {"a": "b"}, "two words"]:
        assert redact_value({"a": {name: value}}, "keys") == {"a": {name: "[redacted:key]"}}


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_values_under_other_names_stay(name: str) -> None:
    for text in (json.dumps({name: "hunter2"}), f"{name}=hunter2", f"{name}: hunter2"):
        assert redact(text, "keys") == text


@pytest.mark.parametrize("value", [None, True, False, ""])
def test_a_flag_about_a_secret_stays(value: object) -> None:
    text = json.dumps({"password": value})
    assert redact(text, "keys") == text


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("password=hunter2", "password=[redacted:key]"),
        ("the password: hunter2, then", "the password: [redacted:key], then"),
        ("--api-key=abc --verbose", "--api-key=[redacted:key] --verbose"),
        ("export API_KEY='a b' # it", "export API_KEY='[redacted:key]' # it"),
        ('secret = "a \\" b" and', 'secret = "[redacted:key]" and'),
        ("{'password': 'hunter2'}", "{'password': '[redacted:key]'}"),
        ("{:password=>'x'}", "{:password=>'[redacted:key]'}"),
        ("?api_key=abc&page=2", "?api_key=[redacted:key]&page=2"),
        ("a.password=x;b=y", "a.password=[redacted:key];b=y"),
        ("Authorization: Basic YTpi\nHost: x", "Authorization: [redacted:key]\nHost: x"),
        ("curl -H 'Cookie: a=b; c=d' x", "curl -H 'Cookie: [redacted:key]' x"),
        ("postgres://me:pass@host/db", "postgres://me:[redacted:key]@host/db"),
        ("redis://:p@ss@host:1", "redis://:[redacted:key]@host:1"),
        ('{"password": "hunter2", "and', '{"password": "[redacted:key]", "and'),
        ('"{\\"password\\": \\"hunter2\\", \\"a', '"{\\"password\\": \\"[redacted:key]\\", \\"a'),
        ('password="never closed', 'password="[redacted:key]'),
    ],
)
def test_pairs_in_text_are_redacted(text: str, redacted: str) -> None:
    assert redact(text, "keys") == redacted


@pytest.mark.parametrize(
    "text",
    [
        "the key to success: work",
        "input_tokens=5, output_tokens: 6",
        "no password here",
        "see https://example.org:8080/@me",
        "password=",
        "password:\nnext line",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert redact(text, "keys") == text


LONG = "a1B2c3D4" * 4
"""A value that looks like a secret."""


@pytest.mark.parametrize(
    "name",
    ["token", "reset_token", "auth", "jwt", "bearer", "sessionid", "session", "pass"],
)
def test_under_ambiguous_names_a_value_must_look_like_a_secret(
    name: str,
) -> None:
    for harmless in ["Hello", "oauth", "the quick brown fox jumps", "two of 3", 50256, None]:
        assert redact_value({name: harmless}, "keys") == {name: harmless}
    for secret, redacted in [(LONG, "[redacted:key]"), ([LONG, "x"], ["[redacted:key]", "x"])]:
        assert redact_value({name: secret, "n": 1}, "keys") == {name: redacted, "n": 1}
    for beside in ({"logprob": -0.5}, {"logprobs": None}):
        assert redact_value({name: LONG, **beside}, "keys") == {name: LONG, **beside}


@pytest.mark.parametrize("name", ["token", "auth", "bearer"])
def test_a_url_under_such_a_name_stays(name: str) -> None:
    value = {name: "https://auth.example.org/oauth2/v2"}
    assert redact_value(value, "keys") == value


def test_only_tokens_of_a_list_that_look_like_secrets_are_redacted() -> None:
    assert redact_value({"tokens": [LONG, "Hel", "lo"]}, "keys") == {
        "tokens": ["[redacted:key]", "Hel", "lo"]
    }
    assert redact_value({"access_tokens": ["x"]}, "keys") == {"access_tokens": "[redacted:key]"}


@pytest.mark.parametrize(
    ("name", "number", "kept"),
    [
        *(("password", 482113, 0), ("DB_PASSWORD", -1234.5, 0), ("pin", 4821, 0)),
        *(("password", 12, 12), ("secret_id", 12345, 12345), ("credential", 123456, 123456)),
        *(("token", 50256, 50256), ("access_token", 9, 9), ("cookies", 30_000, 30_000)),
    ],
)
def test_a_number_stays_a_number(name: str, number: float, kept: float) -> None:
    assert redact_value({name: number}, "keys") == {name: kept}


@pytest.mark.parametrize(
    "value",
    [
        {"name": "DB_PASSWORD", "value": "hunter2"},
        {"Key": "api_key", "Value": "hunter2"},
        {"header": "X-API-Key", "val": "hunter2", "n": 1},
        {"name": "token", "value": "hunter2-hunter2-hunter2"},
        {"headers": [["Accept", "text/html"], ["Authorization", "Bearer hunter2"]]},
        {"properties": {"password": {"type": "string", "default": "hunter2", "minLength": 8}}},
    ],
    ids=json.dumps,
)
def test_a_name_and_its_value_may_be_members_or_a_pair(value: Any) -> None:
    redacted = redact_value(value, "keys")
    assert "hunter2" not in json.dumps(redacted)
    assert json.dumps(redacted).count("[redacted:key]") == 1
    assert redacted.keys() == value.keys()


@pytest.mark.parametrize(
    "text",
    [
        'password := "hunter2pw"',
        'password == "hunter2pw"',
        "password !== 'hunter2pw'",
        'password: str = "hunter2pw"',
        'password: Optional[str] | None="hunter2pw"',
        'password = """hunter2pw"""',
        "password = '''hunter2pw'''",
        "password=b'hunter2pw'",
        'os.environ["API_KEY"] = "hunter2pw"',
        "const apiKey = `hunter2pw`;",
        "password?: 'hunter2pw'",
        "password <- 'hunter2pw'",
        "password = ['hunter2pw', 'hunter2pw-old']",
        "password:\n  hunter2pw\n",
        "password: |\n  hunter2pw\n  hunter2pw\nuser: me",
        "--password hunter2pw app",
        "--api-key 'hunter2pw' app",
        "curl -su me:hunter2pw https://example.org",
        "curl -u 'me:hunter2pw and' https://example.org",
        "<password>hunter2pw</password>",
        '<apiKey type="x">hunter2pw</apiKey>',
        '<add key="DbPassword" value="hunter2pw"/>',
        "env:\n  - name: DB_PASSWORD\n    value: hunter2pw\n",
        "machine x login me password hunter2pw",
        'user;password\nme;hunter2pw\nyou;"hunter2pw;x"\n',
        "the password is hunter2pw, he said",
        "set the pin to 4821, not hunter",
        "?api_key%3Dhunter2pw",
        'Cookie: a="hunter2pw"; b=hunter2pw',
        "password=a,hunter2pw",
        r'"{\"password\": \"a\\\"hunter2pw\"}',
    ],
)
def test_any_separator_may_be_between_a_name_and_its_value(text: str) -> None:
    for around in ("{}", "{}\nlast"):
        redacted = redact(around.replace("{}", text), "keys")
        assert "[redacted:key]" in redacted
        assert "hunter2" not in redacted
        assert "4821" not in redacted


@pytest.mark.parametrize(
    "text",
    [
        "def f(secret: str, password: str | None = None) -> None: ...",
        "password: required",
        "To reset your password: open Settings",
        "authorization_url=https://example.org/authorize",
        "api_key=os.environ['API_KEY'], password=self.password, secret=new_secret",
        "password = getpass('Password: ')",
        "PASSWORD=$PASSWORD; TOKEN=${TOKEN}; api_key={api_key}",
        'headers = {"Authorization": f"Bearer {token}"}',
        "if password == confirmation: pass",
        "password: <your-password>",
        'fetch(url, {credentials: "include"})',
        "secrets: inherit",
        "ACCESS_TOKEN = 9",
    ],
)
def test_source_code_and_placeholders_stay(text: str) -> None:
    assert redact(text, "keys") == text


# --- emails ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("alice@example.com", "[redacted:email]"),
        ("<alice.b+c@mail.example.co.uk>.", "<[redacted:email]>."),
        ("a@b.io,c_d@e-f.org", "[redacted:email],[redacted:email]"),
        ("mailto:alice@example.com?subject=x", "mailto:[redacted:email]?subject=x"),
        ("jürgen@münchen.de", "[redacted:email]"),
        ("a@b@c.de", "a@[redacted:email]"),
        ("\N{LATIN SMALL LETTER A}" * 64 + "@example.com", "[redacted:email]"),
        ("a" * 100 + "@example.com", "[redacted:email]"),
        ("digit@github.com", "[redacted:email]"),
    ],
)
def test_addresses_are_redacted(text: str, redacted: str) -> None:
    assert redact(text, "emails") == redacted


@pytest.mark.parametrize(
    "text",
    [
        "react@18.2.0",
        "me@localhost",
        "@alice",
        "a @ b.com",
        "alice@",
        "@",
        "user@10.0.0.1",
        "@a.b@",
        "git@github.com:org/repo",
        "ssh://hg@bitbucket.org/org/repo",
    ],
)
def test_text_that_is_not_an_address_stays(text: str) -> None:
    assert redact(text, "emails") == text


# --- cards ----------------------------------------------------------------------------------------

CARDS = [
    *("4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "4222222222222"),
    *("5555555555554444", "378282246310005", "3782 822463 10005", "30569309025904"),
    *("6011111111111117", "3530111333300000", "6759649826438453", "6304000000000000000"),
]
"""Test numbers that card companies and payment services publish, of 13 to 19 digits."""


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("around", ["{}", "card {}.", "no.{},", "({})", "5 {} 12/27", "a\n{}\nb"])
def test_cards_are_redacted(card: str, around: str) -> None:
    if around != "{}":
        assert redact(around.format(card), "cards") == around.format("[redacted:card]")
    assert redact_value({"to": [around.format(card)]}, "cards") == {
        "to": [around.format("[redacted:card]")]
    }


@pytest.mark.parametrize(
    "card",
    [
        *("4111.1111.1111.1111", "4111\u00a01111\u00a01111\u00a01111"),
        *("4111\u20131111\u20131111\u20131111", "\uff14" + "\uff11" * 15),
        "4111\u202f1111\u20111111\u20141111",
    ],
    ids=ascii,
)
def test_cards_are_found_in_any_spelling(card: str) -> None:
    for text in (f"card {card}.", json.dumps({"to": f"{card}, now"})):
        assert card not in redact(text, "cards")
        assert "[redacted:card]" in redact(text, "cards")


@pytest.mark.parametrize("card", [4111111111111111, 4222222222222, 378282246310005])
def test_cards_that_are_numbers_become_text(card: int) -> None:
    assert redact_value({"card": card, "n": 1}, "cards") == {"card": "[redacted:card]", "n": 1}
    assert redact(str(card), "cards") == '"[redacted:card]"', "which is JSON as well"


@pytest.mark.parametrize(
    "text",
    [
        "4111111111111112",  # Its check digit is wrong.
        "411111111111",  # Twelve digits.
        "41111111111111111111",  # Twenty.
        "0.4111111111111111",
        "x4111111111111111",
        "1763720073008",  # Milliseconds since 1970, with a correct check digit.
        "1763720073000000001",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        "4111 1111 and 1111 1111",
        '{"n": 4111111111111111.0}',
        "4111.111111111111",  # A decimal fraction.
        "v4111.1111.1111.1111",
        "4111.1111.1111.1111.1",
        "9007199254740993",  # Not a prefix of a network.
        "5011111111111",
    ],
)
def test_other_digits_stay(text: str) -> None:
    assert redact(text, "cards") == text


def test_the_longest_card_is_redacted_and_the_following_digits_stay() -> None:
    assert redact("4111 1111 1111 1111 123 x", "cards") == "[redacted:card] 123 x"
    both = "4111111111111111 5555555555554444"
    assert redact(f"cards {both}", "cards") == "cards [redacted:card] [redacted:card]"


# --- api-keys -------------------------------------------------------------------------------------

# Assembled here, so that no secret scanner takes them for real.
API_KEYS = {
    "openai": "sk-" + "proj-" + "a1B2" * 10,
    "anthropic": "sk-" + "ant-api03-" + "a1B2_-" * 10,
    "aws": "AKIA" + "IOSFODNN7EXAMPLE",
    "github": "ghp_" + "a1B2" * 9,
    "github-fine": "github_pat_" + "a1B2_" * 10,
    "gitlab": "glpat-" + "a1B2" * 5,
    "slack": "xoxb-" + "123456789012-" + "abcDEF",
    "google": "AIza" + "Sy_-" + "a" * 31,
    "jwt": "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxIn0." + "abc-DEF_123",
    "pem": "-----BEGIN RSA PRIVATE KEY-----\nMIIE+/=\n-----END RSA PRIVATE KEY-----",
}


@pytest.mark.parametrize("key", API_KEYS.values(), ids=API_KEYS)
@pytest.mark.parametrize("around", ["{}", "use {} now", '"{}"', "({})", "key={},", "a\n{}\nb"])
def test_api_keys_are_redacted(key: str, around: str) -> None:
    redacted = around.format("[redacted:api-key]")
    assert redact(around.format(key), "api-keys") == redacted
    assert redact_value([around.format(key)], "api-keys") == [redacted]


def test_the_word_bearer_stays() -> None:
    assert redact("Bearer abcDEF123456._~+/=", "api-keys") == "Bearer [redacted:api-key]"
    assert redact("the bearer of good news", "api-keys") == "the bearer of good news"


@pytest.mark.parametrize(
    "text",
    [
        "task-12345678901234567890",
        "sk-short",
        "AKIA",
        "AKIAIOSFODNN7EXAMPLEX",
        "ghp_short",
        "eyJhbGciOi",
        "-----BEGIN CERTIFICATE-----",
        "xoxo-and-love-to-all",
        "Bearer shorttoken",
        "sk-learn-contrib-packages-are-nice",
        "SKIPPED_TESTS_IN_THIS_DIRECTORY",
        "gsk_hub_download_with_a_name_as_long_as_a_key",
        "std.SG.x",
    ],
)
def test_text_that_only_begins_like_a_key_stays(text: str) -> None:
    assert redact(text, "api-keys") == text


def test_every_shape_of_the_table_passes_the_hint_and_is_found_completely() -> None:
    for shape in SHAPES:
        alphabet = re.compile(f"[{shape.alphabet}]")
        letters = [each for each in string.ascii_letters + string.digits if alphabet.match(each)]
        for more in (0,) if shape.exactly else (0, 1, 20):
            length = shape.length + more
            key = shape.prefix + "7" + "".join(Random(more).choices(letters, k=length - 1))
            for text in (key, f"use {key}, now", f"({key})"):
                expected = text.replace(key, "[redacted:api-key]")
                assert redact(text, "api-keys") == expected, shape


def test_no_two_shapes_have_the_same_prefix() -> None:
    assert len({shape.prefix for shape in SHAPES}) == len(SHAPES)


@pytest.mark.parametrize(
    "kind", ["RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "PGP PRIVATE KEY BLOCK"]
)
def test_private_keys_are_found_with_their_headers_and_truncated(kind: str) -> None:
    head, end = f"-----BEGIN {kind}-----\n", f"-----END {kind}-----"
    body = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0A1B\n\nMIIEhunter2+/=\n=aBcD\n"
    for text in (f"{head}{body}{end}", f"{head}{body}", f"{head}{body}-----E"):
        assert redact(f"here:\n{text}", "api-keys") == "here:\n[redacted:api-key]"
    assert redact(f"{head}{body}{end}\n" * 2, "api-keys") == "[redacted:api-key]\n" * 2


def test_a_private_key_in_source_code_is_found_completely() -> None:
    lines = [r'"-----BEGIN PRIVATE KEY-----\n"', r'"MIIEhunter2\n"', '"-----END PRIVATE KEY-----"']
    text = "key = ({})".format("\n    ".join(lines))
    assert redact(text, "api-keys") == 'key = ("[redacted:api-key]")'
    array = json.dumps(["-----BEGIN PRIVATE KEY-----MIIE", "next"], indent=1)
    assert json.loads(redact(array, "api-keys")) == ["[redacted:api-key]", "next"]


# --- JSON -----------------------------------------------------------------------------------------


def test_json_without_a_match_is_unchanged() -> None:
    text = ' { "a" : 1.50e3, "b":"\\u00e9 x:y", "max_tokens" : 5, "c":[ ], "at": "@" }\n'
    assert ALL("", text) == text


def test_an_escape_hides_nothing() -> None:
    assert ALL("", '{"to": "alice\\u0040example.com"}') == '{"to": "[redacted:email]"}'
    assert ALL("", '{"p\\u0061ssword": "x"}') == '{"password": "[redacted:key]"}'
    assert ALL("", '{"n": "4111\\u00201111 1111 1111"}') == '{"n": "[redacted:card]"}'


def test_an_escape_before_an_address_stays_whole() -> None:
    assert redact_value({"text": "to\nalice@example.com\t"}, "emails") == {
        "text": "to\n[redacted:email]\t"
    }


@pytest.mark.parametrize("hidden", ['"hunter2"', '"\\u0068unter2"', '["hunter2"]'])
def test_a_repeated_name_hides_nothing(hidden: str) -> None:
    redacted = ALL("", f'{{"password": {hidden}, "password": ""}}')
    assert json.loads(redacted) == {"password": ""}
    assert "unter2" not in redacted


def test_json_in_json_is_searched_too() -> None:
    inner = json.dumps({"arguments": json.dumps({"password": "hunter2", "n": 4111111111111111})})
    redacted = redact_value({"body": inner}, "all")
    assert json.loads(json.loads(redacted["body"])["arguments"]) == {
        "password": "[redacted:key]",
        "n": "[redacted:card]",
    }


def test_names_in_json_are_redacted_too() -> None:
    assert redact_value({"alice@example.com": 1}, "emails") == {"[redacted:email]": 1}


@pytest.mark.parametrize(
    "text", ['{"password": ' + "[" * 100_000, '{"password": 1' + "0" * 10_000 + "}"], ids=len
)
def test_json_that_python_cannot_read_is_never_stored_unredacted(text: str) -> None:
    """It raises, so no text is stored, or the secret is removed."""
    try:
        redacted = ALL("", text)
    except (RecursionError, ValueError):
        return
    assert '"password": [redacted:key]' in redacted


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.sampled_from([*CARDS, *API_KEYS.values(), "a@b.de", "password=x", '{"token": "x"}'])
    | st.sampled_from([4111111111111111, 378282246310005]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.sampled_from([*SECRET_NAMES, "a@b.de"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.slow
@given(json_values, st.booleans(), st.sampled_from([*KNOWN, "all"]))
@example("\\\nalice@example.com", False, "emails")
@example(-4111111111111111, False, "cards")
@example('"-----BEGIN PRIVATE KEY-----"', False, "api-keys")
def test_json_stays_json_and_redacted_text_is_not_changed_again(
    value: Any, escaped: bool, name: str
) -> None:
    text = json.dumps(value, ensure_ascii=escaped)
    once = redact(text, name)
    json.loads(once)
    assert redact(once, name) == once


@pytest.mark.slow
@given(st.text(), st.text())
def test_an_address_is_found_anywhere(before: str, after: str) -> None:
    texts = [f"{before} alice@example.com {after}", json.dumps([f"{before} alice@example.com"])]
    assert all("alice@example" not in ALL("", text) for text in texts)


# --- no remains beside a label --------------------------------------------------------------------

_LETTERS = string.ascii_letters + string.digits
_BARE = st.text(f"{_LETTERS}!#%*+/?@^_~-", min_size=8, max_size=80)
_QUOTED = st.text(string.printable.replace("\r", " "), min_size=8, max_size=80)
_KEY_LETTERS = st.text(f"{_LETTERS}_-", min_size=100, max_size=400)
_BARE_FORMS = [
    *("password={}", "password: {}", "?api_key={}&page=2", "(secret={})", "--password={} x"),
    *("postgres://me:{}@host/db", "Authorization: Basic {}\nHost: x", "secret={}, user=me"),
    *("<password>{}</password>", "curl -u me:{} https://example.org", "password:\n  {}\n"),
    *("login me password {}", "the password is {}.", "password,user\n{},me\n"),
]
_QUOTED_FORMS = ["password = {}", "{{'password': {}}}", "secret == {} and", "f(api_key={}, n=1)"]


def pieces(text: str) -> set[str]:
    return {text[at : at + 5] for at in range(len(text) - 4)}


def assert_labeled_whole(text: str, secret: str, form: str) -> None:
    """Assert that there is no label, or that only the surrounding text remains beside it."""
    redacted = ALL("", text)
    if redacted != text:
        assert pieces(secret) & pieces(redacted) <= pieces(form + "[redacted:key]")


@given(_BARE, st.sampled_from(_BARE_FORMS))
@example("aaaa@bbbb1", "postgres://me:{}@host/db")
def test_no_part_of_a_secret_remains_beside_its_label(secret: str, form: str) -> None:
    if "://" in form:
        secret = secret.replace("/", "-")  # There it would end the password.
    assert_labeled_whole(form.format(secret), secret, form)


@given(_QUOTED, st.sampled_from(_QUOTED_FORMS))
def test_no_part_of_a_quoted_secret_remains_beside_its_label(secret: str, form: str) -> None:
    assert_labeled_whole(form.format(json.dumps(secret)), secret, form)
    cut_off = json.dumps({"a": 1, "password": secret, "b": "c"})[:-6]
    assert_labeled_whole(cut_off, secret, cut_off.replace(secret, ""))
    assert_labeled_whole(json.dumps(cut_off)[:-4], secret, cut_off.replace(secret, ""))


@given(st.text(min_size=8), st.sampled_from(SECRET_NAMES))
def test_no_part_of_a_secret_in_json_remains_beside_its_label(secret: str, name: str) -> None:
    for value in ({name: secret}, [{"name": name, "value": secret}], json.dumps({name: secret})):
        assert_labeled_whole(json.dumps(value), secret, json.dumps(value).replace(secret, ""))


@given(st.sampled_from(SHAPES), _KEY_LETTERS, st.sampled_from(["{}", "x={}", "({})", '"{}"']))
def test_no_part_of_a_key_remains_beside_its_label(shape: Shape, letters: str, form: str) -> None:
    assume(not any(other.prefix in letters for other in SHAPES))  # Then it has another key.
    assert_labeled_whole(form.format(shape.prefix + letters), letters, form + shape.prefix)


# --- hostile text ---------------------------------------------------------------------------------

_LENGTH = 50_000
_SECONDS = 2.0
"""Processor time for a pattern and a text: ten times that of the slowest."""

HOSTILE = [
    *("a", "@", "a@", "a@b.", "a.", "1", "4", "4111 ", "4 ", "1-", "password", "password=", "x="),
    *('password="', "password='\\", "token: ", "sk-", "-eyJ", "eyJa.", "eyJ.", "Bearer ", "xoxb-"),
    *("-----BEGIN PRIVATE KEY-----", "://a:", "://", "authorization:", "cookie =", "\\", "\\u0040"),
    *("hf_", "AKIA", "hooks.slack.com/services/", "SG.", "xoxb-1", "1:AA", "M.a", "Q~", "ya29."),
    *("-----BEGIN PGP PRIVATE KEY BLOCK-----\n", '-----BEGIN PRIVATE KEY-----"\n"', "M" * 25 + "."),
    *("<password>", "<password>x</", "--password ", "curl -u a:", "curl ", "login a password "),
    *("password is ", "secret access key ", "name: password value: ", 'name="pin" value="', "%3D"),
    *('password="""', "token='", 'token=\\"', "password: |\n ", "password:\n", "a,password\n"),
    *("password: a | ", "password[", 'password = ["', "key=", "`", "password=`", "sig=", "pass:"),
    *("1.", "4111.", "\u00a0" + "1", "DE89 ", "GB82WEST", "+1 ", "(415) ", "123-45-", "::", "1:2:"),
    *('"', "{", '{"', '"password":', '{"password":[', "[", "a.a-", "é@", " ", "=>", 'x=\\"'),
]


@pytest.mark.slow
@pytest.mark.parametrize("piece", HOSTILE, ids=repr)
def test_no_text_takes_more_than_a_fixed_number_of_steps_for_each_character(piece: str) -> None:
    """A quadratic search takes twenty seconds here."""
    text = (piece * (_LENGTH // len(piece) + 1))[:_LENGTH]
    for hostile in (text, f"password=x a@b.de {text}", f"{text}\\u0040"):
        for name, pattern in KNOWN.items():
            begin = thread_time()
            pattern.redact(hostile)
            assert thread_time() - begin < _SECONDS, name
    nested = json.dumps({"a": [f". {text}"], "password": text})
    assert json.loads(EVERY("", nested)).keys() == {"a", "password"}


def test_no_pattern_changes_a_label() -> None:
    labels = " ".join(f"[redacted:{name}]" for name in ("key", "email", "card", "api-key"))
    assert ALL("", labels) == labels
