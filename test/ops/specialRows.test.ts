// NaN and infinities in what looks at a whole row or sequence: sums, softmax, norms, losses, attention, gates.
import { expect } from 'chai';
import * as fw from '../../lib';
import { kernelsOf } from '../../lib/ops';
import { targets } from '../support/golden';
import { expectSame, withNans } from '../support/special';

const { Infinity: Inf } = globalThis;

for (const where of targets()) {
  describe(`special values in rows on ${where.device}, ${where.dtype}`, () => {
    const close = where.dtype === 'float32';
    afterEach(() => fw.setChecks('values'));

    for (const [title, rows, ...expected] of [
      ['infinity', [...new Array<number>(70).keys()].map((i) => (i === 3 ? Inf : 1)), Inf],
      ['infinity at the end', [1, 2, 3, 4, 5, Inf], Inf],
      ['-infinity', [1, -Inf, 3, 4], -Inf],
      ['both infinities', [1, Inf, -Inf, 4], NaN],
      ['NaN', [1, NaN, 3], NaN],
      ['a sum that overflows', new Array<number>(200).fill(3e38), Inf],
      ['a sum that overflows downwards', [-3e38, -3e38, 1], -Inf],
      ['-0', [-0, 0], 0],
    ] as [string, number[], number][]) {
      it(`sums over either dimension: ${title}`, () => {
        if (where.dtype === 'float64' && /overflows/.test(title)) return;
        // Beside it a column of ones, so that neighbours stay what they are.
        const columns = fw.tensor(
          rows.flatMap((x) => [x, 1]),
          { shape: [rows.length, 2], ...where },
        );
        const lines = columns.transpose(0, 1).contiguous();
        const running = (t: fw.Tensor, d: number): ArrayLike<number> =>
          t
            .cumsum(d)
            .slice(d, rows.length - 1)
            .dataSync();
        for (const found of [
          columns.sum(0).dataSync(),
          lines.sum(1).dataSync(),
          columns.mean(0).mul(rows.length).dataSync(),
          running(columns, 0),
          running(lines, 1),
        ]) {
          expectSame(title, found[0], expected[0]);
          expectSame('its neighbour', found[1], rows.length);
        }
      });
    }

    it('softmax and logSoftmax of rows with infinities and NaN', () => {
      const of = (row: number[]): number[][] =>
        [(x: fw.Tensor) => x.softmax(), (x: fw.Tensor) => x.logSoftmax()].map((f) => [
          ...f(fw.tensor(row, { ...where, shape: [1, row.length] })).dataSync(),
        ]);
      const log3 = Math.log(1 + Math.exp(2));
      const cases: [number[], number[], number[]][] = [
        [
          [1, NaN, 3],
          [NaN, NaN, NaN],
          [NaN, NaN, NaN],
        ],
        [
          [1, Inf, 3],
          [NaN, NaN, NaN],
          [NaN, NaN, NaN],
        ],
        [
          [-Inf, -Inf],
          [NaN, NaN],
          [NaN, NaN],
        ],
        [
          [1, -Inf, 3],
          [Math.exp(-log3 + 2 - 2), 0, Math.exp(2 - log3)],
          [-log3, -Inf, 2 - log3],
        ],
        [
          [3e38, -3e38],
          [1, 0],
          [0, -Inf],
        ],
      ];
      for (const [row, p, log] of cases) {
        const found = of(row);
        [p, log].forEach((expected, i) =>
          expected.forEach((e, j) => {
            if (where.dtype === 'float64' && e === -Inf && row[j] > -Inf) return;
            expectSame(`row ${row.join(' ')}`, found[i][j], e);
          }),
        );
      }
      if (close) {
        const y = fw.softmax(fw.tensor(withNans(new Float32Array(9)), { ...where, shape: [1, 17] })).dataSync();
        expect([...y].every(Number.isNaN), 'NaN of any bits reaches the whole row').to.equal(true);
      }
    });

    it('norms of rows whose squares leave the range of floats, and of NaN', () => {
      // Cards sum squares in float32 only.
      const sizes = where.device.startsWith('cuda') ? [1e-15, 1e15] : [1e-30, 1e19, 1e38];
      const unit = [2, -1, 2].map((x) => x / 3);
      for (const size of sizes) {
        const row = fw.tensor(
          unit.map((x) => x * size),
          { shape: [1, 3], ...where },
        );
        const l2 = fw.l2Norm(row, 0).dataSync();
        const rms = fw.rmsNorm(row, null, { eps: 0 }).dataSync();
        unit.forEach((u, i) => {
          expectSame(`l2 at ${size}`, l2[i], u);
          expectSame(`rms at ${size}`, rms[i], u * Math.sqrt(3));
        });
      }
      const spoilt = fw.tensor([1, NaN, 3, 1, 2, 3], { shape: [2, 3], ...where });
      for (const norm of [fw.l2Norm, fw.rmsNorm, fw.layerNorm]) {
        const y = [...norm(spoilt).dataSync()];
        expect(y.slice(0, 3).every(Number.isNaN) && y.slice(3).every(Number.isFinite), norm.name).to.equal(true);
      }
    });

    const OPTIONS = {
      plain: {},
      smoothed: { labelSmoothing: 0.1 },
      'with z-loss': { zLoss: 0.01 },
      capped: { logitSoftcap: 5 },
    };
    for (const [kind, options] of Object.entries(OPTIONS)) {
      it(`crossEntropy of infinite logits, ${kind}`, () => {
        const run = (row: number[], target: number): ArrayLike<number>[] =>
          fw.scope(() => {
            const logits = fw.tensor(row, { shape: [1, row.length], ...where, requiresGrad: true });
            const loss = fw.crossEntropy(
              logits,
              fw.tensor([target], { dtype: 'int32', device: where.device }),
              options,
            );
            loss.backward();
            return [loss.dataSync(), logits.grad!.dataSync()];
          });
        const capped = 'logitSoftcap' in options;
        const cap = (x: number): number => (capped ? 5 * Math.tanh(x / 5) : x);
        const smoothing = 'labelSmoothing' in options ? 0.1 : 0;
        const zLoss = 'zLoss' in options ? 0.01 : 0;
        const rows: [number[], number][] = [
          [[-Inf, 0, 1], 1],
          [[-Inf, 0, 1], 0],
          [[-Inf, 0, -Inf], 1],
          [[-Inf, -Inf, -Inf], 0],
          [[Inf, 0, 1], 0],
          [[Inf, 0, 1], 1],
          [[NaN, 0, 1], 1],
          [[0, 1, NaN], 1],
        ];
        for (const [row, target] of rows) {
          const z = row.map(cap);
          const lse = Math.log(z.reduce((a, x) => a + Math.exp(x), 0));
          // Without a number for the sum of exponentials everything is NaN.
          const spoilt = !capped
            ? row.includes(NaN) || row.includes(Inf) || row.every((x) => x === -Inf)
            : row.includes(NaN);
          const [loss, dlogits] = run(row, target);
          const smooth = smoothing > 0 ? (smoothing * z.reduce((a, x) => a + x, 0)) / z.length : 0;
          const at = `${kind}, logits ${row.join(' ')}, target ${target}`;
          expectSame(at, loss[0], spoilt ? NaN : lse - (1 - smoothing) * z[target] - smooth + zLoss * lse * lse);
          z.forEach((x, i) => {
            const d =
              Math.exp(x - lse) * (1 + 2 * zLoss * lse) - smoothing / z.length - (i === target ? 1 - smoothing : 0);
            const slope = capped ? 1 - (x / 5) ** 2 : 1;
            expectSame(`gradient ${i} of ${at}`, dlogits[i], spoilt ? NaN : d * slope);
          });
        }
      });
    }

    it('attention whose first scores are -infinity, and of NaN', () => {
      const T = 70;
      const fill = (value: (t: number) => number): fw.Tensor =>
        fw.tensor(
          Array.from({ length: T }, (_, t) => value(t)),
          { shape: [1, T, 1, 1], ...where },
        );
      const huge = 2 ** (where.dtype === 'float64' ? 600 : 100);
      // The first 66 keys have a score of -infinity, so that no finite one stands in the first block of them.
      const q = fill(() => huge);
      const k = fill((t) => (t < 66 ? -huge : 0));
      const v = fill((t) => t);
      const y = fw.softmaxAttention(q, k, v, { scale: 1 }).dataSync();
      // Scores in double precision do not overflow.
      if (where.device !== 'js' || !close) expectSame('only -infinity', y[10], NaN);
      expectSame('after them', y[69], (66 + 67 + 68 + 69) / 4);
      const spoilt = fw
        .softmaxAttention(
          fill((t) => (t === 5 ? NaN : 1)),
          fill(() => 1),
          v,
        )
        .dataSync();
      expect([...spoilt.slice(0, 7)].map(Number.isNaN)).to.deep.equal([0, 0, 0, 0, 0, 1, 0].map(Boolean));
    });

    it('LSTM cells at infinite gates, and of NaN', () => {
      const step = (gates: number[], before: number): number[] => {
        const [g, cell] = [fw.tensor(gates, { shape: [1, 4], ...where }), fw.full([1, 1], before, where)];
        const [newCell, hidden] = [fw.zeros([1, 1], where), fw.zeros([1, 1], where)];
        kernelsOf(cell).lstmCell({ gates: g, cell, newCell, hidden, rows: 1, d: 1 });
        return [newCell.item(), hidden.item()];
      };
      const cases: [number[], number, number, number][] = [
        [[-Inf, -Inf, 1, 1], 1e38, 0, 0],
        [[Inf, -Inf, Inf, Inf], 5, 1, Math.tanh(1)],
        [[-Inf, Inf, -Inf, Inf], 0.5, 0.5, Math.tanh(0.5)],
        [[-Inf, Inf, 1, -Inf], 0.5, 0.5, 0],
        ...[0, 1, 2].map((i): [number[], number, number, number] => [[1, 1, 1, 1].with(i, NaN), 1, NaN, NaN]),
      ];
      for (const [gates, before, cell, hidden] of cases) {
        step(gates, before).forEach((found, i) => expectSame(`gates ${gates.join(' ')}`, found, [cell, hidden][i]));
      }
    });

    it('a gate of NaN spoils its own values, one of -infinity clears the state', () => {
      fw.setChecks(false);
      const [T, H, K, V] = [40, 2, 5, 3];
      const half = (...shape: number[]): fw.Tensor => fw.full(shape, 0.5, where);
      for (const width of [1, K])
        for (const mode of ['chunk', 'recurrent'] as const)
          for (const bits of [0x7fc00001, 0xff800000]) {
            const gates = new Float32Array(T * H * width).fill(-0.1);
            // Token 20 of the first head.
            new Uint32Array(gates.buffer).fill(bits, 20 * H * width, (20 * H + 1) * width);
            const value = gates[20 * H * width];
            const gate = fw.tensor(gates, { shape: width === 1 ? [1, T, H] : [1, T, H, K], ...where });
            const { output } = fw.gatedLinearAttention(half(1, T, H, K), half(1, T, H, K), half(1, T, H, V), {
              gate,
              mode,
            });
            const y = output.dataSync();
            for (let t = 0; t < T; t++) {
              const [spoilt, whole] = [0, 1].map((h) => y[(t * H + h) * V]);
              if (Number.isNaN(value)) expect(Number.isNaN(spoilt), `token ${t}`).to.equal(t >= 20);
              else if (t === 20) expectSame('alone', spoilt, (K * 0.125) / Math.sqrt(K));
              expect(whole, `the other head, token ${t}`).to.satisfy(Number.isFinite);
            }
          }
    });
  });
}
