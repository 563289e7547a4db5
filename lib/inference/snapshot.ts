// Copies of a session's state: in memory, and in files for another process.
import { noGrad } from '../autograd';
import {
  argumentError,
  checkChoice,
  checkOptions,
  checkString,
  describe,
  FastWeightsError,
  type OptionNames,
  scope,
} from '../core';
import {
  decodeSafetensors,
  encodeSafetensors,
  type NamedTensors,
  type SafetensorsFile,
  saveSafetensors,
  withSafetensors,
} from '../io';
import type { Memory } from './memory';
import { checkModel, type RecurrentModel } from './model';
import { loadMemory, LONGEST_NOTE, saveMemory, type SnapshotOptions } from './snapshotFile';
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
    private text: string = of instanceof Snapshot ? of.text : '',
  ) {
    this.kind = of instanceof Snapshot ? of.kind : kindOf(of);
    this.identity = of.identity;
  }

  /**
   * A text of the caller's, of at most 4096 characters, that goes with the snapshot into its copies, stores and files; '' until
   * it is set. A session that is restored knows nothing of it.
   */
  get note(): string {
    return this.text;
  }

  set note(note: string) {
    checkString('Snapshot', 'note', note);
    if (note.length > LONGEST_NOTE) {
      const expected = `at most ${LONGEST_NOTE} characters`;
      throw argumentError('INVALID_ARGUMENT', 'Snapshot', 'note', expected, `${note.length}`);
    }
    this.text = note;
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

  /**
   * Reads what `save` wrote, on the model's device; a file that is damaged or of another model is a FORMAT error. A state that came through
   * an adapter which the model has loaded belongs to `model.withAdapter(name)`.
   */
  static async load(path: string, model: RecurrentModel): Promise<Snapshot> {
    checkModel('Snapshot.load', model);
    return withSafetensors(path, (file) => Snapshot.of(path, file, model));
  }

  /** The same of what `toBytes` gave; the bytes must not change until the promise resolves. */
  static async fromBytes(bytes: Uint8Array, model: RecurrentModel): Promise<Snapshot> {
    const where = 'Snapshot.fromBytes';
    checkModel(where, model);
    if (!(bytes instanceof Uint8Array)) {
      throw argumentError('INVALID_ARGUMENT', where, 'bytes', 'a Uint8Array', describe(bytes));
    }
    return Snapshot.of(where, await decodeSafetensors(bytes, where), model);
  }

  /** The state may have come through an adapter of the model, to which it then belongs. */
  private static async of(path: string, file: SafetensorsFile, model: RecurrentModel): Promise<Snapshot> {
    const owner = model.identified?.(file.metadata.model ?? '') ?? model;
    const { batch, memory, note } = await loadMemory(path, file, owner);
    return new Snapshot(owner, batch, memory, note);
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
    const { identity, batch, text: note } = this;
    const memory = this.memory.copy(where);
    try {
      return await saveMemory({ identity, batch, memory, note, dtype: options.dtype }, write);
    } finally {
      memory.dispose();
    }
  }

  /** @internal Another one of the same state. */
  copy(where: string): Snapshot {
    return new Snapshot(this, this.batch, this.memory.copy(where));
  }

  /** @internal Requires one of this model, or of it with an adapter. */
  checkFamily(where: string, model: RecurrentModel): void {
    if (this.identity === undefined || !model.identified?.(this.identity)) this.checkOf(where, model);
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
