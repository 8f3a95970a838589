"""What colours and spaces a report has as HTML, and that they reach nothing around it."""

from __future__ import annotations

#: Class of the element that holds a report; every rule of the style sheet is confined to it.
SCOPE = "topograph"

_LIGHT = (
    "--ink:#1c2430;--soft:#556170;--line:#d6dce3;--paper:#fff;--tile:#f4f6f9;"
    "--core:#1f5f9e;--live:#a9c8e6;--end:#8d98a5;--edge:#4f7fae;--skip:#8a63b0;--mark:#a84614;"
    "--gone:#c0392b"
)
_DARK = (
    "--ink:#e4e9ef;--soft:#a3afbc;--line:#37414d;--paper:#12171d;--tile:#1b222a;"
    "--core:#79b4ec;--live:#2f5577;--end:#77838f;--edge:#5b8fc2;--skip:#b493d6;--mark:#f0955a;"
    "--gone:#ff8a7a"
)

#: Selectors inside the scope, and their declarations; "" is the scope's own element.
_RULES = """
""{color:var(--ink);background:var(--paper);font:14px/1.5 system-ui,sans-serif;max-width:1180px;
margin:0 auto;padding:20px;text-align:left}
h1{font-size:22px;font-weight:700;margin:0;overflow-wrap:anywhere;color:inherit}
h2{font-size:16px;font-weight:700;margin:28px 0 8px;color:inherit}
h3{font-size:14px;font-weight:700;margin:18px 0 4px;color:inherit}
p,ul,dl{margin:6px 0}
ul{padding-left:20px;list-style:disc}
li,p,summary,figcaption{overflow-wrap:anywhere}
.soft,figcaption,.rule{color:var(--soft)}
figcaption,.rule{font-size:12.5px}
.rule{display:block}
.says li{margin-bottom:5px}
figure{margin:0;width:auto;text-align:left}
figcaption{margin:4px 0;max-width:none;font-style:normal}
.coverage{border-left:4px solid var(--core);background:var(--tile);padding:8px 14px;margin:12px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(230px,1fr));gap:8px;
margin:16px 0}
.tiles div{background:var(--tile);border-radius:6px;padding:8px 12px;display:flex;
flex-direction:column-reverse;justify-content:flex-end}
.tiles dt,.tiles dd{float:none;width:auto;margin:0;padding:0}
.tiles dd{font-size:20px;font-weight:600}
.tiles dt{color:var(--soft);font-size:12.5px;font-weight:400}
.tiles small{font-size:12.5px;font-weight:400;color:var(--soft)}
svg{display:block;max-width:100%;height:auto;font:11px system-ui,sans-serif}
.wide{overflow-x:auto;position:relative}
.wide:focus-visible,summary:focus-visible{outline:2px solid var(--core);outline-offset:2px}
.wide svg{max-width:none;margin:0 auto}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,270px),1fr));gap:14px}
.charts svg{width:100%;max-width:430px}
svg text{fill:var(--ink);font-family:system-ui,sans-serif}
svg .tick,svg .label{fill:var(--soft)}
.dead{fill:none;stroke:var(--gone);stroke-dasharray:2 2}
.live{fill:var(--live)}
.end{fill:var(--end)}
.core,.dot,.column{fill:var(--core)}
.edge,.skip{fill:none;stroke:var(--edge);opacity:.7}
.skip{stroke:var(--skip)}
.none{stroke-dasharray:3 3}
.mark{fill:var(--mark)}
.hint{fill:none;stroke:var(--mark)}
.gone{fill:var(--gone)}
.alone{fill:none;stroke:var(--ink)}
svg .note{fill:var(--mark);paint-order:stroke;stroke:var(--paper);stroke-width:3px}
.axis{fill:none;stroke:var(--soft)}
.curve{fill:none;stroke:var(--core);stroke-width:2}
.law{fill:none;stroke:var(--mark);stroke-width:1.5;stroke-dasharray:6 3}
.flat,.guide{fill:none;stroke:var(--soft);stroke-dasharray:3 3;opacity:.7}
.key{display:inline-block;width:22px;height:10px;vertical-align:-1px}
.legend{display:flex;flex-wrap:wrap;gap:2px 18px;padding:0;margin:6px 0;list-style:none;
font-size:12.5px;color:var(--soft)}
.legend svg{display:inline-block;vertical-align:-2px;margin-right:5px}
table{display:table;border-collapse:collapse;border:0;font-size:12.5px;width:100%;margin:0;
font-variant-numeric:tabular-nums;table-layout:auto}
caption{text-align:left;color:var(--soft);background:none;padding:0 0 6px;white-space:normal;
caption-side:top}
th,td{padding:3px 6px;text-align:right;border:0;border-bottom:1px solid var(--line);
white-space:nowrap;background:var(--paper);color:inherit;font-size:inherit;vertical-align:middle;
max-width:none}
thead th{font-weight:600;color:var(--soft);vertical-align:bottom;white-space:normal;
min-width:44px}
tbody th{font-weight:400}
th[scope=row],thead th:first-child{text-align:left;position:sticky;left:0}
th.long{white-space:normal;overflow-wrap:anywhere;min-width:220px}
.facts td{text-align:left;white-space:normal;overflow-wrap:anywhere}
.facts th[scope=row]{white-space:nowrap;min-width:0;width:1%;padding-right:14px;position:static}
.bar{display:inline-block;width:36px;height:8px;border-radius:2px;margin-left:6px;
background:linear-gradient(var(--core),var(--core)) 0/var(--part) 100% no-repeat var(--live)}
.spark{width:76px;height:19px;display:inline-block}
.spark polygon{fill:var(--live);stroke:var(--core)}
.low{color:var(--mark);font-weight:600}
details{margin:8px 0}
summary{cursor:pointer;color:var(--soft)}
details details{margin:3px 0 3px 16px}
.strips{display:flex;flex-wrap:wrap;gap:4px 18px;margin:4px 0 10px}
.strips figure{width:min(100%,400px)}
.strips svg{width:100%;height:44px}
dfn{font-style:normal;font-weight:600}
code{font:12.5px ui-monospace,monospace;overflow-wrap:anywhere;background:none;color:inherit;
padding:0}
"""

