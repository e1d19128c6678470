"""The few pages that are the product's own: the login, and what is said instead of a page."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from aiohttp import hdrs, web

from orchestration.pages.operator import USER

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self';"
    " frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:24rem;margin:15vh auto;padding:0 1rem}}
input,button{{font:inherit;width:100%;box-sizing:border-box;padding:.5rem;margin:.25rem 0 1rem}}
.wrong{{color:#b00020}}</style>
<h1>{title}</h1>
{content}
</html>
"""
LOGIN = """{note}<form method="post" action="/-/login">
<label>User<input name="username" value="{user}" readonly autocomplete="username"></label>
<label>Password<input name="password" type="password" autofocus required autocomplete="current-password"></label>
<input type="hidden" name="next" value="{target}"><button>Log in</button></form>
<p>The operator's password was shown when the product was first started.
<code>rapport password</code> makes a new one.</p>
"""


def login(site: str, target: str, *, wrong: bool = False) -> web.Response:
    note = '<p class="wrong" role="alert">The password is wrong.</p>\n' if wrong else ""
    content = LOGIN.format(note=note, user=USER, target=escape(local(target), quote=True))
    return _page(f"Log in to {site}", content, status=403 if wrong else 200)


def not_logged_in(target: str, in_a_browser: bool) -> web.Response:
    if in_a_browser:
        return web.Response(status=303, headers={hdrs.LOCATION: f"/-/login?next={quote(local(target))}"})
    return web.json_response(
        {"title": "Log in first", "status": 401, "detail": f"HTTP Basic, user {USER}, or the login page /-/login"},
        status=401,
        content_type="application/problem+json",
    )


def refused(path: str, why: str) -> web.Response:
    """403 with a link by which a person who followed one from elsewhere goes on."""
    link = escape(quote(local(path)), quote=True)
    return _page("Refused", f'<p>{escape(why.capitalize())}.</p><p><a href="{link}">Open the page</a></p>', status=403)


def away(site: str) -> web.Response:
    return _page("Not there", f"<p>{escape(site)} does not answer; see <code>rapport status</code>.</p>", status=502)


def local(target: str) -> str:
    """The target if it is a path of this site, else the start page."""
    plain = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if plain and target.isprintable() else "/"


def _page(title: str, content: str, status: int) -> web.Response:
    text = PAGE.format(title=escape(title), content=content)
    return web.Response(status=status, text=text, content_type="text/html", headers=HEADERS)
