// Networks whose every synapse changes by a Hebbian rule of its own, found by evolution (Najarro, Risi 2020; spec 2.10).
import {
  argumentError,
  checkChoice,
  checkObject,
  checkOptions,
  describe,
  type OptionNames,
  scoped,
  Tensor,
} from '../../core';
import type { CuSeqlens } from '../../ops';
import { rowsBy } from '../sequential/batched';
import { defineSequential } from '../sequential/define';
import { overTime } from '../sequential/overTime';
import type { Shapes } from '../sequential/shapes';

/** The terms of each rule, in the order of its coefficients; a rate multiplies all terms but Dout. */
const TERMS = {
  A: ['A'],
  AD: ['A', 'D'],
  AD_lr: ['A', 'D', 'rate'],
  ABC: ['A', 'B', 'C'],
  ABC_lr: ['A', 'B', 'C', 'rate'],
  ABCD: ['A', 'B', 'C', 'D'],
  ABCD_lr: ['A', 'B', 'C', 'rate', 'D'],
  ABCD_lr_D_out: ['A', 'B', 'C', 'rate', 'Dout'],
  ABCD_lr_D_in_and_out: ['A', 'B', 'C', 'rate', 'D', 'Dout'],
} as const;

/** Which terms the change of a weight has. */
export type AbcdRule = keyof typeof TERMS;

/** The rules of `abcd`, from the fewest terms to the most. */
export const ABCD_RULES = Object.keys(TERMS) as AbcdRule[];

/** How many coefficients a synapse has. */
export const abcdTerms = (rule: AbcdRule): number => TERMS[checkChoice('abcdTerms', 'rule', rule, ABCD_RULES)].length;

/** Options of `abcd`. */
export interface AbcdOptions {
  /** 'ABCD_lr' by default. */
  rule?: AbcdRule;
  /** Whether a layer's weights are divided by the largest of their absolute values after each change; false by default. */
  normalise?: boolean;
  /** What the last layer's output goes through; 'none' by default. */
  outputActivation?: 'none' | 'tanh';
}

/** Inputs of `abcd`: x, and of every layer from 1 on weight<i> and coefficients<i>. */
export type AbcdInputs = { x: Tensor } & { [name: `${'weight' | 'coefficients'}${number}`]: Tensor };

/** The weights after the last token, with `outputFinalState`. */
export type AbcdResult = { output: Tensor } & { [name: `finalWeight${number}`]: Tensor };

const OPTIONS: OptionNames<AbcdOptions> = { rule: true, normalise: 'flag', outputActivation: true };

type Named = Record<string, Tensor>;

/** The coefficients of a layer by their terms, [in, out] or [B, in, out] each, rates multiplied into the others. */
function termsOf(rule: AbcdRule, layer: number, coefficients: Tensor): Named {
  const terms = TERMS[rule];
  const parts = terms.length === 1 ? [coefficients] : coefficients.unbind(-1);
  const of: Partial<Record<(typeof terms)[number], Tensor>> = Object.fromEntries(
    terms.map((term, i) => [term, parts[i]]),
  );
  const { rate, Dout } = of;
  const rated = (t: Tensor | undefined): Tensor | undefined => (t && rate ? t.mul(rate) : t);
  const { A, B, C, D }: typeof of = { A: rated(of.A), B: rated(of.B), C: rated(of.C), D: rated(of.D) };
  const constant = D && Dout ? D.add(Dout) : (D ?? Dout);
  const given = Object.entries({ A, B, C, D: constant }).filter(([, t]) => t);
  return Object.fromEntries(given.map(([term, t]) => [`${term}${layer}`, t!.contiguous()]));
}