# Marked three times, the class outweighs what notebooks and sites say of tables and lists.
_IN = f".{SCOPE}" * 3
_PRINT = (
    f"@media print{{{_IN}{{{_LIGHT};max-width:none;padding:0;font-size:10pt}}"
    f"{_IN} .wide{{overflow:visible}}{_IN} .wide svg{{max-width:100%}}"
    f"{_IN} table{{font-size:7.5pt}}{_IN} th[scope=row]{{position:static}}"
    f"{_IN} th,{_IN} td{{padding:2px 3px}}"
    f"{_IN} .tiles div,{_IN} .coverage,{_IN} .bar,{_IN} svg{{print-color-adjust:exact}}"
    f"{_IN} tr,{_IN} figure,{_IN} li{{break-inside:avoid}}{_IN} h2{{break-after:avoid}}"
    f"{_IN} .strips,{_IN} .screen{{display:none}}"
    f"{_IN} .paper::details-content{{content-visibility:visible;display:block}}}}"
)


_NARROW = (
    f"@media(max-width:640px){{{_IN}{{padding:12px}}{_IN} .tiles{{grid-template-columns:1fr 1fr}}"
    f"{_IN} th[scope=row],{_IN} thead th:first-child{{white-space:normal;overflow-wrap:anywhere;"
    f"min-width:100px;max-width:130px}}}}"
)


def style() -> str:
    """Return the style sheet as an element; nothing in it reaches beyond the report.

    Light and dark go with the system, or with the theme of JupyterLab, VS Code or mkdocs-material
    where one is set.
    """
    light = (
        f'body[data-jp-theme-light="true"] {_IN},body.vscode-light {_IN},'
        f'body[data-md-color-scheme="default"] {_IN}'
    )
    dark = (
        f'body[data-jp-theme-light="false"] {_IN},body.vscode-dark {_IN},'
        f"body.vscode-high-contrast:not(.vscode-high-contrast-light) {_IN},"
        f'body[data-md-color-scheme="slate"] {_IN}'
    )
    rules = "".join(map(_scoped, _RULES.replace("\n", "").split("}")[:-1]))
    return (
        f"<style>{_IN}{{{_LIGHT};color-scheme:light dark}}"
        f"@media(prefers-color-scheme:dark){{{_IN}{{{_DARK}}}}}"
        f"{light}{{{_LIGHT}}}{dark}{{{_DARK}}}{rules}{_NARROW}{_PRINT}</style>"
    )


def document(title: str, body: str) -> str:
    """Return a complete HTML document of a title (escaped) and a report's element."""
    background = f"body{{margin:0;background:{_value(_LIGHT, 'paper')}}}"
    dark = f"body{{background:{_value(_DARK, 'paper')}}}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        f"<title>{title}</title><style>{background}@media screen and (prefers-color-scheme:dark)"
        f"{{{dark}}}</style></head><body><main>{body}</main></body></html>\n"
    )


def _scoped(rule: str) -> str:
    selectors, _, declarations = rule.partition("{")
    confined = ",".join(
        _IN if selector == '""' else f"{_IN} {selector}" for selector in selectors.split(",")
    )
    return f"{confined}{{{declarations}}}"


def _value(palette: str, name: str) -> str:
    return next(v for k, v in (p.split(":") for p in palette.split(";")) if k == f"--{name}")
