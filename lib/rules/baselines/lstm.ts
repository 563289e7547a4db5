// Long short-term memory (Hochreiter and Schmidhuber 1997; with forget gates Gers et al. 2000), PyTorch's equations and layout
// (spec 2.12).
import { Tensor } from '../../core';
import { lstm as lstmLayers, type LstmLayer, type LstmResult, type LstmState } from '../../ops';
import { defineLayers, type LayeredOptions, type LayeredRule } from './layers';

/** Options of `lstm` in the form of a rule. */
export type LstmOptions = LayeredOptions;

const rule = defineLayers({
  name: 'lstm',
  gates: 4,
  states: ['hidden', 'cell'],
  options: { layers: true },
  settings: (_where, _options: LstmOptions) => null,
  run(x, layers, states) {
    let output = x;
    const after = layers.map((layer, l) => {
      const before = { hidden: states.hidden[l].unsqueeze(0), cell: states.cell[l].unsqueeze(0) };
      const result = lstmLayers(output, [layer], before);
      output = result.output;
      return result.finalState;
    });
    const apart = (state: 'hidden' | 'cell'): Tensor[] => after.map((layer) => layer[state].squeeze(0));
    return { output, states: { hidden: apart('hidden'), cell: apart('cell') } };
  },
});

type Lstm = LayeredRule<'hidden' | 'cell', LstmOptions> & {
  (x: Tensor, layers: readonly LstmLayer[], initial?: LstmState): LstmResult;
};

const either = (...given: unknown[]): unknown =>
  given[0] instanceof Tensor || given.length > 2
    ? (lstmLayers as (...all: unknown[]) => unknown)(...given)
    : (rule as unknown as (...all: unknown[]) => unknown)(...given);

/**
 * i, f, g, o = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh; c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g);
 * h_t = sigmoid(o) tanh(c_t), layer upon layer: output [B, T, D] of the last one. As a rule: x [B, T, I], weightIh0 [4 D, I],
 * weightHh0 [4 D, D], biasIh0, biasHh0 [4 D], weightIh1 [4 D, D], ...; states `hidden` and `cell` [layers, B, D]; cuSeqlens.
 * As an operator: `lstm(x, [{ weightIh, weightHh, biasIh, biasHh }, ...], { hidden, cell })` gives `{ output, finalState }`.
 */
export const lstm = Object.assign(either as Lstm, { step: rule.step });
