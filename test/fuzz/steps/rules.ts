// Every rule with all of its options, over sequences and one token at a time.
import * as fw from '../../../lib';
import type { Builder, LeafOptions } from '../builder';
import { Fault } from '../program';
import type { Random } from '../random';
import { checkSame } from './inPlace';
import { describe, features } from './rows';

/** Sizes of one call; `lead` is [B, T] of a sequence, [B] of one token. */
interface Sizes {
  lead: number[];
  /** Rows of keys and values: more than tokens for products of several. */
  rows: number[];
  H: number;
  HV: number;
  K: number;
  V: number;
}

interface RuleKind {
  name: string;
  /** Takes one object of named tensors. */
  general?: boolean;
  /** May be divided by the sum of keys. */
  normalizes?: boolean;
  /** Keys may get a feature map; elsewhere other inputs have their width. */
  maps?: boolean;
  gates(b: Builder, s: Sizes): { tensors: Record<string, number>; options?: Record<string, unknown> };
}

const decay: LeafOptions = { draw: (r) => -Math.abs(r.normal()) * r.pick([0.01, 0.3, 3, 30]), plain: true };
const forget: LeafOptions = {
  draw: (r) => (r.chance(0.9) ? -Math.abs(r.normal()) : r.pick([-Infinity, -1e9, -104, -88, 0, -1e-8])),
  plain: true,
};
const strength: LeafOptions = { draw: (r) => (r.chance(0.05) ? 0 : r.uniform(0, 1)), plain: true };
const small = (n: number): LeafOptions => ({ draw: (r) => r.normal() / Math.sqrt(Math.max(1, n)), plain: true });
const gateOf = (random: Random): LeafOptions => (random.chance(0.3) ? forget : decay);

function scalarOr(b: Builder, s: Sizes, width: number): number[] {
  return b.random.chance(0.5) ? [...s.lead, s.HV] : [...s.lead, s.HV, width];
}

/** Adds a tensor under a name most of the time. */
function maybe(b: Builder, tensors: Record<string, number>, name: string, make: () => number, p = 0.7): void {
  if (b.random.chance(p)) tensors[name] = make();
}

const KINDS: RuleKind[] = [
  { name: 'linearAttention', normalizes: true, maps: true, gates: () => ({ tensors: {} }) },
  { name: 'retention', maps: true, gates: () => ({ tensors: {} }) },
  {
    name: 'gatedLinearAttention',
    gates(b, s) {
      const tensors: Record<string, number> = {};
      maybe(b, tensors, 'gate', () => b.leaf(scalarOr(b, s, s.K), gateOf(b.random)));
      return { tensors };
    },
  },
  {
    name: 'deltaRule',
    normalizes: true,
    gates(b, s) {
      const tensors: Record<string, number> = {};
      maybe(b, tensors, 'beta', () => b.leaf(scalarOr(b, s, s.V), strength));
      maybe(b, tensors, 'gate', () => b.leaf(scalarOr(b, s, s.K), gateOf(b.random)));
      return { tensors };
    },
  },
  {
    name: 'deltaProduct',
    gates(b, s) {
      const tensors: Record<string, number> = {};
      maybe(b, tensors, 'beta', () => b.leaf([...s.rows, s.HV], strength));
      maybe(b, tensors, 'gate', () => b.leaf([...s.lead, s.HV], gateOf(b.random)));
      return { tensors };
    },
  },
  {
    name: 'generalizedDeltaRule',
    gates(b, s) {
      const keys = [...s.lead, s.H, s.K];
      const tensors: Record<string, number> = { a: b.leaf(keys, small(s.K)), b: b.leaf(keys, small(s.K)) };
      maybe(b, tensors, 'gate', () => b.leaf(keys, gateOf(b.random)));
      return { tensors };
    },
  },
  {
    name: 'ojaRule',
    gates(b, s) {
      const tensors: Record<string, number> = {};
      maybe(b, tensors, 'beta', () => b.leaf(scalarOr(b, s, s.K), strength));
      maybe(b, tensors, 'gate', () => b.leaf([...s.lead, s.HV, s.V], gateOf(b.random)));
      return { tensors };
    },
  },
  {
    name: 'comba',
    gates(b, s) {
      const tensors: Record<string, number> = { p: b.leaf([...s.lead, s.H, s.K], small(s.K)) };
      maybe(b, tensors, 'beta', () => b.leaf([...s.lead, s.HV], strength));
      maybe(b, tensors, 'gate', () => b.leaf([...s.lead, s.HV], gateOf(b.random)));
      return { tensors };
    },
  },
  {
    name: 'gatedDeltaRule2',
    gates(b, s) {
      const tensors: Record<string, number> = {
        eraseGate: b.leaf([...s.lead, s.H, s.K], strength),
        writeGate: b.leaf([...s.lead, s.HV, s.V], strength),
      };
      maybe(b, tensors, 'gate', () => b.leaf([...s.lead, s.HV, s.K], gateOf(b.random)));
      return { tensors };
    },
  },
  {
    name: 'rwkv6',
    gates(b, s) {
      const tensors: Record<string, number> = {};
      maybe(b, tensors, 'gate', () => b.leaf([...s.lead, s.H, s.K], gateOf(b.random)));
      maybe(b, tensors, 'bonus', () => b.leaf([s.H, s.K], small(1)));
      return { tensors };
    },
  },
  {
    name: 'recurrence',
    general: true,
    gates(b, s) {
      const { random } = b;
      const eraseFrom = random.pick(['none', 'decayed', 'undecayed']);
      const tensors: Record<string, number> = {};
      if (random.chance(0.15)) {
        tensors.valueGate = b.leaf([...s.lead, s.HV, s.V], gateOf(random));
        maybe(b, tensors, 'beta', () => b.leaf(scalarOr(b, s, s.K), strength));
        return { tensors, options: { eraseFrom } };
      }
      const heads = (): number => random.pick([s.H, s.HV]);
      const read = random.pick(['after', 'after', 'before']);
      const erases = eraseFrom !== 'none';
      maybe(b, tensors, 'gate', () =>
        b.leaf(random.chance(0.3) ? [...s.lead, s.HV] : [...s.lead, heads(), s.K], gateOf(random)),
      );
      maybe(b, tensors, 'beta', () => b.leaf(scalarOr(b, s, s.V), strength));
      if (erases) maybe(b, tensors, 'eraseKey', () => b.leaf([...s.lead, heads(), s.K], small(s.K)), 0.3);
      maybe(b, tensors, 'writeKey', () => b.leaf([...s.lead, heads(), s.K], small(s.K)), 0.3);
      if (read === 'before') maybe(b, tensors, 'bonus', () => b.leaf([s.H, s.K], small(1)), 0.5);
      return { tensors, options: { eraseFrom, read, secondWrite: erases && random.chance(0.25) } };
    },
  },
];

