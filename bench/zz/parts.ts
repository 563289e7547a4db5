import { fw } from '../library';
fw.setNumThreads?.(1);
const D = Number(process.argv[2] ?? 32), B = 4, T = 256, H = 4;
const r = (...s: number[]) => fw.rand(s, { device: 'cpu' } as any).sub(0.5);
async function best(name: string, fn: () => any, flops = 0) {
  let b = Infinity; const end = performance.now() + 1500;
  while (performance.now() < end) { const t = performance.now(); const y = fw.scope(() => fn()); await (Array.isArray(y) ? y.at(-1) : y).slice(0, 0, 1).data(); b = Math.min(b, performance.now() - t); }
  console.log(name, b.toFixed(3), 'ms', flops ? (flops / b / 1e6).toFixed(1) : '');
}
async function main() {
  const q = r(B, T, H, D), k = r(B, T, H, D), v = r(B, T, H, D), beta = r(B, T, H).sigmoid();
  const N = B * T * H;
  await best('empty', () => beta.add(1));
  await best('elu1', () => q.elu1());
  await best('map', () => fw.featureMap(q, { featureMap: 'elu1', sumNorm: true }));
  await best('softmax', () => q.softmax(-1));
  await best('sigmoid', () => beta.sigmoid());
  const m = fw.featureMap(q, { featureMap: 'elu1', sumNorm: true });
  await best('deltaRule', () => fw.deltaRule(m, m, v, { beta, scale: 1 }).output, N * 6 * D * D);
  await best('deltaRnn', () => fw.deltaRnn(q, k, v, { beta, recurrentK: k, recurrentV: v, recurrentBeta: beta, scale: 1 } as any).output, N * 12 * D * D);
  process.exit(0);
}
void main();
