"""What `primedht doctor` shows a person. Machines take `--json`."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from primedht.findings import SEVERITIES, Finding, Severity

# In words, not by colour alone: colour may be off, or not seen.
_LABELS: dict[Severity, tuple[str, str]] = {
    "ok": ("ok", "green"),
    "note": ("note", "cyan"),
    "warning": ("warning", "yellow"),
    "error": ("ERROR", "bold red"),
}


def doctor_view(findings: list[Finding]) -> Table:
    """Return the findings as rows: how bad, of what, what was found and what to do; then their number."""
    view = Table.grid(padding=(0, 2))
    view.add_column(no_wrap=True)
    view.add_column(no_wrap=True)
    view.add_column(overflow="fold")
    for each in findings:
        label, style = _LABELS[each.severity]
        view.add_row(Text(label, style=style), Text(each.check, style="bold"), _text(each))
    view.add_row()
    view.add_row("", "", _summary(findings))
    return view


def _text(finding: Finding) -> Text:
    shown = Text(finding.text)
    if finding.code != "ok":
        shown.append(f" [{finding.code}]", style="dim")
    if finding.advice:
        shown.append(f"\n-> {finding.advice}", style="italic")
    return shown


def _summary(findings: list[Finding]) -> Text:
    counts = {severity: sum(each.severity == severity for each in findings) for severity in SEVERITIES}
    bad = [
        f"{count} {severity}{'s' if count > 1 else ''}"
        for severity, count in reversed(counts.items())
        if count and severity != "ok"
    ]
    if not bad:
        return Text("nothing to mend", style="green")
    return Text(f"{', '.join(bad)}; docs/troubleshooting.md has more on each [code]")
