"""Looks and behaviour of the page: its style sheet, and the few lines of script that filter the gallery."""

STYLE = """
:root{color-scheme:light dark;--ground:#f6f7f8;--card:#fff;--ink:#1b1f24;--quiet:#57606a;--line:#d5dae0;--link:#0b5cad;
--right:#1a7f4b;--wrong:#b3261e;--s0:#0b62c4;--s1:#c2570c;--s2:#2f7d32;--s3:#8e3fb0;--s4:#a3123f;--s5:#5f6b7a}
@media (prefers-color-scheme:dark){:root{--ground:#12151a;--card:#1b2027;--ink:#e6e9ee;--quiet:#9aa5b1;--line:#323a45;
--link:#7ab8ff;--right:#5fd39a;--wrong:#ff8a80;--s0:#6cb2ff;--s1:#ffa45c;--s2:#7fd483;--s3:#d59bf0;--s4:#ff7f9f;--s5:#a9b4c0}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:1rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
.wrap{max-width:76rem;margin:0 auto;padding:1.5rem clamp(1rem,4vw,2.5rem)}
h1{font-size:clamp(1.5rem,4vw,2.1rem);line-height:1.2;margin:.2em 0}
h2{font-size:1.25rem;margin:2.4rem 0 .6rem;padding-top:.4rem;border-top:1px solid var(--line)}
p{max-width:46rem;margin:.4rem 0 .9rem}.quiet,figcaption{color:var(--quiet)}
a{color:var(--link)}:focus-visible{outline:3px solid var(--link);outline-offset:2px}
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem;top:.5rem;background:var(--card);padding:.4rem .8rem}
nav ul{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;list-style:none;margin:.6rem 0;padding:0}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:.6rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
th,td{padding:.5rem .9rem;text-align:right;border-top:1px solid var(--line);white-space:nowrap}
thead th{border-top:0;color:var(--quiet);font-weight:600}tbody th{font-weight:600}
th:first-child{text-align:left}
.grid{display:grid;gap:1rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,34rem),1fr));list-style:none;margin:0;padding:0}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:.6rem;overflow:hidden}
figure img{display:block;width:100%;height:auto;background:#fff}
figcaption{padding:.55rem .8rem;font-size:.92rem;overflow-wrap:anywhere}
.verdict{font-weight:600}.right .verdict{color:var(--right)}.wrong .verdict{color:var(--wrong)}
.filter{display:flex;flex-wrap:wrap;gap:.6rem 1.4rem;align-items:center;border:0;padding:0;margin:0 0 1rem}
.filter label{display:inline-flex;gap:.4rem;align-items:center}
select{font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);border-radius:.4rem;padding:.25rem .5rem}
[hidden]{display:none!important}
dl{display:grid;grid-template-columns:minmax(8rem,max-content) 1fr;gap:.25rem 1.4rem;margin:0}
dt{color:var(--quiet)}dd{margin:0;font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.9rem;overflow-wrap:anywhere}
.chart .scroll{border:0;border-radius:0;padding:.6rem}svg{display:block}
.chart.wide{grid-column:1/-1}.chart:not(.wide) svg{max-width:100%;min-width:20rem;height:auto}
.gallery .grid{grid-template-columns:1fr}
svg text{fill:var(--quiet);font:11px system-ui,sans-serif}svg .end{text-anchor:end}svg .middle{text-anchor:middle}
svg .rule{stroke:var(--line);fill:none}svg .part{stroke:var(--wrong);fill:none}svg .ground{fill:none;stroke:var(--line)}
svg .cell{fill:var(--s0)}svg .line{fill:none;stroke-width:2}svg .mark{stroke:var(--card);stroke-width:1.5}
.s0{--c:var(--s0)}.s1{--c:var(--s1)}.s2{--c:var(--s2)}.s3{--c:var(--s3)}.s4{--c:var(--s4)}.s5{--c:var(--s5)}
svg .line{stroke:var(--c)}svg .bar,svg .mark{fill:var(--c)}
@media (max-width:40rem){dl{grid-template-columns:1fr}dd{margin-bottom:.5rem}}
@media print{.filter,nav{display:none}figure{break-inside:avoid}}
"""

# Without script the whole gallery is shown and the filter stays hidden.
SCRIPT = """
for (const gallery of document.querySelectorAll(".gallery")) {
  const filter = gallery.querySelector(".filter"), count = gallery.querySelector("output");
  const items = [...gallery.querySelectorAll("[data-class]")];
  const apply = () => {
    const wanted = filter.querySelector("select").value, verdict = filter.querySelector("input:checked").value;
    for (const item of items)
      item.hidden = (wanted && item.dataset.class !== wanted) || (verdict && !item.classList.contains(verdict));
    count.textContent = items.filter(item => !item.hidden).length + " of " + items.length + " pictures";
  };
  filter.hidden = false;
  filter.addEventListener("change", apply);
  apply();
}
"""
