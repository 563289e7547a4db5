// Makes programs: every step runs on the reference at once, so that the next one can be chosen by what is there.
import * as fw from '../../lib';
import type { Target } from '../support/golden';
import { allFinite, Machine, type Program, type Step } from './program';
import { Random } from './random';

export const REFERENCE: Target = { device: 'js', dtype: 'float64' };

/** Beyond these a product or a square of numbers leaves the range of float32. */
const EXTREMES = [1e-18, 1e18];
const SPECIALS = [Infinity, -Infinity, NaN, -0, 0];
const HUGE = [3e38, -1e30, 1e-38, 1e-42, -1e-45, 1e20];
/** Chunks of tokens multiply what they mask: infinities and NaN may become more NaN in the same call. */
export const spreads = ({ kind }: Step): boolean => kind === 'rule' || kind === 'step';
/** Steps after which only what keeps or shrinks its input is wanted. */
const LARGE = 50;

export interface LeafOptions {
  integer?: boolean;
  /** Of each element; normal by default. */
  draw?: (random: Random) => number;
  /** Never infinity or NaN, whatever the program has. */
  plain?: boolean;
  /** No element stands for several positions. */
  distinct?: boolean;
  /** Requires no gradient. */
  constant?: boolean;
  /** Contiguous, in memory of its own. */
  packed?: boolean;
}

interface Layout {
  base: number[];
  text: string;
  view(t: fw.Tensor): fw.Tensor;
}

export type StepOptions = Partial<Pick<Step, 'inPlace' | 'refused'>>;

export class Builder {
  readonly random: Random;
  readonly steps: Step[] = [];
  readonly extreme = new Set<number>();
  readonly spread = new Set<number>();
  readonly recorded: boolean;
  readonly checks: boolean;
  readonly waits: boolean;
  readonly machine: Machine;
  private readonly specials: boolean;
  private readonly huge: boolean;
  private readonly empties: boolean;
  /** Has tensors that threads share, and whose kernels wait in the queue. */
  private readonly large: boolean;
  private count = 0;

  /** `allows` says which kinds of steps and values are wanted. */
  constructor(
    readonly seed: number,
    readonly number: number,
    readonly allows: (kind: string) => boolean,
  ) {
    this.random = new Random(seed, number);
    const { random } = this;
    this.recorded = random.chance(0.5) && allows('gradient');
    this.checks = random.chance(0.3);
    fw.setChecks(this.checks && 'values');
    this.waits = random.chance(0.3);
    this.specials = random.chance(0.2) && allows('special');
    this.huge = random.chance(0.05) && allows('huge');
    this.empties = random.chance(0.15) && allows('empty');
    this.large = random.chance(0.02) && allows('large');
    this.machine = new Machine(REFERENCE, this.recorded);
  }

  /** A size: small, often beside the widths of vectors and tiles; in some programs 0. */
  size(most = 33): number {
    if (this.empties && this.random.chance(0.15)) return 0;
    if (this.large && this.random.chance(0.1))
      return this.random.pick([130, 257, 513, 1000].map((n) => Math.min(n, 8 * most)));
    const sizes = [1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100].filter((n) => n <= most);
    return this.random.pick(sizes);
  }

  /** A number of tokens. */
  tokens(): number {
    if (this.empties && this.random.chance(0.2)) return 0;
    if (this.large) return this.random.pick([130, 200]);
    return this.random.pick([1, 1, 2, 3, 5, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100]);
  }

  shape(low: number, high: number, most = 3000): number[] {
    const elements = this.large ? 20 * most : most;
    const shape = Array.from({ length: this.random.int(low, high) }, () => this.size());
    while (shape.reduce((a, b) => a * b, 1) > elements) {
      const i = shape.indexOf(Math.max(...shape));
      shape[i] = Math.ceil(shape[i] / 3);
    }
    return shape;
  }

