// The Recurrent Delta Net (spec 2.4.3) and its gradients, token by token.
import type { KernelArguments } from '../../table';
import { sigmoid } from '../special';
import { floats, maybe } from '../view';
import { add, dot, eachTrack, numbers, read, readAcross, softmax, softmaxBack } from './words';

export function recurrentDelta(args: KernelArguments<'recurrentDelta'>): void {
  const { width: D } = args;
  const V = 3 * D + 1;
  const [inputs, recurrent, initial, before] = [args.inputs, args.recurrent, args.initialState, args.initialOutput].map(
    floats,
  );
  const [output, final, last] = [args.output, args.finalState, args.finalOutput].map(floats);
  const [hidden, trace] = [args.hidden, args.trace].map(maybe);
  const z = new Float64Array(V);
  const [key, query, update, error] = [D, D, D, D].map((n) => new Float64Array(n));
  eachTrack(args, ({ index, head, length, row }) => {
    const W = numbers(initial, index * D * D, D * D);
    const R = numbers(recurrent, head * D * V, D * V);
    const y = numbers(before, index * D, D);
    for (let t = 0; t < length; t++) {
      const at = row(t);
      const h = y.map(Math.tanh);
      read(z, R, h);
      for (let j = 0; j < V; j++) z[j] += inputs[at * V + j];
      softmax(key, z.subarray(D, 2 * D));
      softmax(query, z.subarray(2 * D, 3 * D));
      const beta = sigmoid(z[3 * D]);
      read(error, W, key);
      for (let j = 0; j < D; j++) {
        error[j] = z[j] - error[j];
        update[j] = beta * error[j];
      }
      add(W, key, update);
      read(y, W, query);
      output.set(y, at * D);
      hidden?.set(h, at * D);
      trace?.set([...key, ...query, ...error, beta], at * V);
    }
    final.set(W, index * D * D);
    last.set(y, index * D);
  });
}

export function recurrentDeltaBackward(args: KernelArguments<'recurrentDeltaBackward'>): void {
  const { width: D } = args;
  const V = 3 * D + 1;
  const [recurrent, final, hidden, trace, doutput, dlast] = [
    args.recurrent,
    args.finalState,
    args.hidden,
    args.trace,
    args.doutput,
    args.dfinalOutput,
  ].map(floats);
  const dfinal = maybe(args.dfinalState);
  const [dinputs, dinitial, dbefore] = [args.dinputs, args.dinitialState, args.dinitialOutput].map(floats);
  const dz = new Float64Array(V);
  const [update, dupdate, dkey, dquery, through, dv] = [D, D, D, D, D, D].map((n) => new Float64Array(n));
  eachTrack(args, ({ index, head, length, row }) => {
    const W = numbers(final, index * D * D, D * D);
    const G = dfinal ? numbers(dfinal, index * D * D, D * D) : new Float64Array(D * D);
    const R = numbers(recurrent, head * D * V, D * V);
    const dh = numbers(dlast, index * D, D);
    for (let t = length - 1; t >= 0; t--) {
      const at = row(t);
      const kept = numbers(trace, at * V, V);
      const [key, query, error] = [0, 1, 2].map((part) => kept.subarray(part * D, (part + 1) * D));
      const beta = kept[3 * D];
      const dy = dh.map((g, j) => g + doutput[at * D + j]);
      add(G, query, dy);
      read(dupdate, G, key);
      for (let j = 0; j < D; j++) {
        update[j] = beta * error[j];
        dv[j] = beta * dupdate[j];
      }
      readAcross(dkey, G, update);
      readAcross(dquery, W, dy);
      add(W, key, update, -1);
      readAcross(through, W, dv);
      add(G, key, dv, -1);
      for (let i = 0; i < D; i++) dkey[i] -= through[i];
      softmaxBack(dkey, key);
      softmaxBack(dquery, query);
      dz.set(dv);
      dz.set(dkey, D);
      dz.set(dquery, 2 * D);
      dz[3 * D] = dot(error, dupdate) * beta * (1 - beta);
      dinputs.set(dz, at * V);
      readAcross(dh, R, dz);
      for (let i = 0; i < D; i++) dh[i] *= 1 - hidden[at * D + i] ** 2;
    }
    dinitial.set(G, index * D * D);
    dbefore.set(dh, index * D);
  });
}
