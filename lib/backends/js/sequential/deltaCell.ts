// The recurrent part of Delta RNN and Delta LSTM (spec 2.4.1, 2.4.2) and its gradients, token by token.
import { DELTA_CELLS, type KernelArguments } from '../../table';
import { sigmoid } from '../special';
import { floats, maybe } from '../view';
import { add, dot, eachTrack, type Numbers, numbers, read, readAcross, softmax, softmaxBack } from './words';

/** What tells the versions apart. */
function versionOf(cell: number): {
  lstm: boolean;
  gates: number;
  softmaxOut: boolean;
  linearUpdate: boolean;
  addsUpdate: boolean;
} {
  const name = DELTA_CELLS[cell];
  const lstm = name.startsWith('lstm');
  return {
    lstm,
    gates: lstm ? 3 : 1,
    softmaxOut: name === 'rnn1' || name === 'lstm1',
    linearUpdate: name === 'lstm4',
    addsUpdate: name === 'lstm3',
  };
}

/** The operand of each memory. */
const each = <T>(...[first, update, out]: [T, T | null, T | null]): T[] =>
  update && out ? [first, update, out] : [first];

export function deltaCell(args: KernelArguments<'deltaCell'>): void {
  const { width: D } = args;
  const { lstm, gates, softmaxOut, linearUpdate, addsUpdate } = versionOf(args.cell);
  const kept = (1 + 2 * gates + Number(lstm)) * D;
  const z = each(args.z, args.zUpdate, args.zOut).map(floats);
  const keys = each(args.key, args.keyUpdate, args.keyOut).map(floats);
  const v = each(args.v, args.vUpdate, args.vOut).map(floats);
  const beta = each(args.beta, args.betaUpdate, args.betaOut).map(floats);
  const [initial, before] = [args.initialState, args.initialOutput].map(floats);
  const [output, final, last] = [args.output, args.finalState, args.finalOutput].map(floats);
  const [initialCell, finalCell, trace] = [args.initialCell, args.finalCell, args.trace].map(maybe);
  const [s, key, update, error] = [D, D, D, D].map((n) => new Float64Array(n));
  eachTrack(args, ({ index, length, row }) => {
    const R = Array.from({ length: gates }, (_, g) => numbers(initial, (index * gates + g) * D * D, D * D));
    const h = numbers(before, index * D, D);
    const c = initialCell ? numbers(initialCell, index * D, D) : new Float64Array(D);
    const p = R.map(() => new Float64Array(D));
    for (let t = 0; t < length; t++) {
      const at = row(t);
      if (softmaxOut) s.set(h);
      else softmax(s, h);
      trace?.set(s, at * kept);
      R.forEach((state, g) => {
        const from = at * D;
        softmax(key, numbers(keys[g], from, D));
        read(error, state, key);
        for (let j = 0; j < D; j++) {
          error[j] = v[g][from + j] - error[j];
          update[j] = beta[g][at] * error[j];
        }
        add(state, key, update);
        read(p[g], state, s);
        for (let j = 0; j < D; j++) p[g][j] += z[g][from + j];
        if (lstm && !(g === 1 && linearUpdate)) p[g].forEach((x, j) => (p[g][j] = sigmoid(x)));
        trace?.set(error, at * kept + (1 + g) * D);
        if (lstm) trace?.set(p[g], at * kept + (1 + gates + g) * D);
      });
      if (lstm) {
        trace?.set(c, at * kept + (1 + 2 * gates) * D);
        for (let j = 0; j < D; j++) {
          c[j] = p[0][j] * p[1][j] + (1 - p[0][j]) * c[j];
          h[j] = c[j] * p[2][j] + (addsUpdate ? z[1][at * D + j] : 0);
        }
      } else {
        h.set(p[0]);
      }
      if (softmaxOut) softmax(h, h.slice());
      output.set(h, at * D);
    }
    R.forEach((state, g) => final.set(state, (index * gates + g) * D * D));
    last.set(h, index * D);
    finalCell?.set(c, index * D);
  });
}

