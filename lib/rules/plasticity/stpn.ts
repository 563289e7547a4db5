// Short-term plasticity neurons: every synapse has its own trained decay and rate (Rodriguez, Guo, Moraitis 2022; spec 2.10).
import { argumentError, checkChoice, type OptionNames, type Tensor } from '../../core';
import { cat, linear } from '../../ops';
import { columnsBy, outerOf, rowsBy } from '../sequential/batched';
import { checkTogether } from '../sequential/checks';
import { defineSequential } from '../sequential/define';
import { overTime } from '../sequential/overTime';
import type { Shapes } from '../sequential/shapes';
import type { Ran } from '../sequential/types';
import { defineVariants } from '../sequential/variants';

const RULES = ['hebb', 'oja'] as const;
const PLASTIC = ['all', 'hidden', 'input'] as const;
const ACTIVATIONS = ['tanh', 'relu', 'none'] as const;

/** Options of `stpn`. */
export interface StpnOptions {
  /** Whether h_{t-1} is among what a token sees; true by default. */
  recurrent?: boolean;
  /** How F is written: 'hebb' by default. */
  rule?: (typeof RULES)[number];
  /** Which columns of the weights are plastic: 'all' by default; of a layer that is not recurrent there is only that. */
  plastic?: (typeof PLASTIC)[number];
  /** Whether rows of weight + F, and F with them, are brought to length 1 before use; false by default. */
  weightNorm?: boolean;
  /** What the output goes through: 'tanh' by default. */
  activation?: (typeof ACTIVATIONS)[number];
  /** Whether lambda and gamma are one number each, [1], instead of one per synapse; false by default. */
  scalarRates?: boolean;
}

const OPTIONS: OptionNames<StpnOptions> = {
  recurrent: 'flag',
  rule: true,
  plastic: true,
  weightNorm: 'flag',
  activation: true,
  scalarRates: 'flag',
};

type Named = Record<string, Tensor>;

function settingsOf(where: string, options: StpnOptions) {
  return {
    rule: checkChoice(where, 'rule', options.rule ?? 'hebb', RULES),
    weightNorm: options.weightNorm ?? false,
    activation: checkChoice(where, 'activation', options.activation ?? 'tanh', ACTIVATIONS),
    scalarRates: options.scalarRates ?? false,
  };
}

interface Layer {
  /** What the weights see: x, and h_{t-1} if it is recurrent; as shapes say it. */
  columns: 'I+D' | 'I';
  /** Those of them that are plastic. */
  plastic: 'I+D' | 'I' | 'D';
  scalar: boolean;
}

/** The definition of one kind of layer. */
function define({ columns, plastic, scalar }: Layer) {
  const recurrent = columns === 'I+D';
  const rates = scalar ? '1' : `D ${plastic}`;
  const synapses = { state: `B D ${plastic}` };
  const run = (inputs: Named, states: Named, settings: ReturnType<typeof settingsOf>, I: number): Ran<Shapes> => {
    const { x, weight, bias, lambda, gamma } = inputs;
    const fromInput = recurrent ? weight.slice(1, 0, I) : weight;
    const { rule, weightNorm, activation } = settings;
    const weights: Named = {
      lambda,
      gamma,
      ...(recurrent && { fromHidden: weight.slice(1, I) }),
      ...(weightNorm && { weight, ...(bias && { bias }) }),
    };
    // With the norm the bias comes after what divides the sum.
    const slow = linear(x, fromInput, weightNorm ? null : bias);
    const tokens = { slow, ...((plastic !== 'D' || weightNorm) && { x }) } as Named;
    return overTime({ tokens, states, weights }, (token, before, own: Named) => {
      const { hidden } = before;
      const z = plastic === 'D' ? hidden : plastic === 'I' ? token.x : cat([token.x, hidden], 1);
      let F = before.state;
      let sum = recurrent ? token.slow.add(linear(hidden, own.fromHidden)) : token.slow;
      sum = sum.add(columnsBy(F, z));
      if (weightNorm) {
        const norm = rowNorm(own.weight, F, plastic, I);
        F = F.div(norm.unsqueeze(2));
        sum = sum.div(norm);
        if (own.bias) sum = sum.add(own.bias);
      }
      const h = activation === 'none' ? sum : activation === 'tanh' ? sum.tanh() : sum.relu();
      const pre = rule === 'oja' ? z.sub(rowsBy(F, h)) : z;
      const written = scalar ? outerOf(h.mul(own.gamma), pre) : outerOf(h, pre).mul(own.gamma);
      const state = F.mul(own.lambda).add(written);
      return { output: h, states: { ...(recurrent && { hidden: h }), state } };
    });
  };
  return defineSequential({
    name: 'stpn',
    inputs: { x: 'B T I', weight: `D ${columns}`, bias: 'D?', lambda: rates, gamma: rates },
    states: recurrent ? { hidden: 'B D', ...synapses } : synapses,
    options: OPTIONS,
    settings: settingsOf,
    run: ({ inputs, states, settings, sizes }) => run(inputs as Named, states, settings, sizes.I) as never,
  });
}

