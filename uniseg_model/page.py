"""The frame of a page of HTML that needs nothing else: no font, picture or script from elsewhere.

The page's own policy forbids connections, and every script but the one it came with. The same content gives the same bytes.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from html import escape
from importlib import resources

from uniseg_model import DISCLAIMER, __version__


def html_page(title: str, body: str, style: str, script: str = "") -> str:
    """A page in light and dark. body: HTML, already escaped. style: rules beside those that all pages share.

    script: JavaScript that the page may run; without it none.
    """
    shared = resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    tag = f"<script>{script}</script>\n" if script else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">
<meta name="generator" content="UniSeg App {__version__}">
<title>{escape(title)}</title>
<style>
{shared}{style}</style>
</head>
<body>
<header><h1>{escape(title)}</h1><p class="disclaimer">{escape(DISCLAIMER)}</p></header>
<main>
{body}
</main>
<footer>Made with UniSeg App {__version__}. {escape(DISCLAIMER)}</footer>
{tag}</body>
</html>
"""


def _policy(script: str) -> str:
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    allowed = f"; script-src 'sha256-{digest}'" if script else ""
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data:{allowed}"


def terms(facts: Mapping[str, str]) -> str:
    """Terms and their meanings, for a description list."""
    return "".join(f"<dt>{escape(term)}</dt><dd>{escape(meaning)}</dd>" for term, meaning in facts.items())


def header_cells(names: Iterable[str]) -> str:
    """The heads of a table's columns."""
    return "".join(f'<th scope="col">{escape(name)}</th>' for name in names)


def scrolling(name: str, table: str) -> str:
    """A table that a keyboard can scroll where the page is narrow."""
    return f'<div class="scroll" role="region" aria-label="{escape(name)}" tabindex="0">{table}</div>'
