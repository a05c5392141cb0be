"""The style sheet of all reports, for light and dark mode, screen and paper. It loads no fonts or pictures.

The six series colours can be distinguished with any colour vision. Their contrast with both backgrounds is 3:1 or more.
"""

LIGHT = """--paper:#f6f7f9;--card:#fff;--ink:#141c2b;--soft:#586274;--line:#e3e6eb;--grid:#eceef2;--accent:#0a6ab8;
--good:#0a7d5c;--c0:#0a6ab8;--c1:#d4570a;--c2:#15a06f;--c3:#741562;--c4:#615023;--c5:#340895;
--heat:10,106,184;--wrong:200,80,30;--guess-right:rgba(10,106,184,.15);--guess-wrong:rgba(116,21,98,.17);
--shadow:0 1px 2px rgba(20,28,43,.05),0 4px 14px rgba(20,28,43,.04)"""
DARK = """--paper:#0d1117;--card:#161b24;--ink:#e7ebf2;--soft:#9aa6b8;--line:#283040;--grid:#222937;--accent:#5cb3f5;
--good:#4ccba2;--c0:#5cb3f5;--c1:#ff9a4d;--c2:#b8efde;--c3:#f518af;--c4:#d8ce94;--c5:#8d4edd;
--heat:92,179,245;--wrong:255,142,102;--guess-right:rgba(92,179,245,.22);--guess-wrong:rgba(245,24,175,.3);
--shadow:none"""

_COLOURS = "".join(f".c{number}{{--c:var(--c{number})}}" for number in range(6))