type Named = Record<string, fw.Tensor>;
type Result = fw.NormalizedResult;
type Rule = ((q: fw.Tensor, k: fw.Tensor, v: fw.Tensor, options: object) => Result) & {
  step(q: fw.Tensor, k: fw.Tensor, v: fw.Tensor, options: object): fw.Tensor;
};

function call(kind: RuleKind, { q, k, v, ...rest }: Named, options: object): Result {
  if (!kind.general) return (fw[kind.name as keyof typeof fw] as unknown as Rule)(q, k, v, { ...rest, ...options });
  const { initialState, ...inputs } = rest;
  return fw.recurrence({ q, k, v, ...inputs }, { initialState, ...options });
}

function callStep(kind: RuleKind, { q, k, v, ...rest }: Named, options: object): fw.Tensor {
  if (!kind.general)
    return (fw[kind.name as keyof typeof fw] as unknown as Rule).step(q, k, v, { ...rest, ...options });
  return fw.recurrence.step({ q, k, v, ...rest }, options as Parameters<typeof fw.recurrence.step>[1]);
}

/** q, k, v and the gates of a random rule. */
function drawn(b: Builder, lead: number[]) {
  const { random } = b;
  const kind = random.pick(KINDS);
  const H = random.pick([1, 1, 2, 3]);
  const rows = [...lead];
  const options: Record<string, unknown> = {};
  if (kind.name === 'deltaProduct') {
    const n = random.int(1, 3);
    options.numHouseholder = n;
    if (lead.length === 2) rows[1] *= n;
    else rows.push(n);
  }
  const many =
    Math.max(
      1,
      lead.reduce((x, y) => x * y, 1),
    ) > 40;
  const s: Sizes = {
    lead,
    rows,
    H,
    HV: H * random.pick([1, 1, 2]),
    K: b.size(many ? 17 : 40),
    V: b.size(many ? 17 : 40),
  };
  const tensors: Record<string, number> = {
    q: b.operand([...lead, s.H, s.K]),
    k: b.leaf([...rows, s.H, s.K], small(s.K)),
    v:
      kind.name === 'ojaRule' || kind.general
        ? b.leaf([...rows, s.HV, s.V], small(s.V))
        : b.operand([...rows, s.HV, s.V]),
  };
  const gates = kind.gates(b, s);
  Object.assign(tensors, gates.tensors);
  Object.assign(options, gates.options);
  if (random.chance(0.2)) options.scale = random.uniform(0.1, 2);
  // The gradient of a norm over one element is all that is left where two numbers cancel.
  if (s.K > 1 && random.chance(0.2)) options.qkL2Norm = true;
  return { kind, s, tensors, options };
}

