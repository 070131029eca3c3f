"""The words of the demonstration: agents, what they are asked, the tools they use."""

from __future__ import annotations

from typing import NamedTuple


class Tool(NamedTuple):
    """A tool: the typical time of a call, the share of calls that fail, and how they do."""

    name: str
    milliseconds: float
    failing: float = 0.01
    error: str = "TimeoutError: no answer within 30 s"


class Model(NamedTuple):
    """A model: its provider, dollars for a million tokens in and out; None if unknown."""

    name: str
    provider: str
    dollars_in: float | None
    dollars_out: float | None
    tokens_per_second: float


class Role(NamedTuple):
    """An agent: its name, its share of all runs, its models, tools and the tasks it gets."""

    agent_id: str
    name: str
    share: float
    models: tuple[str, ...]
    tools: tuple[Tool, ...]
    rounds: tuple[int, int]
    tasks: tuple[str, ...]


MODELS = {
    model.name: model
    for model in (
        Model("claude-sonnet-4.5", "anthropic", 3, 15, 70),
        Model("claude-haiku-4.5", "anthropic", 1, 5, 140),
        Model("gpt-5", "openai", 1.25, 10, 60),
        Model("gpt-5-mini", "openai", 0.25, 2, 120),
        Model("gemini-2.5-flash", "google", 0.3, 2.5, 200),
        Model("qwen3-32b", "local", None, None, 40),
    )
}

ROLES = (
    Role(
        "support-triage",
        "Support triage",
        0.34,
        ("claude-haiku-4.5", "gpt-5-mini", "claude-haiku-4.5", "claude-sonnet-4.5"),
        (
            Tool("zendesk.get_ticket", 180),
            Tool("kb_search", 320, 0.015, "IndexError: the knowledge base is being rebuilt"),
            Tool("zendesk.reply", 310, 0.05, "HTTPError: 422 the ticket was closed meanwhile"),
        ),
        (2, 4),
        (
            "I was charged twice for November. Can you check?",
            "My bank shows nothing yet. Send me a confirmation, please.",
            "And delete my card details.",
            "Cannot log in after the SSO change",
            "The export of my invoices stops at page two",
            "Как изменить адрес доставки?",
            "لماذا رُفضت بطاقتي مرتين؟",
            "請求書の宛名を変更したいのですが",
            "मेरा रिफंड कब आएगा?",
            "Ticket: <script>alert(1)</script> in my dashboard title",
        ),
    ),
    Role(
        "researcher",
        "Researcher",
        0.2,
        ("claude-sonnet-4.5", "gpt-5", "gemini-2.5-flash"),
        (
            Tool(
                "web_search", 900, 0.02, "RateLimitError: 429 Too Many Requests: retry after 20 s"
            ),
            Tool("fetch_page", 1400, 0.04, "HTTPError: 403 robots are not welcome here"),
            Tool("run_sql", 320, 0.05, 'OperationalError: relation "orders_2024" does not exist'),
        ),
        (3, 7),
        (
            "Compare three vector databases for 50 M documents",
            "Who maintains the tokio project, and how is it funded?",
            "Summarise this week's changes in the EU AI Act guidance",
            "東京の天気を要約し、旅行の服装を提案する",
            "Which of our suppliers publish a carbon report?",
            "Welche Fristen gelten für die E-Rechnung ab 2027?",
        ),
    ),
    Role(
        "coder",
        "Coder",
        0.16,
        ("claude-sonnet-4.5", "gpt-5", "gpt-5-mini", "qwen3-32b"),
        (
            Tool("read_file", 90),
            Tool("grep", 240),
            Tool("apply_patch", 300, 0.06, "PatchError: hunk 2 does not apply"),
            Tool("run_tests", 4200, 0.12, "AssertionError: 2 failed, 148 passed"),
        ),
        (4, 12),
        (
            "Write a property test for the cursor codec",
            "Fix the flaky test of the retry queue",
            "Rename `user` to `account` in the billing service",
            "Add an index so that the orders page loads within 200 ms",
            "Упростить разбор дат в отчётах",
        ),
    ),
    Role(
        "browser",
        "Browser",
        0.12,
        ("gemini-2.5-flash", "gpt-5-mini"),
        (
            Tool("goto", 1100, 0.03, "NavigationError: net::ERR_CONNECTION_RESET"),
            Tool("click", 250, 0.03, "ElementError: the button is covered by a dialog"),
            Tool("read_dom", 160),
            Tool("screenshot", 420),
        ),
        (3, 6),
        (
            "Check the checkout flow on staging",
            "Download last month's bank statement",
            "Find the cheapest train to Lyon on Friday",
        ),
    ),
    Role(
        "invoice-reader",
        "Invoice reader",
        0.12,
        ("gpt-5-mini", "gemini-2.5-flash"),
        (
            Tool("ocr", 1900, 0.03, "OcrError: the scan is rotated and too dark"),
            Tool("post_ledger", 210, 0.02, "ConflictError: the entry exists already"),
        ),
        (2, 3),
        (
            "Read invoice 2026-{n} from Nordwind GmbH",
            "Read invoice 2026-{n} (scan, rotated)",
            "Read the credit note {n} of Acme Corp.",
        ),
    ),
    Role(
        "planner",
        "Planner",
        0.06,
        ("gpt-5", "claude-sonnet-4.5"),
        (
            Tool("calendar.find", 260),
            Tool("calendar.book", 300, 0.06, "PermissionError: organizer lacks delegate access"),
        ),
        (2, 4),
        (
            "Book a room for eight on Friday at 14:00",
            "Plan the launch of the mobile app with research and a check of staging",
            "Réserver un vol pour Montréal et prévenir l'équipe",
        ),
    ),
)
BY_NAME = {role.agent_id: role for role in ROLES}