_SHEET = """
*{box-sizing:border-box}
html{color-scheme:light dark;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);font-size:15px;line-height:1.55;
font-family:ui-sans-serif,Inter,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",Arial,
"PingFang SC","Microsoft YaHei","Noto Sans CJK SC",system-ui,sans-serif;
border-top:4px solid var(--accent)}
main{max-width:1160px;margin:0 auto;padding:36px 28px 56px}
header{display:flex;flex-wrap:wrap;align-items:end;justify-content:space-between;gap:8px 32px;margin-bottom:24px}
.kind{margin:0;color:var(--accent);font-weight:600;font-size:14px}
h1{font-size:32px;line-height:1.15;letter-spacing:-.025em;margin:4px 0 0;overflow-wrap:anywhere;font-weight:700}
nav{display:flex;flex-wrap:wrap;gap:4px 18px;font-size:14px}
nav a{color:var(--soft);text-decoration:none}nav a:hover,nav a:focus{color:var(--accent);text-decoration:underline}
section{margin-top:44px}
h2{font-size:20px;margin:0 0 4px;letter-spacing:-.015em;font-weight:650}
h3{font-size:12px;font-weight:500;margin:0 0 4px;color:var(--soft)}
.remark{margin:0;color:var(--soft);max-width:104ch}
.card,.chart,.panel,.cloze,.passage{background:var(--card);
border:1px solid var(--line);border-radius:12px;box-shadow:var(--shadow)}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(165px,1fr));gap:12px}
.card{padding:13px 14px 11px;display:grid;grid-row:span 3;grid-template-rows:subgrid;row-gap:0}
.card h3{margin:0;font-size:12.5px;line-height:1.35}
.card b{display:block;font-size:27px;line-height:1.25;letter-spacing:-.025em;font-weight:680;overflow-wrap:anywhere}
.card small{display:block;font-size:13px;color:var(--soft);min-height:1.5em}
.facts{display:flex;flex-wrap:wrap;gap:4px 26px;margin:14px 2px 0;font-size:14px}.facts div{display:flex;gap:7px}
dt{color:var(--soft)}dd{margin:0;font-weight:550;overflow-wrap:anywhere}
b,dd,td,small,.tick,.name{font-variant-numeric:tabular-nums}
.charts{display:grid;grid-template-columns:repeat(6,minmax(0,1fr));gap:14px}
.chart{margin:0;padding:14px 14px 10px}.chart.large{grid-column:span 3}.chart.small{grid-column:span 2}
.chart svg{display:block;width:100%;height:auto;overflow:visible}.chart figcaption+svg{margin-top:6px}
figcaption{font-weight:600;font-size:15px;display:flex;flex-wrap:wrap;gap:0 16px;
justify-content:space-between;padding:0 2px}
.small figcaption{font-size:14px}.wide{overflow-x:auto}.wide svg{min-width:760px}
.legend{display:flex;flex-wrap:wrap;gap:0 14px;color:var(--soft);font-weight:400;font-size:13px}
.small .legend{font-size:12.5px}
.legend span{white-space:nowrap}.legend b{color:var(--ink);font-weight:600}
.swatch{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:5px;background:var(--c)}
.grid{stroke:var(--grid);fill:none}.base{stroke:var(--line);fill:none;stroke-width:1.2}
.mark{stroke:var(--soft);stroke-width:1;stroke-dasharray:5 4;fill:none}
.label{paint-order:stroke;stroke:var(--card);stroke-width:3px;stroke-linejoin:round}.tick{fill:var(--soft);font-size:11px}.name{fill:var(--ink);font-size:14px}.strong{font-weight:620}
.end{text-anchor:end}.mid{text-anchor:middle}
.line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.raw{fill:none;stroke:var(--c);stroke-width:1;opacity:.28;stroke-linejoin:round}
circle{fill:var(--c);stroke:var(--card);stroke-width:1.2}
.band rect{fill:transparent}.band .guide{stroke:var(--soft);stroke-width:1;stroke-dasharray:3 3;fill:none}
.band .guide,.band circle{opacity:0;pointer-events:none}.band:hover .guide,.band:hover circle{opacity:1}
.bar{fill:var(--c);opacity:.75}.spread{fill:var(--c);opacity:.25}.whisker{stroke:var(--ink);stroke-width:2;fill:none}
.panel{padding:4px 6px;overflow:hidden}.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{padding:9px 12px;text-align:start;vertical-align:top;border-bottom:1px solid var(--grid)}
tbody tr:last-child>*{border-bottom:0}th{color:var(--soft);font-weight:500;font-size:13px}
.number{text-align:end;white-space:nowrap}
.said{display:block;overflow-wrap:anywhere;min-width:220px}
.chip{display:inline-block;padding:0 9px;border-radius:7px;background:rgba(var(--heat),.11);font-weight:550;
overflow-wrap:break-word}.chip.wrong{background:rgba(var(--wrong),.14)}
.meter{display:flex;align-items:center;gap:9px;white-space:nowrap;min-width:130px}
.meter i{flex:1;height:8px;border-radius:4px;background:var(--grid);overflow:hidden}
.meter i i{display:block;height:100%;border-radius:4px;background:var(--c0)}
.pair{display:flex;flex-wrap:wrap;gap:14px;align-items:start}.pair>*{max-width:100%}.pair>*+*{flex:1 1 460px}
.heat th,.heat td{border:3px solid var(--card);text-align:center;vertical-align:middle}
.heat{width:auto;min-width:min(100%,260px)}
.heat th{max-width:150px;overflow-wrap:break-word}.heat tbody th{text-align:end}
.heat td{min-width:88px;padding:12px 14px;border-radius:9px;font-size:16px;
font-weight:600;background:rgba(var(--heat),calc(.05 + var(--share)*.5))}
.heat td.wrong{background:rgba(var(--wrong),calc(.04 + var(--share)*.55));font-weight:450}
.heat.narrow td{min-width:46px;padding:6px 4px;font-size:13px}
.heat.narrow small{font-size:10.5px}.heat.narrow th{max-width:none}.heat.narrow tbody th{padding:4px 8px}
.heat.narrow thead th:not(.corner){writing-mode:vertical-rl;transform:rotate(180deg);text-align:start;padding:8px 4px}
.heat small{display:block;font-size:12px;font-weight:400}.corner{font-weight:400}
.pair>.chart{flex:0 1 560px}.pair>.chart+*{flex:1 1 300px}.square{max-width:600px}
.chip i{font-weight:400;color:var(--soft)}
.ideal{stroke:var(--soft);stroke-width:1.3;stroke-dasharray:5 4;fill:none}
.gap{stroke:var(--c1);stroke-width:2.5;fill:none}
.dots circle{fill-opacity:.45;stroke:none}
.key{margin:0 2px;display:flex;flex-wrap:wrap;gap:2px 8px;font-size:13.5px;color:var(--soft)}
.passages{display:grid;gap:12px;margin-top:12px}.passage{padding:14px 18px}
.passage p{margin:0;overflow-wrap:anywhere;line-height:1.85}.passage .verdict{margin-top:8px;line-height:1.5}
.question{font-size:15px;font-weight:620;color:var(--ink);margin:0 0 6px;overflow-wrap:anywhere}
.verdict{display:flex;flex-wrap:wrap;align-items:center;gap:6px 20px;font-size:13.5px;color:var(--soft)}
.verdict .chip{color:var(--ink)}.verdict .meter{max-width:190px;flex:1}
.found{padding:2px 1px;border-radius:3px;color:var(--ink);border-bottom:2.5px solid transparent;
box-decoration-break:clone;-webkit-box-decoration-break:clone}
.found.wrong{background:var(--guess-wrong)}.found.missed{border-bottom:2.5px dashed var(--c1)}
.found.right{background:var(--guess-right);border-bottom:2.5px solid var(--c0)}
.tag{font-size:11px;font-weight:620;white-space:nowrap;margin:0 3px;color:var(--soft);vertical-align:2px}
/* Small text: nearer to the ink than the colours of lines are. */
.tag.right{color:color-mix(in srgb,var(--c0) 75%,var(--ink))}
.tag.missed{color:color-mix(in srgb,var(--c1) 72%,var(--ink))}
.tag.wrong{color:color-mix(in srgb,var(--c3) 75%,var(--ink))}
.clozes{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:14px}
.cloze{padding:16px 18px 14px}.cloze p{margin:0 0 12px;overflow-wrap:anywhere}
mark{background:rgba(var(--heat),.16);color:inherit;font-weight:650;padding:1px 6px;border-radius:5px;
box-decoration-break:clone;-webkit-box-decoration-break:clone}
.two{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:22px}
.guesses{list-style:none;margin:0;padding:0;font-size:14px;line-height:1.4}
.guesses li{position:relative;display:flex;justify-content:space-between;gap:8px;padding:2px 8px;margin-bottom:2px;
border-radius:5px;overflow:hidden;color:var(--soft)}
.guesses i{position:absolute;inset:0 auto 0 0;background:rgba(var(--heat),.17);min-width:2px}
.guesses bdi,.guesses small{position:relative;overflow-wrap:anywhere}.guesses small{font-size:12.5px}
.guesses .hit{color:var(--good);font-weight:650}.hit i{background:var(--good);opacity:.2}
.hit bdi::after{content:" ✓"}
.unseen{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
ul.notes{margin:0;padding-inline-start:20px;max-width:86ch}.notes li{margin-bottom:4px}
pre{overflow-x:auto;margin:0;padding:12px 14px;font-size:13px;line-height:1.5;tab-size:4;
font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace}
summary{cursor:pointer;padding:9px 12px;font-size:14px;font-weight:550}
section>:not(h2,.remark){margin-top:14px}
.empty{color:var(--soft);margin:8px 2px}
footer{margin-top:48px;padding-top:14px;border-top:1px solid var(--line);color:var(--soft);font-size:13px}
a:focus-visible,summary:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
@media screen and (max-width:820px){.clozes{grid-template-columns:minmax(0,1fr)}
.chart.large,.chart.small{grid-column:1/-1}
main{padding:24px 16px 40px}h1{font-size:26px}}
@media print{body{border:0;background:#fff;font-size:12px}main{max-width:none;padding:0}nav{display:none}
.card,.chart,.panel,.cloze,.passage{box-shadow:none;break-inside:avoid}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
h2,.remark{break-after:avoid}.wide svg{min-width:0}.cards{grid-template-columns:repeat(6,1fr);gap:8px}
.card b{font-size:19px}.charts,.clozes{gap:9px}.small figcaption,.large figcaption{font-size:11px}
.legend{font-size:10px}
section{margin-top:26px}details::details-content{content-visibility:visible;height:auto}
pre{white-space:pre-wrap;overflow-wrap:anywhere}}
"""

# Dark mode applies to screens only: paper is white, so printed text must stay dark.
STYLE = f":root{{{LIGHT}}}@media screen and (prefers-color-scheme:dark){{:root{{{DARK}}}}}{_COLOURS}{_SHEET}"
