// The self-referential weight matrix (spec 2.5.1) and its gradients, token by token.
import type { KernelArguments } from '../../table';
import { sigmoid } from '../special';
import { floats, maybe } from '../view';
import { add, dot, eachTrack, numbers, read, readAcross, softmax, softmaxBack } from './words';

type Sizes = Pick<KernelArguments<'selfReferential'>, 'width' | 'outputWidth'>;

/** The parts of the columns: y, q, k and the four strengths. */
function partsOf({ width: D, outputWidth: Y }: Sizes): [begin: number, end: number][] {
  return [
    [0, Y],
    [Y, Y + D],
    [Y + D, Y + 2 * D],
    [Y + 2 * D, Y + 2 * D + 4],
  ];
}

export function selfReferential(args: KernelArguments<'selfReferential'>): void {
  const { width: D, outputWidth: Y } = args;
  const V = Y + 2 * D + 4;
  const [x, initial, output, final] = [args.x, args.initialState, args.output, args.finalState].map(floats);
  const [inputY, trace] = [args.inputY, args.trace].map(maybe);
  const parts = partsOf(args);
  const [key, query] = [new Float64Array(D), new Float64Array(D)];
  const [out, change, update, error] = [V, D, V, V].map((n) => new Float64Array(n));
  eachTrack(args, ({ index, length, row }) => {
    const W = numbers(initial, index * D * V, D * V);
    for (let t = 0; t < length; t++) {
      const at = row(t);
      const input = numbers(x, at * D, D);
      if (inputY) {
        read(out, W, numbers(inputY, at * D, D));
        output.set(out.subarray(0, Y), at * Y);
      }
      read(out, W, input);
      if (!inputY) output.set(out.subarray(0, Y), at * Y);
      softmax(query, out.subarray(Y, Y + D));
      softmax(key, out.subarray(Y + D, Y + 2 * D));
      const beta = out.slice(Y + 2 * D).map(sigmoid);
      for (let i = 0; i < D; i++) change[i] = query[i] - key[i];
      read(error, W, change);
      parts.forEach(([begin, end], part) => {
        for (let j = begin; j < end; j++) update[j] = beta[part] * error[j];
      });
      add(W, key, update);
      if (!trace) continue;
      const kept = trace.subarray(at * (V + 2 * D + 4));
      kept.set(key);
      kept.set(query, D);
      kept.set(beta, 2 * D);
      kept.set(error, 2 * D + 4);
    }
    final.set(W, index * D * V);
  });
}

export function selfReferentialBackward(args: KernelArguments<'selfReferentialBackward'>): void {
  const { width: D, outputWidth: Y } = args;
  const V = Y + 2 * D + 4;
  const [x, final, trace, doutput, dx, dinitial] = [
    args.x,
    args.finalState,
    args.trace,
    args.doutput,
    args.dx,
    args.dinitialState,
  ].map(floats);
  const [inputY, dfinal, dinputY] = [args.inputY, args.dfinalState, args.dinputY].map(maybe);
  const parts = partsOf(args);
  const [change, dkey, dquery, dinput] = [D, D, D, D].map((n) => new Float64Array(n));
  const [update, dupdate, derror, dout, own] = [V, V, V, V, V].map((n) => new Float64Array(n));
  eachTrack(args, ({ index, length, row }) => {
    const W = numbers(final, index * D * V, D * V);
    const G = dfinal ? numbers(dfinal, index * D * V, D * V) : new Float64Array(D * V);
    for (let t = length - 1; t >= 0; t--) {
      const at = row(t);
      const kept = numbers(trace, at * (V + 2 * D + 4), V + 2 * D + 4);
      const [key, query] = [kept.subarray(0, D), kept.subarray(D, 2 * D)];
      const [beta, error] = [kept.subarray(2 * D, 2 * D + 4), kept.subarray(2 * D + 4)];
      read(dupdate, G, key);
      parts.forEach(([begin, end], part) => {
        for (let j = begin; j < end; j++) {
          update[j] = beta[part] * error[j];
          derror[j] = beta[part] * dupdate[j];
        }
        const dbeta = dot(error.subarray(begin, end), dupdate.subarray(begin, end));
        dout[V - 4 + part] = dbeta * beta[part] * (1 - beta[part]);
      });
      readAcross(dkey, G, update);
      add(W, key, update, -1);
      readAcross(dquery, W, derror);
      for (let i = 0; i < D; i++) {
        change[i] = query[i] - key[i];
        dkey[i] -= dquery[i];
      }
      add(G, change, derror);
      softmaxBack(dkey, key);
      softmaxBack(dquery, query);
      dout.set(dquery, Y);
      dout.set(dkey, Y + D);
      const dy = numbers(doutput, at * Y, Y);
      if (inputY) {
        own.set(dy);
        readAcross(dinput, W, own);
        dinputY!.set(dinput, at * D);
        add(G, numbers(inputY, at * D, D), own);
      } else {
        dout.set(dy);
      }
      readAcross(dinput, W, dout);
      dx.set(dinput, at * D);
      add(G, numbers(x, at * D, D), dout);
    }
    dinitial.set(G, index * D * V);
  });
}
