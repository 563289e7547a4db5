import { prepareFeedback } from '../cases/feedback';
import { fw } from '../library';
const [family, pass, D, secs] = process.argv.slice(2);
fw.setNumThreads?.(1);
async function main() {
const p = prepareFeedback({ kind: 'feedback', family, pass, device: 'cpu', dtype: 'float32', B: 4, T: 256, H: 4, D: Number(D) } as any) as any;
let best = Infinity; const end = performance.now() + Number(secs) * 1000; let n = 0;
while (performance.now() < end) { await p.setup?.(); const t = performance.now(); await p.run(1); best = Math.min(best, performance.now() - t); n++; }
const per: any = { selfReferential: 8 * (3 + 4 / Number(D)), recurrentDelta: 12, deltaRnn: 12, deltaLstm: 36 };
const flops = 4 * 256 * 4 * per[family] * Number(D) ** 2 * (pass === 'forward' ? 1 : 2);
console.log(family, pass, D, best.toFixed(3), 'ms', (flops / best / 1e6).toFixed(1), 'GFLOP/s', n);
process.exit(0);
}
void main();
