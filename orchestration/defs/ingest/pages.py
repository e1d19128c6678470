"""The pages of what was judged, readable without a network: Great Expectations' own draw on six public hosts, and its
index is empty without them."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from urllib.parse import quote

ELSEWHERE = re.compile(r"<script\b[^>]*\bhttps?://[^>]*>\s*</script>|<(?:link|img)\b[^>]*\bhttps?://[^>]*>", re.I)
PICTURE_ELSEWHERE = re.compile(r"url\(\s*['\"]?https?://[^)]*\)", re.I)
STYLE = """<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1c2430 }
table { border-collapse: collapse; margin: .5rem 0 1.5rem } th, td { text-align: left; padding: .3rem .8rem .3rem 0;
border-bottom: 1px solid #d9dee5; vertical-align: top } th { font-weight: 600 } a { color: #0b5cad }
.kept { color: #1b7a3d } .broken { color: #b3261e; font-weight: 600 }
nav, .navbar, footer, .modal, .card:has(> .card-header), .collapse { display: none }
.fa-check-circle::before { content: "\\2713"; color: #1b7a3d } .fa-times::before { content: "\\2717"; color: #b3261e }
@media (prefers-color-scheme: dark) { body { background: #14181f; color: #e4e8ee } a { color: #7db7f5 }
th, td { border-color: #39424f } .kept { color: #6fce90 } .broken { color: #ff8a80 } }
</style>"""


def settle(page: Path) -> None:
    """Makes a page, or a style sheet, ask nobody else for anything."""
    text = page.read_text()
    own = PICTURE_ELSEWHERE.sub("none", ELSEWHERE.sub("", text))
    if page.suffix == ".html" and STYLE not in own:
        own = own.replace("</head>", f"{STYLE}</head>", 1)
    if own != text:
        page.write_text(own)


def write_index(docs: Path, results: Path) -> Path:
    """index.html: every judging that is kept, newest first, of the pages below `docs` and their results below
    `results`."""
    judged = []
    for page in (docs / "validations").glob("*/*/*/*.html"):
        table, run, at, _ = page.relative_to(docs / "validations").parts
        found = results / table / run / at / f"{page.stem}.json"
        if found.exists():
            judged.append((at, table, run, page, json.loads(found.read_text())))
    rows = "".join(_row(docs, *one) for one in sorted(judged, key=lambda one: (one[0], one[1]), reverse=True))
    index = docs / "index.html"
    index.write_text(
        f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>What was judged at the boundary</title>
{STYLE}</head><body><h1>What was judged at the boundary</h1>
<p>Rows that arrived in the warehouse, by table, against its contract. Newest first; times are UTC.</p>
<table><tr><th>when</th><th>table</th><th>rows</th><th>verdict</th><th>expectations kept</th></tr>{rows}</table>
</body></html>
"""
    )
    return index


def _row(docs: Path, at: str, table: str, run: str, page: Path, result: dict[str, object]) -> str:
    outcomes = [one for one in _list(result.get("results")) if isinstance(one, dict)]
    kept = sum(1 for one in outcomes if one.get("success"))
    counts = [one.get("result", {}).get("element_count") for one in outcomes]
    rows = max((count for count in counts if isinstance(count, int)), default=0)
    when = f"{at[:4]}-{at[4:6]}-{at[6:8]} {at[9:11]}:{at[11:13]}:{at[13:15]}"
    verdict = '<span class="kept">kept</span>' if result.get("success") else '<span class="broken">broken</span>'
    link = quote(page.relative_to(docs).as_posix())
    name = html.escape(f"{table}, {run}")
    return (
        f'<tr><td>{when}</td><td><a href="{link}">{name}</a></td><td>{rows:,}</td><td>{verdict}</td>'
        f"<td>{kept} of {len(outcomes)}</td></tr>\n"
    )


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