  /** Adds a step; the numbers of its outputs, none when it was refused. */
  emit(kind: string, text: string, inputs: number[], run: Step['run'], options: StepOptions = {}): number[] {
    const step: Step = { kind, text, inputs, outputs: [], run, ...options };
    const place = this.steps.push(step) - 1;
    const before = this.machine.pool.size;
    this.machine.run(step, place);
    // The machine has put them under numbers that nobody had; they get their own now.
    const made = [...this.machine.pool.entries()].slice(before);
    for (const [surplus, t] of made) {
      this.machine.pool.delete(surplus);
      this.machine.pool.set(this.count, t);
      step.outputs.push(this.count++);
    }
    this.mark(step);
    return step.outputs;
  }

  /** One output, or undefined where the step was refused. */
  one(...args: Parameters<Builder['emit']>): number | undefined {
    return this.emit(...args)[0];
  }

  private mark(step: Step): void {
    // A step may write to what it was given as its out.
    const changed = step.kind === 'step' ? step.inputs : step.inputs.slice(0, 1);
    const touched = step.inPlace ? [...step.outputs, ...changed.flatMap((id) => this.sharing(id))] : step.outputs;
    const inherited = step.inputs.some((id) => this.extreme.has(id) || this.spread.has(id));
    const spread = spreads(step) && step.inputs.some((id) => !allFinite(this.data(id)));
    for (const id of touched) {
      if (inherited || isExtreme(this.data(id))) this.extreme.add(id);
      else if (spread) this.spread.add(id);
    }
  }

  private sharing(id: number): number[] {
    const { storage } = this.tensor(id);
    return [...this.machine.pool.keys()].filter((other) => this.tensor(other).storage === storage);
  }

  tensor(id: number): fw.Tensor {
    return this.machine.pool.get(id)!;
  }

  /** What a tensor holds on the reference. */
  data(id: number): ArrayLike<number> {
    const t = this.tensor(id);
    return t.isDisposed ? [] : t.dataSync();
  }

  /** A new tensor: random numbers in a random layout. */
  leaf(shape: number[], options: LeafOptions = {}): number {
    const { random } = this;
    const { integer = false, draw = (r: Random) => r.normal() } = options;
    const layout = options.packed ? plainLayout(shape) : this.layout(shape, options.distinct ?? false);
    const values = Array.from({ length: layout.base.reduce((a, b) => a * b, 1) }, () => {
      if (!integer && !options.plain) {
        if (this.specials && random.chance(0.05)) return random.pick(SPECIALS);
        if (this.huge && random.chance(0.1)) return random.pick(HUGE);
      }
      return integer ? draw(random) : Math.fround(draw(random));
    });
    const requiresGrad = this.recorded && !integer && !options.constant && random.chance(0.8);
    const dtype = integer ? 'int32' : 'float';
    const text = `${dtype} [${layout.base.join(', ')}]${requiresGrad ? ', requires a gradient' : ''}${layout.text}`;
    return this.emit('leaf', text, [], (_, cx) => {
      const t = fw.tensor(values, {
        shape: layout.base,
        device: cx.device,
        dtype: integer ? 'int32' : cx.dtype,
        requiresGrad,
      });
      return [layout.view(requiresGrad ? cx.leaf(t) : t)];
    })[0];
  }

  private layout(shape: number[], distinct: boolean): Layout {
    const { random } = this;
    const kinds = ['plain', 'plain', 'plain', 'offset', 'columns', 'slice', 'permuted', 'expanded'];
    const kind = random.pick(shape.length === 0 ? kinds.slice(0, 5) : kinds);
    const n = shape.reduce((a, b) => a * b, 1);
    const dim = random.int(0, Math.max(0, shape.length - 1));
    const [before, after] = [random.int(0, 3), random.int(0, 3)];
    if (kind === 'offset') {
      const text = `.slice(0, ${before}, ${before + n}).reshape(${shape.join(', ')})`;
      return { base: [before + n], text, view: (t) => t.slice(0, before, before + n).reshape(shape) };
    }
    if (kind === 'columns') {
      return { base: [...shape, 2], text: '.slice(-1, 1).squeeze(-1)', view: (t) => t.slice(-1, 1).squeeze(-1) };
    }
    if (kind === 'slice') {
      const base = shape.map((d, i) => (i === dim ? before + d + after : d));
      const end = before + shape[dim];
      return { base, text: `.slice(${dim}, ${before}, ${end})`, view: (t) => t.slice(dim, before, end) };
    }
    if (kind === 'permuted') {
      const order = random.shuffled([...shape.keys()]);
      const base = shape.map((_, i) => shape[order.indexOf(i)]);
      return { base, text: `.permute(${order.join(', ')})`, view: (t) => t.permute(order) };
    }
    if (kind === 'expanded' && !distinct) {
      const base = shape.map((d, i) => (i === dim ? 1 : d));
      return { base, text: `.expand(${shape.join(', ')})`, view: (t) => t.expand(shape) };
    }
    return plainLayout(shape);
  }