HELPERS = {"planner": ("researcher", "browser"), "coder": ("browser",), "researcher": ("browser",)}
"""The agents that an agent may start."""

TAGS = ("prod", "prod", "prod", "nightly", "eval", "customer:acme", "customer:nordwind")
USERS = ("amira", "ben", "chloé", "daichi", "elif", "farid")

ERRORS = (
    "RateLimitError: 429 Too Many Requests: retry after 20 s",
    "ContextWindowExceeded: 210,344 tokens, limit 200,000",
    "ApprovalTimeout: no answer within 30 s",
    "ValidationError: the answer is not the JSON that was asked for",
    "ToolError: run_sql did not answer within 30 s",
)

SENTENCES = (
    "The vendor page lists 50 M vectors at 768 dimensions as the upper limit of one node.",
    "The purchase order and the invoice differ by 18.40 EUR of freight.",
    "The refund was issued on 12 November and appears twice in the ledger.",
    "The checkout button is disabled until the postcode field loses focus.",
    "The guidance of 3 November supersedes the draft that was cited before.",
    "Two of the three sources give the same number; the third is older.",
    "Applying the patch changes four files; the tests for the cursor codec pass.",
    "No invoice number was found on page two, so the scan was rotated and read again.",
    "The customer asked for an export; the job is queued and takes about ten minutes.",
    "Screenshot taken after the dialog closed; the total is now 1,432.76 EUR.",
    "Le virement est parti le 3 novembre ; la banque l'affiche sous deux jours.",
    "Die Frist endet am 31. Dezember; danach gilt das neue Format.",
    "返金は11月12日に処理され、明細には3営業日で反映されます。",
    "Возврат проведён, письмо с подтверждением отправлено.",
    "تم إرسال التأكيد إلى العنوان المسجل في الحساب.",
)

ANSWERS = (
    "Yes: invoice **2026-{n}** was charged on 3 and on 5 November. The second charge was "
    "refunded on 12 November; banks take up to five working days to show it.",
    "Done. What changed:\n\n1. the cursor codec has a property test,\n2. `decode()` refuses "
    "cursors of other queries.\n\n```python\nassert decode(encode(cursor)) == cursor\n```",
    "| database | vectors in a node | licence |\n|---|---|---|\n| Alder | 50 M | Apache-2.0 |\n"
    "| Birch | 20 M | BSL |\n\nAlder fits; Birch would need three nodes.",
    "The confirmation is on its way to the address of your account, with reference `R-{n}`.",
    "I could not finish: the page asks for a second factor that I do not have.",
    "請求書の宛名を変更しました。次回の請求から反映されます。",
)


class Texts(NamedTuple):
    """The texts of runs: sentences of models and tools, final answers, the tasks of each agent."""

    sentences: tuple[str, ...]
    answers: tuple[str, ...]
    tasks: dict[str, tuple[str, ...]]


def texts(*, latin: bool) -> Texts:
    """Return all texts, or those in Latin script, which every machine has a font for."""

    def chosen(said: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(text for text in said if not latin or max(text) < "\u0250")

    tasks = {role.agent_id: chosen(role.tasks) for role in ROLES}
    return Texts(chosen(SENTENCES), chosen(ANSWERS), tasks)
