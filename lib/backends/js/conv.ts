// Causal depthwise convolution over time. A channel of a sequence is taken out as one line, the width - 1 tokens of
// its state first: the output at t is a window of the line, and the final state is its end.
import { tokenStride, type Tensor } from '../../core';
import { ACTIVATIONS, type KernelArguments } from '../table';
import { silu, siluDerivative } from './special';
import { floats, maybe, sequenceStarts, type Floats } from './view';

interface Input {
  data: Floats;
  token: number;
  channel: number;
}

/** x [B, T, d] as [tokens, d] */
function inputOf(x: Tensor): Input {
  return { data: floats(x), token: tokenStride(x.shape, x.strides)!, channel: x.strides[x.ndim - 1] };
}

function fillLine(
  line: Float64Array,
  x: Input,
  start: number,
  length: number,
  c: number,
  state: Floats | null,
  stateAt: number,
  history: number,
): void {
  for (let i = 0; i < history; i++) line[i] = state ? state[stateAt + i] : 0;
  let at = start * x.token + c * x.channel;
  for (let t = 0; t < length; t++, at += x.token) line[history + t] = x.data[at];
}

/** Bias plus the window of the line that begins at t. */
function convolve(line: Float64Array, t: number, weight: Floats, at: number, width: number, bias: number): number {
  let sum = bias;
  for (let i = 0; i < width; i++) sum += weight[at + i] * line[t + i];
  return sum;
}

export function shortConv(args: KernelArguments<'shortConv'>): void {
  const { sequences, d, width } = args;
  const activated = ACTIVATIONS[args.activation] === 'silu';
  const starts = sequenceStarts(args.offsets, sequences, args.tokens);
  const x = inputOf(args.x);
  const weight = floats(args.weight);
  const bias = maybe(args.bias);
  const initial = maybe(args.initialState);
  const final = maybe(args.finalState);
  const y = floats(args.y);
  const history = width - 1;
  const line = new Float64Array(history + starts[sequences]);
  for (let n = 0; n < sequences; n++) {
    const start = starts[n];
    const length = starts[n + 1] - start;
    for (let c = 0; c < d; c++) {
      const stateAt = (n * d + c) * history;
      fillLine(line, x, start, length, c, initial, stateAt, history);
      for (let t = 0; t < length; t++) {
        const z = convolve(line, t, weight, c * width, width, bias ? bias[c] : 0);
        y[(start + t) * d + c] = activated ? silu(z) : z;
      }
      if (final) for (let i = 0; i < history; i++) final[stateAt + i] = line[length + i];
    }
  }
}

export function shortConvBackward(args: KernelArguments<'shortConvBackward'>): void {
  const { sequences, d, width } = args;
  const activated = ACTIVATIONS[args.activation] === 'silu';
  const starts = sequenceStarts(args.offsets, sequences, args.tokens);
  const x = inputOf(args.x);
  const weight = floats(args.weight);
  const bias = maybe(args.bias);
  const initial = maybe(args.initialState);
  const dy = floats(args.dy);
  const dfinal = maybe(args.dfinalState);
  const dx = floats(args.dx);
  const dinitial = maybe(args.dinitialState);
  const history = width - 1;
  const line = new Float64Array(history + starts[sequences]);
  const dline = new Float64Array(line.length);
  const dweight = new Float64Array(d * width);
  const dbias = new Float64Array(d);
  for (let n = 0; n < sequences; n++) {
    const start = starts[n];
    const length = starts[n + 1] - start;
    for (let c = 0; c < d; c++) {
      const stateAt = (n * d + c) * history;
      fillLine(line, x, start, length, c, initial, stateAt, history);
      dline.fill(0, 0, history + length);
      if (dfinal) for (let i = 0; i < history; i++) dline[length + i] = dfinal[stateAt + i];
      for (let t = 0; t < length; t++) {
        let dz = dy[(start + t) * d + c];
        if (activated) dz *= siluDerivative(convolve(line, t, weight, c * width, width, bias ? bias[c] : 0));
        for (let i = 0; i < width; i++) {
          dweight[c * width + i] += dz * line[t + i];
          dline[t + i] += dz * weight[c * width + i];
        }
        dbias[c] += dz;
      }
      for (let t = 0; t < length; t++) dx[(start + t) * d + c] = dline[history + t];
      if (dinitial) for (let i = 0; i < history; i++) dinitial[stateAt + i] = dline[i];
    }
  }
  floats(args.dweight).set(dweight);
  maybe(args.dbias)?.set(dbias);
}

export function shortConvStep(args: KernelArguments<'shortConvStep'>): void {
  const { batch, d, width } = args;
  const activated = ACTIVATIONS[args.activation] === 'silu';
  const x = floats(args.x);
  const weight = floats(args.weight);
  const bias = maybe(args.bias);
  const state = floats(args.state);
  const y = floats(args.y);
  const history = width - 1;
  const line = new Float64Array(width);
  for (let at = 0; at < batch * d; at++) {
    const c = at % d;
    for (let i = 0; i < history; i++) line[i] = state[at * history + i];
    line[history] = x[at];
    const z = convolve(line, 0, weight, c * width, width, bias ? bias[c] : 0);
    y[at] = activated ? silu(z) : z;
    for (let i = 0; i < history; i++) state[at * history + i] = line[i + 1];
  }
}
