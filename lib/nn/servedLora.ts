// Adapters of requests: a model serves several at once, and each text of a batch goes through its own, or none.
import { FastWeightsError, scope, type Tensor } from '../core';
import { cat, indexSelect, linear, tensor, zeros } from '../ops';
import type { LinearAdapter } from './layers';
import { Module } from './module';

/** What an adapter adds to a layer: scale B A x. */
export interface ServedLayer {
  /** [rank, in] */
  readonly A: Tensor;
  /** [out, rank] */
  readonly B: Tensor;
  readonly scale: number;
}

/** @internal One adapter: what it adds to layers, by their paths. */
export class ServedLora {
  constructor(
    /** The same for the same numbers. */
    readonly identity: string,
    /** By path. */
    readonly layers: ReadonlyMap<string, ServedLayer>,
  ) {}

  /** Frees the matrices. */
  dispose(): void {
    for (const { A, B } of this.layers.values()) for (const t of [A, B]) t.dispose();
  }
}

/** The adapters of the texts of a batch, in its order. */
export class AdapterRows {
  /** Texts of one adapter are computed together; the rows of each, and where a row comes to lie when they stand in this order. */
  private readonly groups = new Map<ServedLora | null, number[]>();
  private readonly made: Tensor[] = [];

  constructor(private readonly rows: readonly (ServedLora | null)[]) {
    rows.forEach((lora, i) => this.groups.set(lora, [...(this.groups.get(lora) ?? []), i]));
  }

  /** Those of a single text. */
  row(i: number): AdapterRows {
    return new AdapterRows([this.rows[i]]);
  }

  /** What is added to the result of a layer, x [texts, ..., in] to [texts, ..., out]; null where nothing is. */
  add(path: string, x: Tensor): Tensor | null {
    const groups = [...this.groups.keys()];
    const layers = groups.map((lora) => lora?.layers.get(path));
    const some = layers.find((layer) => layer);
    if (!some) return null;
    if (groups.length === 1) return product(x, some);
    if (x.shape[0] !== this.rows.length) {
      const message = `${path}: it sees ${x.shape[0]} rows of a batch of ${this.rows.length} texts, which may not be those of the texts`;
      throw new FastWeightsError('UNSUPPORTED', message, { argument: 'adapter' });
    }
    const out = some.B.shape[0];
    const [order, ...indices] = this.indices(x);
    return scope(() => {
      const parts = layers.map((layer, i) => {
        if (layer) return product(indexSelect(x, 0, indices[i]), layer);
        const shape = [indices[i].size, ...x.shape.slice(1, -1), out];
        return zeros(shape, { dtype: x.dtype, device: x.device });
      });
      return indexSelect(cat(parts), 0, order);
    });
  }

  /** The place of each row among those of the groups, then the rows of each group. */
  private indices({ device }: Tensor): readonly Tensor[] {
    if (this.made.length === 0) {
      const lists = [...this.groups.values()];
      const order = new Int32Array(this.rows.length);
      lists.flat().forEach((row, place) => (order[row] = place));
      for (const list of [order, ...lists]) this.made.push(tensor(list, { dtype: 'int32', device }).persist());
    }
    return this.made;
  }

  dispose(): void {
    for (const t of this.made.splice(0)) t.dispose();
  }
}

/** Each row by itself, in the order that `LoraAdapter` has. */
function product(x: Tensor, { A, B, scale }: ServedLayer): Tensor {
  return scope(() => linear(linear(x, A), B).mul(scale));
}

/** Of what is computed now, synchronously. */
let current: AdapterRows | null = null;

/** Runs work on these texts, or with null on texts without adapters. */
function withRows<T>(rows: AdapterRows | null, run: () => T): T {
  const before = current;
  current = rows;
  try {
    return run();
  } finally {
    current = before;
  }
}

/** @internal Runs work on the i-th of the texts alone. */
export function ofRow<T>(i: number, run: () => T): T {
  return withRows(current?.row(i) ?? null, run);
}

/** @internal Runs work that may rest between its stages on texts with these adapters. */
export function* underAdapters<S, R>(
  loras: readonly (ServedLora | null)[],
  stages: Generator<S, R, undefined>,
): Generator<S, R, undefined> {
  const rows = new AdapterRows(loras);
  try {
    for (;;) {
      const { done, value } = withRows(rows, () => stages.next());
      if (done) return value;
      yield value;
    }
  } finally {
    rows.dispose();
  }
}

/** @internal Stands in a layer of a model that serves adapters. */
export class AdapterSlot extends Module implements LinearAdapter {
  constructor(
    /** Of the layer in the model. */
    private readonly path: string,
  ) {
    super();
  }

  protected override get isAdapter(): boolean {
    return true;
  }

  /** Always: texts with and without an adapter take the same way, so that company changes no bit. */
  get active(): boolean {
    return true;
  }

  forward(x: Tensor): Tensor | null {
    return current?.add(this.path, x) ?? null;
  }
}
