// Recurrent networks with plastic connections: differentiable plasticity (Miconi, Stanley, Clune 2018) and Backpropamine
// (Miconi, Rawal, Clune, Stanley 2019), whose plasticity a modulator sets (spec 2.10).
import { checkChoice, checkNumber, type Tensor } from '../../core';
import { outerOf, rowsBy } from '../sequential/batched';
import { checkTogether } from '../sequential/checks';
import { defineSequential } from '../sequential/define';
import { overTime } from '../sequential/overTime';

const RULES = ['hebb', 'oja', 'hebbClipped', 'modulated', 'retroactive'] as const;
const MODULATORS = ['tanh', 'sigmoid', 'linear'] as const;

/** Options of `plasticity`. */
export interface PlasticityOptions {
  /** How the traces change: 'hebb' by default. */
  rule?: (typeof RULES)[number];
  /** Of the rules that clip: most that a trace may be, either sign; 1 by default, 2 with `fanout`. */
  clip?: number | null;
  /** Of 'modulated' and 'retroactive': what the modulator's output goes through, 'tanh' by default. */
  modulator?: (typeof MODULATORS)[number] | null;
  /** Of 'modulated': whether every neuron has its own weight for the modulator; false by default. */
  fanout?: boolean;
}

type Named = Record<string, Tensor>;

interface Settings {
  rule: (typeof RULES)[number];
  clip: number;
  modulator: (typeof MODULATORS)[number];
  fanout: boolean;
}

function settingsOf(where: string, options: PlasticityOptions, inputs: object): Settings {
  const rule = checkChoice(where, 'rule', options.rule ?? 'hebb', RULES);
  const [modulated, traced] = [rule === 'modulated', rule === 'retroactive'];
  const fanout = options.fanout ?? false;
  const when = `rule '${rule}'`;
  if (!modulated && fanout) checkTogether(where, options, { fanout: false }, when);
  if (!modulated && !traced) checkTogether(where, options, { modulator: false }, when);
  if (rule === 'hebb' || rule === 'oja') checkTogether(where, options, { clip: false }, when);
  const own = { eta: !modulated, modulatorWeight: modulated || traced, modulatorBias: modulated || traced };
  checkTogether(where, inputs, own, when);
  const fans = `${when}, fanout ${fanout}`;
  checkTogether(where, inputs, { fanoutWeight: fanout, fanoutBias: fanout }, modulated ? fans : when);
  return {
    rule,
    clip: checkNumber(where, 'clip', options.clip ?? (fanout ? 2 : 1), 0),
    modulator: checkChoice(where, 'modulator', options.modulator ?? 'tanh', MODULATORS),
    fanout,
  };
}

/** How the traces follow from those before, the activities y before and h after them, and the modulator's M [B, 1 or D]. */
function changed(rule: Settings['rule'], clip: number, before: Named, h: Tensor, own: Named, M: Tensor | null): Named {
  const { hidden: y, state } = before;
  const limited = (t: Tensor): Tensor => t.clamp(-clip, clip);
  switch (rule) {
    case 'hebb':
      return { state: state.mul(own.keep).add(outerOf(y.mul(own.eta), h)) };
    case 'oja': {
      const kept = h.square().mul(own.eta).neg().add(1);
      return { state: state.mul(kept.unsqueeze(1)).add(outerOf(y.mul(own.eta), h)) };
    }
    case 'hebbClipped':
      return { state: limited(state.add(outerOf(y.mul(own.eta), h))) };
    case 'modulated':
      return { state: limited(state.add(outerOf(y, h.mul(M!)))) };
    case 'retroactive': {
      const trace = before.trace.mul(own.keep).add(outerOf(y.mul(own.eta), h));
      return { state: limited(state.add(before.trace.mul(M!.unsqueeze(2)))), trace };
    }
  }
}

/**
 * A recurrent network with fixed weights and plastic ones: h_t = tanh(input_t + h_{t-1} (weight + alpha * S_{t-1})), of
 * which the traces S (rows pre-synaptic, y = h_{t-1}; columns post-synaptic, h = h_t) change after they were read:
 *
 * - 'hebb': S = (1 - eta) S + eta y h^T
 * - 'oja': S_ij += eta h_j (y_i - h_j S_ij)
 * - 'hebbClipped': S = clip(S + eta y h^T)
 * - 'modulated': S = clip(S + y (M * h)^T), m = modulator(h . modulatorWeight + modulatorBias), M = m, with `fanout`
 *   M = fanoutWeight m + fanoutBias
 * - 'retroactive': S = clip(S + m E) with the old E, then the eligibility traces E = (1 - eta) E + eta y h^T
 *
 * input [B, T, D], weight and alpha [D, D]; eta [1] with every rule but 'modulated'; modulatorWeight [D] and
 * modulatorBias [1] with 'modulated' and 'retroactive'; fanoutWeight and fanoutBias [D] with `fanout`. States hidden
 * [B, D], S `state` [B, D, D] and, with 'retroactive', E `trace` [B, D, D]. What a rule has no use for is refused
 * (INVALID_ARGUMENT). Differentiable plasticity, Miconi, Stanley, Clune 2018 (`simple.py`); Backpropamine, Miconi et al.
 * 2019 (`simplemaze/maze.py`, `sr/modul.py`); spec 2.10.
 */
export const plasticity = defineSequential({
  name: 'plasticity',
  inputs: {
    input: 'B T D',
    weight: 'D D',
    alpha: 'D D',
    eta: '1?',
    modulatorWeight: 'D?',
    modulatorBias: '1?',
    fanoutWeight: 'D?',
    fanoutBias: 'D?',
  },
  states: { hidden: 'B D', state: 'B D D', trace: 'B D D' },
  options: { rule: true, clip: true, modulator: true, fanout: 'flag' },
  settings: settingsOf,
  without: ({ rule }) => (rule === 'retroactive' ? [] : ['trace']),
  run({ inputs: { input, weight, alpha, eta, modulatorWeight, modulatorBias, ...fan }, states, settings }) {
    const { rule, clip, modulator, fanout } = settings;
    const weights: Named = {
      weight,
      alpha,
      ...(eta && { eta, keep: eta.neg().add(1) }),
      ...(modulatorWeight && { modulatorWeight: modulatorWeight.unsqueeze(1), modulatorBias: modulatorBias! }),
      ...(fanout && { fanoutWeight: fan.fanoutWeight!, fanoutBias: fan.fanoutBias! }),
    };
    const modulate = (h: Tensor, own: Named): Tensor => {
      const z = h.matmul(own.modulatorWeight).add(own.modulatorBias);
      const m = modulator === 'linear' ? z : modulator === 'tanh' ? z.tanh() : z.sigmoid();
      return fanout ? m.mul(own.fanoutWeight).add(own.fanoutBias) : m;
    };
    return overTime({ tokens: { input }, states, weights }, (token, before, own) => {
      const { hidden, state } = before;
      const read = rowsBy(state.mul(own.alpha), hidden);
      const h = token.input.add(hidden.matmul(own.weight)).add(read).tanh();
      const M = modulatorWeight ? modulate(h, own) : null;
      return { output: h, states: { ...before, hidden: h, ...changed(rule, clip, before, h, own, M) } };
    });
  },
});
