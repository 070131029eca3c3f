"""Payloads and source code as agents see them, without secrets.

They have the shapes that the vendors of models, of MCP and of tokenizers publish, and names and
values that look like secrets and are not.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

_UUID = "550e8400-e29b-41d4-a716-446655440000"
_CURSOR = b64encode(b'{"after": 250, "order": "created_at"}').decode()


def _token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


_OPENAI: dict[str, Any] = {
    "chat completion": {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion",
        "created": 1741569952,
        "model": "gpt-4.1-2025-04-14",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "To reset your password: open Settings, then choose Security.",
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 19,
            "completion_tokens": 10,
            "total_tokens": 29,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": "fp_44709d6fcb",
    },
    "log-probabilities": {
        "choices": [
            {
                "logprobs": {
                    "content": [
                        _token(" Hello", -0.317)
                        | {"top_logprobs": [_token(" Hello", -0.317), _token(" Hi", -1.319)]},
                        _token("c3d4e5f6a7b8c9d0e1f2", -2.5) | {"top_logprobs": []},
                        _token("<|endoftext|>", -0.0001) | {"top_logprobs": []},
                    ],
                    "refusal": None,
                }
            }
        ]
    },
    "legacy log-probabilities": {
        "logprobs": {
            "tokens": ["Hello", ",", " world", "!", "\n\n"],
            "token_logprobs": [-0.1, -0.2, -0.3, -1.5, -0.01],
            "text_offset": [0, 5, 6, 12, 13],
        }
    },
    "tool call": {
        "tool_calls": [
            {
                "id": "call_12345xyzABCDEFGHIJKLMNOPQ",
                "type": "function",
                "function": {
                    "name": "list_items",
                    "arguments": json.dumps(
                        {"page_token": _CURSOR, "max_tokens": 512, "q": "auth"}
                    ),
                },
            }
        ]
    },
    "request": {
        "model": "gpt-5",
        "max_tokens": 1024,
        "max_completion_tokens": 4096,
        "logit_bias": {"50256": -100},
        "stop": ["\n\n", "<|im_end|>"],
        "user": "user_8f2c",
        "prompt_cache_key": "support-agent-v2",
        "safety_identifier": "7d3c1f0e9b8a",
        "messages": [{"role": "user", "content": "Which token comes next: foo or bar?"}],
    },
    "responses": {
        "id": "resp_67ccd3a9da748190baa7f1570fe91ac604becb25c45c1d41",
        "object": "response",
        "status": "completed",
        "output": [
            {
                "id": "rs_67ccd3acc8d48190a77525dc6de64b4104becb25c45c1d41",
                "type": "reasoning",
                "summary": [],
                "encrypted_content": b64encode(b"thoughts of a model, sealed" * 4).decode(),
            },
            {
                "id": "msg_67ccd3acc8d48190a77525dc6de64b4104becb25c45c1d41",
                "type": "message",
                "content": [{"type": "output_text", "text": "The session: a short one."}],
            },
        ],
        "previous_response_id": None,
        "usage": {
            "input_tokens": 36,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 87,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 123,
        },
    },
    "embeddings": {
        "object": "list",
        "data": [{"object": "embedding", "embedding": [0.0023064255, -0.009327292, 4.5e-05]}],
        "usage": {"prompt_tokens": 8, "total_tokens": 8},
    },
}

_ANTHROPIC: dict[str, Any] = {
    "message": {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5-20250929",
        "content": [
            {
                "type": "thinking",
                "thinking": "The user lost a password. I must not ask for it.",
                "signature": b64encode(b"a signature over the thoughts" * 3).decode(),
            },
            {"type": "text", "text": "I never need your password, only your account's name."},
            {
                "type": "tool_use",
                "id": "toolu_01D7FLrfh4GYq7yT1ULFeyMV",
                "name": "get_auth_status",
                "input": {"session": "main", "auth": "oauth2", "pass": 2, "keys": ["a", "b"]},
            },
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 2095,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 1024,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 503,
            "service_tier": "standard",
        },
    },
    "tool result": {
        "type": "tool_result",
        "tool_use_id": "toolu_01D7FLrfh4GYq7yT1ULFeyMV",
        "content": [{"type": "text", "text": "token_type: bearer, expires_in: 3600"}],
        "is_error": False,
    },
    "stream": {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 15},
    },
    "count": {"input_tokens": 14, "context_management": {"original_input_tokens": 70000}},
    "error": {
        "type": "error",
        "error": {"type": "authentication_error", "message": "invalid x-api-key"},
        "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy",
    },
}

_MCP: dict[str, Any] = {
    "tools/list": {
        "jsonrpc": "2.0",
        "id": 1,
        "result": {
            "tools": [
                {
                    "name": "create_user",
                    "description": "Create a user. The password: at least 12 characters.",
                    "inputSchema": {
                        "type": "object",
                        "properties": {
                            "name": {"type": "string"},
                            "password": {"type": "string", "minLength": 12},
                            "api_key": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                            "token": {"type": "string", "description": "From the last page"},
                        },
                        "required": ["name", "password"],
                    },
                },
                {
                    "name": "list_secrets",
                    "description": "List the names of secrets, not their values",
                    "inputSchema": {"type": "object", "required": ["password", "token"]},
                    "annotations": {"readOnlyHint": True},
                },
            ],
            "nextCursor": _CURSOR,
        },
    },
    "tools/call": {
        "jsonrpc": "2.0",
        "id": 2,
        "method": "tools/call",
        "params": {
            "name": "search_issues",
            "arguments": {"query": "password reset", "page_token": _CURSOR, "per_page": 30},
            "_meta": {"progressToken": "a1b2c3d4e5f6a7b8c9d0"},
        },
    },
    "result": {
        "jsonrpc": "2.0",
        "id": 2,
        "result": {
            "content": [{"type": "text", "text": json.dumps({"next_page_token": _CURSOR})}],
            "structuredContent": {
                "items": [{"secret_id": 12, "credential": 7, "token": 50256, "cookies": 3}],
                "next_page_token": _CURSOR,
                "nextPageToken": "CAUQAA1b2c3d4e5f6a7b8c9d0",
                "syncToken": "CPDAlvWDx70CEPDAlvWDx70CGAU1",
            },
            "isError": False,
        },
    },
    "elicitation": {
        "method": "elicitation/create",
        "params": {
            "message": "Which account?",
            "requestedSchema": {
                "type": "object",
                "properties": {"authorization_url": {"type": "string", "format": "uri"}},
            },
        },
    },
    "OAuth metadata": {
        "issuer": "https://auth.example.org",
        "authorization_endpoint": "https://auth.example.org/authorize",
        "authorization_url": "https://auth.example.org/authorize?client_id=web",
        "token_endpoint": "https://auth.example.org/token",
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
        "code_challenge_methods_supported": ["S256"],
    },
}

_AGENTS: dict[str, Any] = {
    "ids": {
        "run_id": _UUID,
        "session_id": "session-2026-11-29-0001",
        "sessionId": _UUID,
        "session": _UUID,
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "commit": "9fceb02d0ae598e95dc970b74767f19372d61af8",
        "order": 4111111111111112,
        "chat_id": 7204561230987654321,
        "created_ms": 1763720073008,
        "version": "2024.1101.1234.5678",
        "score": 4567.123456789012,
    },
    "flags": {
        "password": True,
        "has_password": False,
        "api_key": None,
        "secret": "",
        "tokens": 1530,
        "auth": {"type": "oauth2", "required": True},
        "primary_key": "user_id_and_created_at_2026",
        "partition_key": "tenant#42",
        "s3_key": "uploads/2026/11/29/report-final-v2.pdf",
    },
    "tokenizer": {
        "pad_token": "<|padding_token_000001|>",
        "eos_token": "<|endoftext_000000000001|>",
        "bos_token": {"content": "<s>", "lstrip": False},
        "unk_token": "[UNKNOWN_TOKEN_0000001]",
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>"],
        "tokens": ["Ġinternational", "ization", "##2026", "<0x0A>"],
        "token_ids": [15496, 11, 995],
        "stop_token": 50256,
        "tokenizer_class": "PreTrainedTokenizerFast",
    },
    "environment": {
        "variables": [
            {"name": "DB_PASSWORD", "value": "$DB_PASSWORD"},
            {"name": "PORT", "value": 1},
        ],
        "api_key": "${OPENAI_API_KEY}",
        "password": "<your-password>",
        "secret": "***",
    },
}

_PYTHON = '''
import os
from getpass import getpass

API_KEY = os.environ["OPENAI_API_KEY"]
password = getpass("Password: ")
MAX_TOKENS: int = 4096


def login(user: str, password: str, *, secret: str | None = None, token: Token = None) -> Session:
    """Return a session. password: the user's own, token: of the page before."""
    if password == other.password or secret is None:
        raise ValueError("password: required")
    client = OpenAI(api_key=os.getenv("OPENAI_API_KEY"), max_tokens=max_tokens)
    headers = {"Authorization": f"Bearer {token}", "X-API-Key": settings.api_key}
    request.headers["Authorization"] = f"Basic {encoded}"
    cookie = request.cookies.get("sessionid")
    self.password = hash_password(password)
    return client.login(user, password=password, secret=secret, auth=auth)