/** What the weights between activities `pre` [B, in] and `post` [B, out] change by: (A pre + C) post + B pre + D. */
function change(own: Named, layer: number, pre: Tensor, post: Tensor): Tensor {
  const [A, B, C, D] = ['A', 'B', 'C', 'D'].map((term) => own[`${term}${layer}`] as Tensor | undefined);
  const [row, column] = [pre.unsqueeze(2), post.unsqueeze(1)];
  const both = A!.mul(row);
  const changed = (C ? both.add(C) : both).mul(column);
  if (!B) return D ? changed.add(D) : changed;
  const alone = B.mul(row);
  return changed.add(D ? alone.add(D) : alone);
}

/** W [B, in, out] over the largest of its absolute values; zeros stay zeros. */
function overLargest(W: Tensor): Tensor {
  const largest = W.abs().max([1, 2], true);
  return W.div(largest.add(largest.eq(0).to(W.dtype)));
}

/** The definition for a number of layers and a rule, over B episodes. */
function define(layers: number, rule: AbcdRule) {
  const count = TERMS[rule].length;
  const each = Array.from({ length: layers }, (_, i) => ({ layer: i + 1, form: `N${i} N${i + 1}` }));
  const forms = each.map(({ layer, form }) => {
    const own = count === 1 ? form : `${form} ${count}`;
    return [`coefficients${layer}`, `${own} | B ${own}`];
  });
  const inputs: Shapes = { x: 'B T N0', ...(Object.fromEntries(forms) as Shapes) };
  const states: Shapes = Object.fromEntries(each.map(({ layer, form }) => [`weight${layer}`, `B ${form}`]));
  return defineSequential({
    name: 'abcd',
    inputs,
    states,
    initialNames: Object.fromEntries(each.map(({ layer }) => [`weight${layer}`, `weight${layer}`])),
    options: OPTIONS,
    settings: (where, options: AbcdOptions) => ({
      normalise: options.normalise ?? false,
      outputActivation: checkChoice(where, 'outputActivation', options.outputActivation ?? 'none', ['none', 'tanh']),
    }),
    run({ inputs: given, states: before, settings: { normalise, outputActivation } }) {
      const { x, ...coefficients } = given as Named;
      const parts = each.map(({ layer }) => termsOf(rule, layer, coefficients[`coefficients${layer}`]));
      const weights = Object.fromEntries(parts.flatMap((part) => Object.entries(part)));
      return overTime({ tokens: { x }, states: before, weights }, (token, state, own: Named) => {
        const activities = [token.x];
        for (const { layer } of each) {
          const z = rowsBy(state[`weight${layer}`], activities[layer - 1]);
          activities.push(layer < layers || outputActivation === 'tanh' ? z.tanh() : z);
        }
        const after = each.map(({ layer }) => {
          const W = state[`weight${layer}`].add(change(own, layer, activities[layer - 1], activities[layer]));
          return [`weight${layer}`, normalise ? overLargest(W) : W];
        });
        return { output: activities[layers], states: Object.fromEntries(after) as Named };
      });
    },
  });
}

const definitions = new Map<string, ReturnType<typeof define>>();

const isWeight = (name: string): boolean => /^weight[1-9]\d*$/.test(name);

/** The definition that the inputs and options ask for. */
function definitionOf(where: string, inputs: Named, options: AbcdOptions, needWeights: boolean) {
  const rule = checkChoice(where, 'rule', options.rule ?? 'ABCD_lr', ABCD_RULES);
  const layers = Object.keys(inputs).filter((name) => /^coefficients[1-9]\d*$/.test(name)).length;
  if (layers === 0)
    throw argumentError('INVALID_ARGUMENT', where, 'coefficients1', 'given for a layer at least', 'none');
  for (let layer = 1; layer <= layers; layer++) {
    const names = needWeights ? [`coefficients${layer}`, `weight${layer}`] : [`coefficients${layer}`];
    for (const name of names) {
      if (inputs[name] instanceof Tensor) continue;
      throw argumentError('INVALID_ARGUMENT', where, name, 'a tensor', describe(inputs[name]));
    }
  }
  const key = `${layers} ${rule}`;
  const found = definitions.get(key) ?? define(layers, rule);
  definitions.set(key, found);
  return found;
}

