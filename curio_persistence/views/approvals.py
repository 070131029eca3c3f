"""An approval in words."""

from __future__ import annotations

from curio_persistence.models import Approval, ApprovalStatus


def said_of_approval(approval: Approval) -> str:
    """Return an approval on one line: `delete denied by ada (a1b2c3d4e5f60718): Too risky.`"""
    by = f" by {approval.resolved_by}" if approval.resolved_by else ""
    until = ""
    if approval.status == ApprovalStatus.PENDING and approval.expires_at is not None:
        until = f" until {approval.expires_at:%Y-%m-%d %H:%M} UTC"
    reason = f": {approval.reason}" if approval.reason else ""
    return f"{approval.tool} {approval.status}{by}{until} ({approval.ticket_id}){reason}"
