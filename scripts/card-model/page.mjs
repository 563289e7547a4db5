// The table in docs/card-model.md, between its marks.
const [BEGIN, END] = [
  '<!-- predictions: written by npm run check:predictions -- --update -->',
  '<!-- end of predictions -->',
];

const number = (x) => (x == null ? '' : x >= 100 ? x.toFixed(0) : String(Number(x.toPrecision(3))));
const time = (microseconds) =>
  microseconds >= 1000 ? `${number(microseconds / 1000)} ms` : `${number(microseconds)} µs`;

/** Rows of cells with columns as wide as their widest cell, as prettier writes them. */
function table(rows) {
  const widths = rows[0].map((_, i) => Math.max(3, ...rows.map((row) => row[i].length)));
  const lines = rows.map((row) => `| ${row.map((cell, i) => cell.padEnd(widths[i])).join(' | ')} |`);
  const rule = `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`;
  return [lines[0], rule, ...lines.slice(1)].join('\n');
}

/** A kernel's name without templates within templates. */
const short = (kernel) =>
  kernel
    .replace(/gemm::|fw::/g, '')
    .replace(/<(\w+)<.*$/, '<$1>')
    .replace(/, Shape<(\d+), (\d+).*$/, ' $1x$2>');

function ofCase([name, { microseconds, tensorPerUseful, launches, kernels }]) {
  const head = [
    'kernel',
    'launches',
    'blocks',
    'at once',
    'per tensor',
    'B/token',
    'issue',
    'tensor',
    'shared',
    'memory',
    'chain',
    'bound',
  ];
  const rows = Object.entries(kernels)
    .filter(([, row]) => row.time >= 0.02 * microseconds)
    .map(([kernel, row]) => [
      `\`${short(kernel)}\``,
      ...[row.launches, row.blocks, row.atOnce, row.perTensor, row.bytes].map(number),
      ...['issue', 'tensor', 'shared', 'memory', 'chain'].map((key) => time(row[key])),
      row.bound,
    ]);
  const work = tensorPerUseful > 0 ? `; ${number(tensorPerUseful)} times the useful work on tensor cores` : '';
  return `**${name}**: ${time(microseconds)}, ${launches} ${launches === 1 ? 'launch' : 'launches'}${work}\n\n${table([head, ...rows])}`;
}

/** The page with the tables of these cases. */
export function markdown(page, { cases }) {
  const [before, rest] = page.split(BEGIN);
  const after = rest.split(END)[1];
  return `${before}${BEGIN}\n\n${Object.entries(cases).map(ofCase).join('\n\n')}\n\n${END}${after}`;
}
