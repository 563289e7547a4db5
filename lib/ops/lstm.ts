// The LSTM baseline (PyTorch's equations and weight layout).
import { argumentError, checkOptions, describe, formatShape, type OptionNames, type Tensor, scoped } from '../core';
import { type BackwardFunction, record, throughComposition } from '../autograd';
import { checkAlike, checkFloat, checkShape, emptyLike, kernelsOf, toFloat32, zerosBeside } from './kernel';
import { add, mul, sigmoid, tanh } from './elementwise';
import { linear } from './linear';
import { split, stack } from './join';
import { contiguous } from './view';

/** The weights of one layer: [4 D, I], [4 D, D], and biases [4 D]; gate order input, forget, cell, output. */
export interface LstmLayer {
  /** [4 D, I]; of every further layer I is the D of the one below. */
  weightIh: Tensor;
  /** [4 D, D], of the hidden state of the token before. */
  weightHh: Tensor;
  /** [4 D], none by default. */
  biasIh?: Tensor | null;
  /** [4 D], none by default; PyTorch keeps both, and only their sum matters. */
  biasHh?: Tensor | null;
}

/** States of all layers, [layers, B, D] each. */
export interface LstmState {
  /** h, what a layer gives out: [layers, B, D]. */
  hidden: Tensor;
  /** c, what it remembers: [layers, B, D]. */
  cell: Tensor;
}

const LAYER: OptionNames<LstmLayer> = { weightIh: true, weightHh: true, biasIh: true, biasHh: true };
const STATE: OptionNames<LstmState> = { hidden: true, cell: true };

/** One step from the gates' pre-activations [B, 4 D] and the cell [B, D]. */
function cellStep(gates: Tensor, cell: Tensor): [hidden: Tensor, cell: Tensor] {
  const [rows, d] = cell.shape;
  const [g, c] = [contiguous(gates), contiguous(cell)];
  const newCell = emptyLike(c);
  const hidden = emptyLike(c);
  kernelsOf(c).lstmCell({ gates: g, cell: c, newCell, hidden, rows, d });
  const back: BackwardFunction = ([dh, dc], [sg, sc, sn]) => {
    const dgates = emptyLike(sg);
    const dcell = emptyLike(sc);
    kernelsOf(sc).lstmCellBackward({
      gates: sg,
      cell: sc,
      newCell: sn,
      dhidden: dh ? contiguous(dh) : zerosBeside(sc),
      dnewCell: dc && contiguous(dc),
      dgates,
      dcell,
      rows,
      d,
    });
    return [dgates, dcell];
  };
  const recorded: BackwardFunction = (gradients, [sg, sc]) => throughComposition(plainStep, [sg, sc], gradients);
  record('lstm', [gates, cell], [hidden, newCell], [g, c, newCell], back, recorded);
  return [hidden, newCell];
}

/** The same out of operators. */
function plainStep(gates: Tensor, cell: Tensor): Tensor[] {
  const d = cell.shape[1];
  const [input, forget, candidate, output] = split(gates, [d, d, d, d], 1);
  const newCell = add(mul(sigmoid(forget), cell), mul(sigmoid(input), tanh(candidate)));
  return [mul(sigmoid(output), tanh(newCell)), newCell];
}

export interface LstmResult {
  output: Tensor;
  finalState: LstmState;
}

/**
 * Runs layers of LSTM over x [B, T, I]: output [B, T, D] of the last layer and the final states, which are float32 also
 * for bfloat16: what a cell sums up over time is not rounded on the way.
 */
export const lstm = scoped((x: Tensor, layers: readonly LstmLayer[], initial?: LstmState): LstmResult => {
  checkFloat('lstm', 'x', x);
  if (x.ndim !== 3) throw argumentError('SHAPE', 'lstm', 'x', '[B, T, I]', formatShape(x.shape));
  if (!Array.isArray(layers) || layers.length === 0) {
    throw argumentError('INVALID_ARGUMENT', 'lstm', 'layers', 'a list of at least one layer', describe(layers));
  }
  if (initial !== undefined) checkOptions('lstm', initial, STATE);
  const [batch, tokens] = x.shape;
  const finals: [Tensor, Tensor][] = [];
  let sequence = toFloat32(x);
  layers.forEach((layer: LstmLayer, l) => {
    checkOptions('lstm', layer, LAYER);
    checkFloat('lstm', `weightIh${l}`, layer.weightIh);
    checkFloat('lstm', `weightHh${l}`, layer.weightHh);
    const d = layer.weightHh.shape[1];
    checkAlike('lstm', `weightIh${l}`, layer.weightIh, x, 'x');
    const weightHh = toFloat32(layer.weightHh);
    const biasHh = toFloat32(layer.biasHh ?? null);
    checkShape('lstm', `weightHh${l}`, layer.weightHh, [4 * d, d], '4 D, D');
    for (const part of ['hidden', 'cell'] as const) {
      if (!initial) continue;
      checkFloat('lstm', `initial ${part}`, initial[part]);
      checkShape('lstm', `initial ${part}`, initial[part], [layers.length, batch, d], 'layers, batch, D');
    }
    const fromInput = linear(sequence, toFloat32(layer.weightIh), toFloat32(layer.biasIh ?? null));
    let [hidden, cell] = (['hidden', 'cell'] as const).map((part) =>
      initial ? toFloat32(initial[part].slice(0, l, l + 1).squeeze(0)) : zerosBeside(sequence, [batch, d]),
    );
    const outputs: Tensor[] = [];
    for (const step of split(fromInput, new Array<number>(tokens).fill(1), 1)) {
      const gates = add(step.squeeze(1), linear(hidden, weightHh, biasHh));
      [hidden, cell] = cellStep(gates, cell);
      outputs.push(hidden);
    }
    finals.push([hidden, cell]);
    sequence =
      tokens > 0 ? stack(outputs, 1) : add(fromInput, linear(hidden, weightHh, biasHh).unsqueeze(1)).slice(2, 0, d);
  });
  return {
    output: sequence.to(x.dtype),
    finalState: { hidden: stack(finals.map((f) => f[0])), cell: stack(finals.map((f) => f[1])) },
  };
});