  /** Numbers of live tensors that a test holds for, the newest last. */
  ids(test: (t: fw.Tensor) => boolean): number[] {
    return [...this.machine.pool].filter(([, t]) => !t.isDisposed && test(t)).map(([id]) => id);
  }

  /** A floating-point tensor whose shape fits, from the pool or new; nothing in it is larger than `most`. */
  float(fits: (shape: readonly number[]) => boolean = () => true, most = LARGE): number {
    const found = this.ids((t) => t.dtype === REFERENCE.dtype && fits(t.shape));
    if (found.length > 0 && this.random.chance(0.8)) {
      const id = this.random.pick(found);
      if (this.magnitude(id) <= most) return id;
    }
    let shape: number[];
    do shape = this.shape(0, 4);
    while (!fits(shape));
    return this.leaf(shape);
  }

  /** The largest finite element. */
  magnitude(id: number): number {
    let most = 0;
    const data = this.data(id);
    for (let i = 0; i < data.length; i++) if (Number.isFinite(data[i])) most = Math.max(most, Math.abs(data[i]));
    return most;
  }

  /** A tensor of this shape: cut from one in the pool, or new. */
  operand(shape: number[], options: LeafOptions = {}): number {
    const n = shape.reduce((a, b) => a * b, 1);
    if (options.draw || options.integer || options.packed || !this.random.chance(0.3)) return this.leaf(shape, options);
    const found = this.ids((t) => t.dtype === REFERENCE.dtype && t.size >= n).filter((id) => this.magnitude(id) < 8);
    if (found.length === 0) return this.leaf(shape, options);
    const id = this.random.pick(found);
    const start = this.random.int(0, this.tensor(id).size - n);
    const text = `t${id}.reshape(-1).slice(0, ${start}, ${start + n}).reshape(${shape.join(', ')})`;
    const cut = this.one('view', text, [id], ([x]) => [
      x
        .reshape(x.size)
        .slice(0, start, start + n)
        .reshape(shape),
    ]);
    return cut ?? this.leaf(shape, options);
  }

  /** Offsets of packed sequences of T tokens, empty ones among them, or null. */
  packing(T: number, p = 0.3): number[] | null {
    if (!this.random.chance(p)) return null;
    const inner = Array.from({ length: this.random.int(0, 4) }, () => this.random.int(0, T));
    return [0, ...inner, T].sort((a, b) => a - b);
  }

  /** The program so far. */
  program(): Program {
    const roots = this.ids((t) => t.dtype === REFERENCE.dtype && t.requiresGrad).slice(-3);
    const { seed, number, recorded, checks, waits, steps, extreme, spread } = this;
    return { seed, number, recorded, checks, waits, steps, roots, extreme, spread };
  }
}

function plainLayout(shape: number[]): Layout {
  return { base: shape, text: '', view: (t) => t };
}

function isExtreme(data: ArrayLike<number>): boolean {
  for (let i = 0; i < data.length; i++) {
    const x = Math.abs(data[i]);
    if (x !== 0 && Number.isFinite(x) && (x < EXTREMES[0] || x > EXTREMES[1])) return true;
  }
  return false;
}
