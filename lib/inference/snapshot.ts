// Copies of a session's state: in memory, and in files for another process.
import { noGrad } from '../autograd';
import { argumentError, checkChoice, checkOptions, describe, FastWeightsError, type OptionNames, scope } from '../core';
import { decodeSafetensors, encodeSafetensors, type NamedTensors, readSafetensors, saveSafetensors } from '../io';
import type { Memory } from './memory';
import { checkModel, type RecurrentModel } from './model';
import { loadMemory, saveMemory, type SnapshotOptions } from './snapshotFile';
import { checkStateLike, type State } from './state';

const OPTIONS: OptionNames<SnapshotOptions> = { dtype: true };

export function checkSnapshotOptions(where: string, options: SnapshotOptions): void {
  checkOptions(where, options, OPTIONS);
  if (options.dtype !== undefined) checkChoice(where, 'dtype', options.dtype, ['bfloat16']);
}

/** What snapshots of two models must have in common. */
function kindOf(model: RecurrentModel): unknown {
  return model.identity ?? model.constructor;
}

/**
 * A copy of a session's state; `dispose` frees it. It lies in the session's own memory until one of the two goes on, so
 * that taking one costs no copy.
 */
export class Snapshot {
  private readonly kind: unknown;
  /** @internal */
  readonly identity: string | undefined;

  /** @internal */
  constructor(
    of: RecurrentModel | Snapshot,
    /** Number of sequences. */
    readonly batch: number,
    private readonly memory: Memory,
  ) {
    this.kind = of instanceof Snapshot ? of.kind : kindOf(of);
    this.identity = of.identity;
  }

  /**
   * The copied tensors themselves, not another copy: `dispose` frees them, and what changes them changes the snapshot and
   * nothing else. The first look at them makes the copy that a snapshot puts off.
   */
  get state(): State {
    return this.memory.expose();
  }

  /**
   * Bytes of the state, of the logits after the last token, and of the ids that a history and a generation keep. Memory that sessions and
   * snapshots still share counts in each of them.
   */
  get bytes(): number {
    return this.memory.bytes;
  }

  /** Tokens so far, per sequence. */
  get length(): number {
    return this.memory.length;
  }

  /**
   * Writes the snapshot into a safetensors file, for models of the same family and configuration; nothing of the weights
   * is in it. With `dtype: 'bfloat16'` the state takes half the bytes, and later logits are no longer the same bits.
   */
  async save(path: string, options: SnapshotOptions = {}): Promise<void> {
    await this.write('Snapshot.save', options, (tensors, metadata) => saveSafetensors(path, tensors, metadata));
  }

  /** The bytes of the file that `save` would write. */
  async toBytes(options: SnapshotOptions = {}): Promise<Uint8Array> {
    return this.write('Snapshot.toBytes', options, encodeSafetensors);
  }

  /** Reads what `save` wrote, on the model's device; a file that is damaged or of another model is a FORMAT error. */
  static async load(path: string, model: RecurrentModel): Promise<Snapshot> {
    checkModel('Snapshot.load', model);
    const { batch, memory } = await loadMemory(path, await readSafetensors(path), model);
    return new Snapshot(model, batch, memory);
  }

  /** The same of what `toBytes` gave; the bytes must not change until the promise resolves. */
  static async fromBytes(bytes: Uint8Array, model: RecurrentModel): Promise<Snapshot> {
    const where = 'Snapshot.fromBytes';
    checkModel(where, model);
    if (!(bytes instanceof Uint8Array)) {
      throw argumentError('INVALID_ARGUMENT', where, 'bytes', 'a Uint8Array', describe(bytes));
    }
    const { batch, memory } = await loadMemory(where, await decodeSafetensors(bytes, where), model);
    return new Snapshot(model, batch, memory);
  }

  private async write<T>(
    where: string,
    options: SnapshotOptions,
    write: (tensors: NamedTensors, metadata: Record<string, string>) => Promise<T>,
  ): Promise<T> {
    checkSnapshotOptions(where, options);
    if (this.identity === undefined) {
      throw new FastWeightsError('UNSUPPORTED', `${where}: the model has no identity`, { argument: 'identity' });
    }
    const memory = this.memory.copy(where);
    try {
      return await saveMemory({ identity: this.identity, batch: this.batch, memory, dtype: options.dtype }, write);
    } finally {
      memory.dispose();
    }
  }

  /** @internal Another one of the same state. */
  copy(where: string): Snapshot {
    return new Snapshot(this, this.batch, this.memory.copy(where));
  }

  /** @internal Requires one of this model. */
  checkOf(where: string, model: RecurrentModel, argument = 'snapshot'): void {
    if (this.kind === kindOf(model)) return;
    const expected = "of the model's family and configuration";
    throw argumentError('INVALID_ARGUMENT', where, argument, expected, 'one of another model');
  }

  /** @internal A copy for a session of this model and batch, which refuses any other. */
  memoryFor(where: string, argument: string, model: RecurrentModel, batch: number): Memory {
    this.checkOf(where, model, argument);
    noGrad(() => scope(() => checkStateLike(where, argument, this.memory.state, model.initialState(batch))));
    return this.memory.copy(where);
  }

  /**
   * Frees the copied tensors; after it `restore` and `save` throw DISPOSED. Sessions restored from it keep theirs.
   */
  dispose(): void {
    this.memory.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
