"""The parts of a page: its style sheet, its one script, and the pieces of markup with text escaped."""

import html

STYLE = """
:root { color-scheme: light dark; --ink: #222; --faint: #666; --paper: #fff; --card: #f7f7f5; --rule: #e2e2de;
  --good: #00704f; --bad: #b34700; --open: #5b5b5b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e6e6; --faint: #a5a5a5; --paper: #161719; --card: #202225;
  --rule: #34373b; --good: #009e73; --bad: #d55e00; --open: #8a8a8a; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 1rem; }
body { margin: 0; background: var(--paper); color: var(--ink); display: grid; justify-content: center;
  grid-template-columns: 13rem minmax(0, 68rem); gap: 2.5rem; padding: 0 1.5rem;
  font: 16px/1.6 system-ui, "Segoe UI", "Helvetica Neue", Arial, "Liberation Sans", sans-serif; }
nav { position: sticky; top: 0; align-self: start; max-height: 100vh; overflow: auto; padding: 2.6rem 0 1rem;
  font-size: .86rem; display: flex; flex-direction: column; gap: .45rem; }
nav a { color: var(--faint); text-decoration: none; } nav a:hover { color: var(--ink); text-decoration: underline; }
main { padding: 2rem 0 5rem; min-width: 0; }
h1 { font-size: 1.9rem; line-height: 1.25; margin: 0 0 .6rem; } h2 { font-size: 1.3rem; margin: 3rem 0 .8rem; }
h3 { font-size: 1rem; margin: 0 0 .3rem; } p { max-width: 46rem; margin: .5rem 0; }
.lead { font-size: 1.18rem; }
.claim { border-left: 3px solid var(--rule); padding: .1rem 0 .1rem 1rem; margin: 1.1rem 0; }
.claim p { margin: .15rem 0; font-size: .94rem; }
.badge { display: inline-block; color: #fff; border-radius: 1rem; padding: 0 .65rem; font-size: .78rem;
  font-weight: 600; margin-right: .4rem; line-height: 1.5rem; vertical-align: 1px; }
.good { background: var(--good); } .bad { background: var(--bad); } .open { background: var(--open); }
figure { margin: 0; background: #fff; border: 1px solid var(--rule); border-radius: 8px; overflow: hidden; }
figure > div { overflow-x: auto; }
figcaption { background: var(--card); padding: .8rem 1.2rem; font-size: .86rem; color: var(--ink); line-height: 1.5; }
figcaption span { color: var(--faint); display: block; margin-top: .3rem; }
code, pre { font: .84rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; }
pre { background: var(--card); padding: 1rem; overflow: auto; max-height: 30rem; border-radius: 6px; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .86rem; line-height: 1.45; font-variant-numeric: tabular-nums; }
th { text-align: left; color: var(--faint); font-weight: 600; }
th, td { padding: .35rem .9rem .35rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
.examples td { min-width: 7rem; max-width: 19rem; overflow-wrap: anywhere; }
.verdict { display: block; color: var(--faint); font-size: .78rem; }
.picture { display: block; border: 0; padding: 0; background: none; cursor: pointer; overflow: hidden;
  border-radius: 4px; }
.picture img { width: 96px; display: block; filter: blur(9px); } .picture.clear img { filter: none; }
.problem { border: 1px solid var(--bad); border-radius: 6px; padding: .6rem 1rem; }
summary { cursor: pointer; margin: .5rem 0; }
@media (max-width: 64rem) { body { grid-template-columns: minmax(0, 1fr); gap: 0; }
  nav { position: static; max-height: none; flex-flow: row wrap; padding: 1rem 0 0; gap: .2rem .9rem; } }
@media print { nav { display: none; } body { display: block; } figure { break-inside: avoid; } }
"""

SWITCH = """
for (const picture of document.querySelectorAll(".picture"))
  picture.addEventListener("click", () => picture.classList.toggle("clear"));
"""

BADGES = {"holds": "good", "does not hold": "bad", "unclear": "open"}


def escaped(text: object) -> str:
    """Text that can never be markup, in an element or in a quoted attribute."""
    return html.escape(str(text))


def badge(verdict: str) -> str:
    """A verdict in its colour."""
    return f'<span class="badge {BADGES.get(verdict, "open")}">{escaped(verdict)}</span>'


def section(name: str, heading: str, content: str) -> str:
    """A part of the page that the table of contents leads to."""
    return f'<section id="{escaped(name)}"><h2>{escaped(heading)}</h2>{content}</section>'
