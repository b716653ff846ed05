"""The report's style sheet: one column on a phone, several on a desk, light and dark.

The states' colours are told apart by who sees no red or no green, too, by lightness and blue.
"""

CSS = """
:root{--bg:#f6f7f9;--card:#fff;--ink:#1b1f24;--dim:#5b6570;--edge:#dfe3e8;
--c1:#2563c9;--c2:#d9730d;--c3:#2f9e62;--c4:#8a56c2;--good:#1fb8a0;--soon:#8fb4ff;--fair:#d9a40d;--bad:#cc3b33}
@media (prefers-color-scheme:dark){:root{--bg:#14171b;--card:#1d2127;--ink:#e8ebee;--dim:#9aa5b1;--edge:#323941;
--c1:#6ea3ff;--c2:#ffa24d;--c3:#57cf90;--c4:#bd93f0}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1120px;margin:0 auto;padding:16px 16px 64px}
h1{font-size:1.5rem;line-height:1.25;margin:.4rem 0 .2rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.2rem 0 .6rem;padding-top:.4rem}
h3{font-size:1rem;margin:1rem 0 .3rem}
p{margin:.4rem 0;max-width:72ch}
a{color:var(--c1)}
.dim{color:var(--dim)}
.banner{border-left:6px solid var(--fair);background:var(--card);padding:.6rem .9rem;margin:1rem 0;border-radius:6px}
.banner.bad{border-color:var(--bad)}
nav{display:flex;flex-wrap:wrap;gap:.2rem .9rem;margin:.8rem 0;font-size:.95rem}
nav a{padding:.3rem 0}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:1rem 0}
.card{background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:.7rem .8rem}
.card b{display:block;font-size:1.6rem;line-height:1.15;font-variant-numeric:tabular-nums}
.card span{font-weight:600;font-size:.92rem}
.card small{display:block;color:var(--dim);font-size:.82rem;line-height:1.35;margin-top:.15rem}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr));gap:14px}
figure{margin:0}
.chart{background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:.7rem .6rem .4rem}
.chart figcaption{font-weight:600;font-size:.95rem;padding:0 .3rem .2rem}
svg{display:block;width:100%;height:auto}
svg text{font-size:12px;fill:var(--dim);font-family:inherit}
.grid{stroke:var(--edge);stroke-width:1}.zero{stroke:var(--dim);stroke-width:1}
.c1{fill:var(--c1);background:var(--c1)}.c2{fill:var(--c2);background:var(--c2)}
.c3{fill:var(--c3);background:var(--c3)}.c4{fill:var(--c4);background:var(--c4)}
.line{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}
.line.c1{stroke:var(--c1)}.line.c2{stroke:var(--c2)}.line.c3{stroke:var(--c3)}.line.c4{stroke:var(--c4)}
.mark{fill:var(--bad);stroke:var(--card);stroke-width:1.5}
.calibrated{fill:var(--good);background:var(--good)}.degraded{fill:var(--fair);background:var(--fair)}
.calibrating{fill:var(--soon);background:var(--soon)}.uncalibrated{fill:var(--ink);background:var(--ink)}
.stale{fill:var(--bad);background:var(--bad)}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1rem;font-size:.85rem;color:var(--dim);padding:.1rem .3rem .2rem}
.legend i{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:.35rem;vertical-align:-1px}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--edge);border-radius:10px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.92rem}
th,td{padding:.4rem .7rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--edge)}
th:first-child,td:first-child{text-align:left}
tr:last-child td{border-bottom:0}
th{color:var(--dim);font-weight:600}
.strip{background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:.6rem;margin:12px 0}
.strip{scroll-margin-top:8px}
.strip:target{outline:3px solid var(--c1)}
.strip header{display:flex;flex-wrap:wrap;justify-content:space-between;gap:.1rem 1rem;padding:0 .2rem .4rem}
.strip header{font-size:.92rem}
.strip div{display:grid;grid-template-columns:repeat(4,1fr);gap:6px}
.strip img{width:100%;height:auto;display:block;border-radius:4px}
.strip figcaption{font-size:.8rem;color:var(--dim);text-align:center}
@media (max-width:640px){.strip div{grid-template-columns:repeat(2,1fr)}
main{padding:12px 10px 48px}.card b{font-size:1.4rem}
th,td{padding:.35rem .5rem;font-size:.85rem}}
ul{padding-left:1.2rem;margin:.4rem 0}li{margin:.25rem 0;overflow-wrap:anywhere}
details{background:var(--card);border:1px solid var(--edge);border-radius:10px;padding:.5rem .8rem;margin:.6rem 0}
summary{cursor:pointer;font-weight:600}
pre{overflow-x:auto;font-size:.82rem;line-height:1.4;margin:.5rem 0}
"""