/** Lengths [B, D] of the rows of weight + F, F standing at the plastic columns. */
function rowNorm(weight: Tensor, F: Tensor, plastic: Layer['plastic'], I: number): Tensor {
  const columns = weight.shape[1];
  const [from, to] = plastic === 'D' ? [I, columns] : [0, F.shape[2]];
  const total = F.add(weight.slice(1, from, to))
    .square()
    .sum(2);
  if (to - from === columns) return total.sqrt();
  const rest = from > 0 ? weight.slice(1, 0, from) : weight.slice(1, to);
  return total.add(rest.square().sum(1)).sqrt();
}

const layers = new Map<string, ReturnType<typeof define>>();

/** Inputs of every kind of layer, as types know them. */
type Inputs = { x: 'B T I'; weight: 'D I+D | D I'; bias: 'D?'; lambda: 'D I+D | 1'; gamma: 'D I+D | 1' };
type LayerStates = { hidden: 'B D'; state: 'B D I+D' };

/**
 * h_t = tanh((weight + F_{t-1}) z_t + bias), z_t = [x_t; h_{t-1}], F_t = lambda * F_{t-1} + gamma * h_t z_t^T, where lambda
 * and gamma are decay and rate of every single synapse: output [B, T, D]. With rule 'oja' z_t - F_{t-1}^T h_t is written
 * in the place of z_t. x [B, T, I], weight [D, I + D], bias [D] or none; lambda, gamma [D, P] for P plastic columns: I + D,
 * with `plastic: 'hidden'` D, with 'input' I; [1] with `scalarRates`. States hidden [B, D] and F `state` [B, D, P].
 * With `recurrent: false` z_t = x_t, weight [D, I], and there is no hidden state. Rodriguez, Guo, Moraitis 2022 (`STPNr`,
 * `STPNF`); spec 2.10. Their program for associative retrieval puts h_t where h_{t-1} stands here.
 */
export const stpn = defineVariants<Inputs, LayerStates, StpnOptions>('stpn', OPTIONS, (where, options, inputs) => {
  const recurrent = options.recurrent ?? true;
  const plastic = checkChoice(where, 'plastic', options.plastic ?? 'all', PLASTIC);
  if (!recurrent) {
    if (plastic === 'hidden') {
      throw argumentError('INVALID_ARGUMENT', where, 'plastic', "'all' with recurrent false", "'hidden'");
    }
    checkTogether(where, inputs, { initialHidden: false }, 'recurrent false');
  }
  const scalar = options.scalarRates ?? false;
  const key = `${recurrent} ${plastic} ${scalar}`;
  const columns = { all: 'I+D', hidden: 'D', input: 'I' } as const;
  const layer: Layer = recurrent
    ? { columns: 'I+D', plastic: columns[plastic], scalar }
    : { columns: 'I', plastic: 'I', scalar };
  const found = layers.get(key) ?? define(layer);
  layers.set(key, found);
  return found;
});