/** Sequences x [B, T, I] as they are; one episode x [T, I] as a batch of one. */
function sequence(inputs: AbcdInputs, options: AbcdOptions & { outputFinalState?: boolean; cuSeqlens?: unknown }) {
  checkOptions<object>('abcd', options, { ...OPTIONS, outputFinalState: 'flag', cuSeqlens: true });
  const rule = definitionOf('abcd', inputs, options, true);
  const one = inputs.x instanceof Tensor && inputs.x.ndim === 2;
  const { cuSeqlens } = options;
  const batch = one || !(inputs.x instanceof Tensor) ? 1 : inputs.x.shape[0];
  const members = Array.isArray(cuSeqlens) ? cuSeqlens.length - 1 : batch;
  const given = Object.entries(inputs).map(([name, t]: [string, Tensor]) => {
    if (name === 'x' && one) return [name, t.unsqueeze(0)];
    const shared = isWeight(name) && t.ndim === 2;
    return [name, shared ? t.unsqueeze(0).expand(members, ...t.shape) : t];
  });
  const result = rule(Object.fromEntries(given) as never, options as never) as Named;
  if (!one) return result;
  return Object.fromEntries(Object.entries(result).map(([name, t]) => [name, t.squeeze(0)]));
}

function step(inputs: AbcdInputs, options: AbcdOptions & { state: Named }): Tensor {
  checkOptions<object>('abcd.step', options, { ...OPTIONS, state: true });
  const rule = definitionOf('abcd.step', inputs, options, false);
  if (!(inputs.x instanceof Tensor) || inputs.x.ndim !== 1) return rule.step(inputs, options);
  checkObject('abcd.step', 'state', options.state);
  const views = Object.entries(options.state).map(([name, t]) => [name, t instanceof Tensor ? t.unsqueeze(0) : t]);
  const state = Object.fromEntries(views) as Named;
  return rule.step({ ...inputs, x: inputs.x.unsqueeze(0) }, { ...options, state }).squeeze(0);
}

const sequenceOf = scoped(sequence);
const stepOf = scoped(step);

/** A rule over whole episodes and, with `step`, one token at a time. */
export interface Abcd {
  (
    inputs: AbcdInputs,
    options?: AbcdOptions & { outputFinalState?: boolean; cuSeqlens?: CuSeqlens | null },
  ): AbcdResult;
  /** One token x [I] or [B, I] with coefficients; the weights, state weight<i>, change in place; only inside noGrad. */
  step(inputs: AbcdInputs, options: AbcdOptions & { state: Record<string, Tensor> }): Tensor;
}

/**
 * A network of tanh layers without biases whose weights change after every token by what they connect: of a synapse between
 * o_i before and o_j behind it (both after their activation; o of the first layer is x)
 * dw = rate (A o_i o_j + B o_i + C o_j + D), as far as the rule has the terms; Dout is added outside the rate. One episode
 * x [T, I] with weight<i> [in, out] and coefficients<i> [in, out, terms] ('A': [in, out]), the terms in the order A, B, C,
 * rate, D, Dout ('AD_lr': A, D, rate), for layers i = 1, 2, ...; or B of them, x [B, T, I], weights [in, out] or
 * [B, in, out], and coefficients for all or, as a population has them, [B, in, out, terms]. Returns output [T, O] or
 * [B, T, O] and, with `outputFinalState`, finalWeight<i>. Najarro, Risi 2020 (enajx/HebbianMetaLearning), where evolution
 * finds the coefficients (`optim.EvolutionStrategy`); spec 2.10.
 */
export const abcd: Abcd = Object.assign(
  (inputs: AbcdInputs, options: object = {}) => {
    checkObject('abcd', 'inputs', inputs);
    return sequenceOf(inputs, options);
  },
  {
    step: (inputs: AbcdInputs, options: AbcdOptions & { state: Named }) => {
      checkObject('abcd.step', 'inputs', inputs);
      return stepOf(inputs, options);
    },
  },
) as unknown as Abcd;