export function deltaCellBackward(args: KernelArguments<'deltaCellBackward'>): void {
  const { width: D } = args;
  const { lstm, gates, softmaxOut, linearUpdate, addsUpdate } = versionOf(args.cell);
  const width = (1 + 2 * gates + Number(lstm)) * D;
  const keys = each(args.key, args.keyUpdate, args.keyOut).map(floats);
  const betas = each(args.beta, args.betaUpdate, args.betaOut).map(floats);
  const [final, output, trace, doutput, dlast] = [
    args.finalState,
    args.output,
    args.trace,
    args.doutput,
    args.dfinalOutput,
  ].map(floats);
  const [dfinal, dfinalCell, dinitialCell] = [args.dfinalState, args.dfinalCell, args.dinitialCell].map(maybe);
  const dz = each(args.dz, args.dzUpdate, args.dzOut).map(floats);
  const dkeys = each(args.dkey, args.dkeyUpdate, args.dkeyOut).map(floats);
  const dvs = each(args.dv, args.dvUpdate, args.dvOut).map(floats);
  const dbetas = each(args.dbeta, args.dbetaUpdate, args.dbetaOut).map(floats);
  const [dinitial, dbefore] = [args.dinitialState, args.dinitialOutput].map(floats);
  const [key, update, dupdate, dkey, dv, through] = [D, D, D, D, D, D].map((n) => new Float64Array(n));
  eachTrack(args, ({ index, length, row }) => {
    const states = Array.from({ length: gates }, (_, g) => (index * gates + g) * D * D);
    const R = states.map((at) => numbers(final, at, D * D));
    const G = states.map((at) => (dfinal ? numbers(dfinal, at, D * D) : new Float64Array(D * D)));
    const ds = numbers(dlast, index * D, D);
    const dc = dfinalCell ? numbers(dfinalCell, index * D, D) : new Float64Array(D);
    for (let t = length - 1; t >= 0; t--) {
      const at = row(t);
      const kept = numbers(trace, at * width, width);
      const part = (n: number): Numbers => kept.subarray(n * D, (n + 1) * D);
      const s = part(0);
      const dh = ds.map((g, j) => g + doutput[at * D + j]);
      if (softmaxOut) softmaxBack(dh, numbers(output, at * D, D));
      const dp = R.map(() => dh.slice());
      if (lstm) {
        const [i, u, o, before] = [1 + gates, 2 + gates, 3 + gates, 1 + 2 * gates].map(part);
        for (let j = 0; j < D; j++) {
          const cell = i[j] * u[j] + (1 - i[j]) * before[j];
          const dcell = dc[j] + dh[j] * o[j];
          dp[0][j] = dcell * (u[j] - before[j]) * i[j] * (1 - i[j]);
          dp[1][j] = dcell * i[j] * (linearUpdate ? 1 : u[j] * (1 - u[j]));
          dp[2][j] = dh[j] * cell * o[j] * (1 - o[j]);
          dc[j] = dcell * (1 - i[j]);
        }
      }
      ds.fill(0);
      for (let g = 0; g < gates; g++) {
        softmax(key, numbers(keys[g], at * D, D));
        const error = part(1 + g);
        const beta = betas[g][at];
        add(G[g], s, dp[g]);
        read(dupdate, G[g], key);
        for (let j = 0; j < D; j++) {
          update[j] = beta * error[j];
          dv[j] = beta * dupdate[j];
        }
        readAcross(dkey, G[g], update);
        readAcross(through, R[g], dp[g]);
        for (let i = 0; i < D; i++) ds[i] += through[i];
        add(R[g], key, update, -1);
        readAcross(through, R[g], dv);
        add(G[g], key, dv, -1);
        for (let i = 0; i < D; i++) dkey[i] -= through[i];
        if (addsUpdate && g === 1) for (let j = 0; j < D; j++) dp[1][j] += dh[j];
        softmaxBack(dkey, key);
        dz[g].set(dp[g], at * D);
        dkeys[g].set(dkey, at * D);
        dvs[g].set(dv, at * D);
        dbetas[g][at] = dot(error, dupdate);
      }
      if (!softmaxOut) softmaxBack(ds, s);
    }
    G.forEach((g, i) => dinitial.set(g, states[i]));
    dbefore.set(ds, index * D);
    dinitialCell?.set(dc, index * D);
  });
}
