// What stands on a page, before its script fills it.

const legend = (
  id: string,
): string => `<p class="legend"><span><i class="more"></i>above zero</span><span><i class="less"></i>below zero,
with a bar where there is room</span><span>full colour from <b id="${id}"></b> on</span></p>`;

const strip = (name: string, label: string): string =>
  `<span id="label-${name}">${label}</span><canvas id="strip-${name}" data-high="24" tabindex="0" role="img" aria-label="${label}; arrow keys read entries"></canvas>`;

const list = (id: string, title: string, none: string): string =>
  `<div><h3>${title}</h3><p class="none" id="${id}-none">${none}</p><table class="sources"><tbody id="${id}"></tbody></table></div>`;

const map = (id: string, extra = ''): string =>
  `<div class="map"><canvas id="${id}" ${extra}tabindex="0" role="img"></canvas><span class="row" aria-hidden="true"></span></div>`;

/** The lists and the slider; `more` stands before them. */
const controls = (more: string): string => `<div class="controls" role="group" aria-label="What is shown">
<label>Layer <select id="layer"></select></label>
<label>Matrix <select id="name"></select></label>
<label>Head <select id="head"></select></label>${more}
<label class="time">Time <button type="button" id="back" aria-label="One step back">‹</button>
<input type="range" id="step" min="0" value="0" aria-label="Steps that are over" />
<button type="button" id="on" aria-label="One step on">›</button></label>
<button type="button" id="play" aria-label="Play">▶</button>
<output id="moment" for="step" aria-live="polite"></output>
</div>`;

const text = `<section class="wide"><h2>What is left of it</h2>
<p class="reading">The greener a token, the more of what was written at it is still there. Choose one: <b class="mark plus">before</b> it stands
what its query reads, <b class="mark took">behind</b> it what has overwritten it.</p>
<div id="text" class="text" tabindex="0" role="group" aria-label="The text; left and right choose a token"></div>
<canvas id="lane" tabindex="0" role="img" aria-label="The writes in a row: their sizes, and what is left of each; left and right choose one"></canvas>
<p class="legend lane"><span><i class="kept"></i>left</span><span><i class="taken"></i>overwritten</span><span><i class="faded"></i>faded</span>
<span><i class="wrote"></i>size of the write</span><span><i class="arc plus"></i>is read by the chosen one, dashed below zero</span><span><i class="arc taken"></i>overwrote it</span></p>
<p class="value" id="lane-value" role="status">Point at a write, or use the arrow keys.</p></section>`;

const heads = `<section class="half" id="survey"><h2>Which heads hold how much</h2>
<p class="reading">Of each head the number of tokens that it holds: what is left of each write, added up. The greener the more; a click shows it.</p>
<div class="scroll"><table class="heads" id="heads"></table></div></section>`;

const token = `<section class="wide"><h2><code id="token" aria-live="polite"></code> <small id="token-step"></small></h2>
<p id="unwritten">Nothing has been written yet.</p>
<div id="write">
<div class="fate" id="fate" aria-hidden="true"></div><p class="reading" id="fate-words"></p>
<div class="lists">
${list('reads', 'Its query reads', 'Nothing.')}
${list('overwritten', 'Has overwritten it', 'Nothing yet.')}
${list('overwrote', 'It has overwritten', 'Nothing.')}
</div><p class="value" id="from-start"></p>
<dl class="facts" id="write-facts"></dl>
<div class="strips">
${strip('before', 'answer before')}
${strip('value', 'value')}
${strip('after', 'answer after')}
${strip('now', 'answer now')}
${strip('output', 'query reads')}
</div>
<p class="value" id="write-value" role="status">Point at an entry, or use the arrow keys on a strip.</p>
<p class="reading small">What the memory answers to the key of the token, before the write, after it and now, and the value that was written. Known is the
cosine of answer and value: 1 where they agree, 0 where they have nothing to do with each other.</p></div></section>`;

const matrix = `<section class="half"><h2>The matrix</h2>
<dl class="facts"><div><dt>norm</dt><dd id="norm"></dd></div><div><dt>effective rank</dt><dd id="rank"></dd></div>
<div><dt>keys × values</dt><dd id="size"></dd></div><div><dt>rule</dt><dd id="rule"></dd></div></dl>
<p><label>Show <select id="shown" aria-label="What of the matrix is shown"><option value="matrix">the matrix</option>
<option value="change">what the last step changed</option><option value="moved" id="moved">what changed since the start</option></select></label></p>
<canvas id="matrix" tabindex="0" role="img"></canvas>
${legend('limit')}<p class="value" id="matrix-value" role="status">Point at an entry, or use the arrow keys on the picture.</p>
<h3>Singular values, <span id="spectrum-ends"></span></h3>
<svg id="spectrum" viewBox="0 0 100 40" preserveAspectRatio="none" role="img"></svg></section>`;

const series = `<section class="wide"><h2>Over time</h2>
<p class="reading">A click goes to a moment. The effective rank is the exponential of the entropy of the singular values: the number of
directions that the matrix spreads over.</p>
<div class="series" id="series"></div></section>`;

const maps = `<section class="half"><h2>From which writes queries read</h2>
<p class="reading">What a query reads is a sum of the values written before it, each with a weight: attention over the past that the matrix
has taken in. Rows are queries, columns writes.</p>
${map('reads-map')}
${legend('reads-map-limit')}<p class="value" id="reads-value" role="status">Point at an entry, or use the arrow keys on the picture.</p></section>
<section class="half"><h2>Where memory is overwritten</h2>
<p id="erases-not">This rule never erases: what is gone has faded.</p>
<div id="erases"><p class="reading">Rows are writes, columns the earlier ones that they took from: how much of what its own key would have read of it.
Slanting lines are a passage that comes again and overwrites itself.</p>
${map('taken-map', 'data-colour="--taken" ')}
<p class="legend"><span><i class="taken"></i>taken</span><span><i class="less"></i>given back</span><span>full colour from <b id="taken-map-limit"></b> on</span></p>
<p class="value" id="taken-value" role="status">Point at an entry, or use the arrow keys on the picture.</p></div></section>`;

const columns = `<div class="columns">
${[text, token, heads, matrix, series, maps].join('\n')}
</div>`;

/** Of a page that has its numbers. */
export const inspectionBody = `${controls('')}
${columns}`;

const windows = [128, 256, 512].map((n) => `<option${n === 256 ? ' selected' : ''}>${n}</option>`).join('');

/** Of a page that asks a server for them. */
export const liveInspectionBody = `<p id="state" role="status"></p>
<div id="shown-all" hidden>
${controls(`
<label>Tokens <select id="window">${windows}</select></label><span class="seen" id="read"></span>`)}
${columns}
</div>`;
