// The experts of a mixture: one module each, or all in two weights, as published files have either.
import { checkInteger, checkNumber, checkObject } from '../../core';
import { gradEnabled } from '../../autograd';
import type { Shape, Tensor } from '../../core';
import { Module, newWeight, parameter, SwiGLU } from '../../nn';
import { feedForward, randn, split, type TensorOptions } from '../../ops';

/** Rows that go to one expert. */
export interface ExpertRows {
  /** Its number. */
  expert: number;
  /** [n, hiddenSize] */
  rows: Tensor;
}

/** Gated feed-forwards of one size, of which rows take part in some. */
export abstract class Experts extends Module {
  /** The results of each in the order given, which is that of the experts. */
  abstract run(parts: readonly ExpertRows[]): Tensor[];
}

/** What the three projections of an expert are called among the weights. */
export interface ExpertNames {
  gate_proj: string;
  up_proj: string;
  down_proj: string;
}

class NamedExpert extends SwiGLU {
  constructor(
    dim: number,
    hidden: number,
    private readonly names: ExpertNames,
    options: TensorOptions,
  ) {
    super(dim, hidden, options);
  }

  protected override *memberProperties(): Generator<[string, unknown]> {
    for (const [key, value] of super.memberProperties()) yield [this.names[key as keyof ExpertNames] ?? key, value];
  }
}

const NAMES: ExpertNames = { gate_proj: 'gate_proj', up_proj: 'up_proj', down_proj: 'down_proj' };

/** A `SwiGLU` for each expert, `experts.0.gate_proj.weight` and so on. */
export class SeparateExperts extends Experts {
  private readonly list: readonly SwiGLU[];

  constructor(count: number, dim: number, hidden: number, options: TensorOptions = {}, names: ExpertNames = NAMES) {
    super();
    checkInteger('SeparateExperts', 'count', count, 1);
    this.list = Array.from({ length: count }, () => new NamedExpert(dim, hidden, names, options));
  }

  /** The number of an expert is its name, without that of the list. */
  protected override memberProperties(): Iterable<[string, unknown]> {
    return this.list.map((expert, i) => [String(i), expert]);
  }

  run(parts: readonly ExpertRows[]): Tensor[] {
    return parts.map(({ expert, rows }) => this.list[expert].forward(rows));
  }
}

/** All experts in two weights, without modules of their own: adapters find nothing here. */
export class StackedExperts extends Experts {
  /** [count, 2 * hidden, dim], of each expert the gate and then what it multiplies. */
  gate_up_proj: Tensor;
  /** [count, dim, hidden] */
  down_proj: Tensor;

  constructor(
    /** How many there are. */
    readonly count: number,
    dim: number,
    /** Width of each. */
    readonly hidden: number,
    /** `std` is the deviation of new weights. */
    settings: TensorOptions & { std: number },
  ) {
    super();
    const where = 'StackedExperts';
    for (const [key, size] of Object.entries({ count, dim, hidden })) checkInteger(where, key, size, 1);
    checkObject(where, 'settings', settings);
    const { std, ...options } = settings;
    checkNumber(where, 'std', std, 0);
    const weight = (shape: Shape): Tensor =>
      parameter(newWeight(shape, options, () => randn(shape, { ...options, std })));
    this.gate_up_proj = weight([count, 2 * hidden, dim]);
    this.down_proj = weight([count, dim, hidden]);
  }

  run(parts: readonly ExpertRows[]): Tensor[] {
    const taking = parts.map(({ expert }) => expert);
    const halves = pieces(
      this.gate_up_proj.reshape(2 * this.count, this.hidden, -1),
      taking.flatMap((expert) => [2 * expert, 2 * expert + 1]),
    );
    const downs = pieces(this.down_proj, taking);
    return parts.map(({ rows }, i) =>
      feedForward(rows, { gate: halves[2 * i], up: halves[2 * i + 1], down: downs[i] }),
    );
  }
}

/** The matrices x[i] of the ascending indices, as views with one backward pass between them. */
function pieces(x: Tensor, indices: readonly number[]): Tensor[] {
  if (!gradEnabled()) return indices.map((i) => x.slice(0, i, i + 1).squeeze(0));
  const bounds = [...new Set([0, ...indices.flatMap((i) => [i, i + 1]), x.shape[0]])];
  const parts = split(
    x,
    bounds.slice(1).map((end, i) => end - bounds[i]),
  );
  return indices.map((i) => parts[bounds.indexOf(i)].squeeze(0));
}