export function rule(b: Builder): void {
  const { random } = b;
  const T = b.tokens();
  const cuSeqlens = b.packing(T);
  const B = cuSeqlens ? 1 : random.int(1, 2);
  const N = cuSeqlens ? cuSeqlens.length - 1 : B;
  const { kind, s, tensors, options } = drawn(b, [B, T]);
  let width = s.K;
  if (kind.maps && random.chance(0.3) && s.K > 0 && s.K < 9) {
    const map = features(b, s.K);
    Object.assign(tensors, map.tensors);
    Object.assign(options, map.options);
    width = -1;
  }
  if (kind.normalizes && random.chance(0.3)) {
    Object.assign(options, { normalize: true, normalizeEps: random.pick([1e-2, 1]) });
    options.featureMap ??= 'elu1';
    if (width >= 0 && random.chance(0.3)) {
      const draw = (r: Random): number => r.uniform(0.5, 2);
      tensors.initialNormalizer = b.leaf([N, s.HV, width], { draw, plain: true });
    }
  }
  const lacksSum = options.normalize === true && !tensors.initialNormalizer;
  if (width >= 0 && !lacksSum && random.chance(0.5)) tensors.initialState = b.operand([N, s.HV, width, s.V]);
  Object.assign(options, {
    cuSeqlens,
    outputFinalState: random.chance(0.7),
    mode: random.pick(['auto', 'chunk', 'recurrent']),
    chunkSize: random.pick([16, 32, 64]),
  });
  const names = Object.keys(tensors);
  b.emit('rule', `${kind.name}(${describe(options, tensors)})`, Object.values(tensors), (inputs) => {
    const given = Object.fromEntries(names.map((name, i) => [name, inputs[i]]));
    const { output, finalState, finalNormalizer } = call(kind, given, options);
    return [output, finalState, finalNormalizer].filter((t) => t !== undefined);
  });
}

/** Ways to hand over the memory for a step's output, the odd ones among them. */
const OUTS = ['none', 'none', 'new', 'slice', 'columns', 'expanded', 'v', 'state', 'shared'] as const;

export function ruleStep(b: Builder): void {
  if (b.recorded) return;
  const { random } = b;
  const B = random.int(1, 3);
  const { kind, s, tensors, options } = drawn(b, [B]);
  const state = b.leaf([B, s.HV, s.K, s.V], { packed: true, ...small(1) });
  const way = b.allows('out') ? random.pick(OUTS) : 'none';
  const names = Object.keys(tensors);
  const text = `${kind.name}.step(${describe(options, { ...tensors, state })}), out: ${way}`;
  const run = ([t, ...inputs]: fw.Tensor[]): fw.Tensor[] => {
    const given = Object.fromEntries(names.map((name, i) => [name, inputs[i]]));
    if (way === 'none') return [callStep(kind, given, { ...options, state: t })];
    const expected = callStep(kind, given, { ...options, state: t.clone() });
    const out = outFor(way, [B, s.HV, s.V], given.v, t);
    const result = callStep(kind, given, { ...options, state: t, out });
    if (result !== out) throw new Fault('the step did not return its out');
    checkSame('against a step without out', out, expected);
    return [out.clone()];
  };
  b.emit('step', text, [state, ...Object.values(tensors)], run, { inPlace: true });
}

function outFor(way: (typeof OUTS)[number], shape: number[], v: fw.Tensor, state: fw.Tensor): fw.Tensor {
  const [B, HV, V] = shape;
  const n = B * HV * V;
  const place = { dtype: v.dtype, device: v.device };
  switch (way) {
    case 'slice':
      return fw.zeros([B + 2, HV, V], place).slice(0, 1, B + 1);
    case 'columns':
      return fw.zeros([B, HV, V, 2], place).slice(-1, 1).squeeze(-1);
    case 'expanded':
      return fw.zeros([1, 1, 1], place).expand(shape);
    case 'v':
      return v.size === n ? v.reshape(shape) : fw.zeros(shape, place);
    case 'state':
      return state.size >= n ? state.reshape(state.size).slice(0, 0, n).reshape(shape) : fw.zeros(shape, place);
    case 'shared':
      return v.size >= n
        ? v
            .reshape(v.size)
            .slice(0, v.size - n)
            .reshape(shape)
        : fw.zeros(shape, place);
    default:
      return fw.zeros(shape, place);
  }
}
