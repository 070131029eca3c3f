"""Recorded values as Markup. Together with `views.html`, the only place where Markup is made."""