def pieces(tokenizer, text):
    tokens = tokenizer.tokenize(text)
    tokenizer.pad_token = tokenizer.eos_token
    next_page_token = response.get("next_page_token")
    return [token for token in tokens if token != tokenizer.pad_token]


class Form(forms.Form):
    password = forms.CharField(widget=forms.PasswordInput)
    api_key: SecretStr
'''

_JAVASCRIPT = """
const apiKey = process.env.OPENAI_API_KEY;
const { token } = await getToken();
export interface Login { password: string; secret?: string; authorization_url: string }
fetch(url, { headers: { Authorization: `Bearer ${token}`, Cookie: document.cookie } });
if (password !== confirmPassword) { throw new Error("password: invalid"); }
const session = req.session; let pass = 0; const auth = getAuth(app);
validate({ password: required, pin: optional });
// git clone git@github.com:org/repo && npm install react@18.2.0
"""

_YAML = """
env:
  DB_PASSWORD: ${{ secrets.DB_PASSWORD }}
  API_KEY: $API_KEY
  SECRET: ${SECRET}
steps:
  - uses: actions/checkout@v4
    with: {token: "${{ github.token }}", ssh-key: ""}
  - run: pip install sk-learn-contrib-packages-are-nice task-12345678901234567890
openapi:
  password: {type: string, format: password}
  required: [password, token]
auth: none
session: default
"""

_PROSE = """
The key to success: work. First pass: done; second pass: 12 of 14 tests.
We discuss token: a word, or a part of one. My session: Tuesday, 10 am. The password is required.
See https://example.org:8080/@me and ssh://git@github.com/org/repo, or write to git@gitlab.com:a/b.
authorization: required. Cookies: none. Secret: optional. Bearer of good news: everybody.
It took 4567.123456789012 ms and cost 0.4111111111111111 dollars at 1763720073008.
"""

_SHELL = """
export PGPASSWORD=$PGPASSWORD
curl -u "$USER:$PASSWORD" -H "Authorization: Bearer $TOKEN" https://api.example.org/v1
docker run -u 1000:1000 --env API_KEY --password-stdin app < file
kubectl get secret db -o jsonpath='{.data.password}'
"""


def clean() -> dict[str, str]:
    """Return all texts by name; payloads as JSON."""
    payloads = {
        f"{maker}: {what}": json.dumps(payload, ensure_ascii=False)
        for maker, of_maker in {
            "OpenAI": _OPENAI,
            "Anthropic": _ANTHROPIC,
            "MCP": _MCP,
            "agents": _AGENTS,
        }.items()
        for what, payload in of_maker.items()
    }
    texts = {
        "Python": _PYTHON,
        "JavaScript": _JAVASCRIPT,
        "YAML": _YAML,
        "prose": _PROSE,
        "shell": _SHELL,
    }
    sources = {f"source: {what}": text for what, text in texts.items()}
    quoted = {f"in JSON: {what}": json.dumps({"content": text}) for what, text in texts.items()}
    return payloads | sources | quoted
