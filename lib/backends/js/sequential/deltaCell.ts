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

export function deltaCell(args: KernelArguments<'deltaCell'>): void {
  const { width: D } = args;
  const { lstm, gates, softmaxOut, linearUpdate, addsUpdate } = versionOf(args.cell);
  const kept = (1 + 2 * gates + Number(lstm)) * D;
  const [z, keys, v, beta, initial, before] = [
    args.z,
    args.key,
    args.v,
    args.beta,
    args.initialState,
    args.initialOutput,
  ].map(floats);
  const [output, final, last] = [args.output, args.finalState, args.finalOutput].map(floats);
  const [initialCell, finalCell, trace] = [args.initialCell, args.finalCell, args.trace].map(maybe);
  const [s, update, error] = [D, D, D].map((n) => new Float64Array(n));
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
        const from = (at * gates + g) * D;
        const key = numbers(keys, from, D);
        read(error, state, key);
        for (let j = 0; j < D; j++) {
          error[j] = v[from + j] - error[j];
          update[j] = beta[at * gates + g] * error[j];
        }
        add(state, key, update);
        read(p[g], state, s);
        for (let j = 0; j < D; j++) p[g][j] += z[from + j];
        if (lstm && !(g === 1 && linearUpdate)) p[g].forEach((x, j) => (p[g][j] = sigmoid(x)));
        trace?.set(error, at * kept + (1 + g) * D);
        if (lstm) trace?.set(p[g], at * kept + (1 + gates + g) * D);
      });
      if (lstm) {
        trace?.set(c, at * kept + (1 + 2 * gates) * D);
        for (let j = 0; j < D; j++) {
          c[j] = p[0][j] * p[1][j] + (1 - p[0][j]) * c[j];
          h[j] = c[j] * p[2][j] + (addsUpdate ? z[(at * gates + 1) * D + j] : 0);
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
  const [keys, betas, final, output, trace, doutput, dlast] = [
    args.key,
    args.beta,
    args.finalState,
    args.output,
    args.trace,
    args.doutput,
    args.dfinalOutput,
  ].map(floats);
  const [dfinal, dfinalCell, dinitialCell] = [args.dfinalState, args.dfinalCell, args.dinitialCell].map(maybe);
  const [dz, dkeys, dvs, dbetas, dinitial, dbefore] = [
    args.dz,
    args.dkey,
    args.dv,
    args.dbeta,
    args.dinitialState,
    args.dinitialOutput,
  ].map(floats);
  const [update, dupdate, dkey, dv, through] = [D, D, D, D, D].map((n) => new Float64Array(n));
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
        const from = (at * gates + g) * D;
        const key = numbers(keys, from, D);
        const error = part(1 + g);
        const beta = betas[at * gates + g];
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
        dz.set(dp[g], from);
        dkeys.set(dkey, from);
        dvs.set(dv, from);
        dbetas[at * gates + g] = dot(error, dupdate);
      }
      if (!softmaxOut) softmaxBack(ds, s);
    }
    G.forEach((g, i) => dinitial.set(g, states[i]));
    dbefore.set(ds, index * D);
    dinitialCell?.set(dc, index * D);
  });
}
