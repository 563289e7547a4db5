// The states of a batch: rows of tensors that each step changes in place. Copies are made where a text joins and where it
// leaves, not between.
import { noGrad } from '../../autograd';
import { type Device, scope, Tensor } from '../../core';
import { zeros } from '../../ops';
import type { Memory, Seat } from '../memory';
import type { RecurrentModel } from '../model';
import { bytesOf, disposeState, ownState, shareState, type State } from '../state';
import { get, type Held, type Leaf, type Plan, planOf, set } from './plan';

/** What a leaf holds of all texts: a tensor with room for more, or lists. */
type Column = Tensor | State[];

/** A text's place: the row of the tensors, and the element of the lists, of its index. */
export class Slot implements Seat {
  /** Ticks that it had. */
  ticks = 0;
  /** Whether someone holds the memory of what lies in rows. */
  shared = false;
  /** Whether the text is gone and a step, which ends with it, not yet over. */
  abandoned = false;

  constructor(
    private readonly slots: Slots,
    readonly memory: Memory,
    public index: number,
    /** Of equal priority lower ones come first. */
    public turn: number,
    /** The objects of the text's own state, which it gets back when it leaves; its tensors are in the columns. */
    readonly own: Held,
  ) {}

  get bytes(): number {
    return this.slots.bytesOf(this);
  }

  get device(): Device {
    return this.slots.device;
  }

  copy(): State {
    return this.slots.copy(this);
  }

  leave(): State {
    return this.slots.leave(this);
  }

  abandon(): void {
    this.slots.abandon(this);
  }
}

export class Slots {
  private plan: Plan;
  private where: Device;
  private columns: Column[];
  private readonly slots: Slot[] = [];
  private readonly byMemory = new WeakMap<Memory, Slot>();
  /** Of all texts, in the memory of the columns; null where it is to be made anew. */
  private view: Held | null = null;
  private stepping = false;
  /** Rows that the tensors have room for. */
  private capacity = 0;
  /** How often a text's state was copied in, and out. */
  copies = 0;

  constructor(
    private readonly model: RecurrentModel,
    /** Called when the tensors are gone. */
    private readonly emptied: () => void,
  ) {
    this.plan = planOf(model);
    this.where = model.device;
    this.columns = this.plan.leaves.map(() => []);
  }

  get count(): number {
    return this.slots.length;
  }

  get device(): Device {
    return this.where;
  }

  /** In the order of the batch; leaving changes it. */
  get all(): readonly Slot[] {
    return this.slots;
  }

  of(memory: Memory): Slot | undefined {
    return this.byMemory.get(memory);
  }

  /** Takes over the state of a memory. */
  join(memory: Memory, state: State, turn: number): Slot {
    this.settle();
    if (this.count === 0) this.follow();
    this.reserve(this.count + 1);
    const own: Held = { root: state };
    const { count } = this;
    try {
      this.take(own);
    } catch (error) {
      for (const column of this.columns) if (!(column instanceof Tensor)) column.length = count;
      throw error;
    }
    const slot = new Slot(this, memory, count, turn, own);
    this.slots.push(slot);
    this.byMemory.set(memory, slot);
    this.copies++;
    return slot;
  }

  /** Copies a state into the row behind the last one. */
  private take(own: Held): void {
    const { count } = this;
    this.eachLeaf((leaf, column) => {
      const part = get(own, leaf.path);
      if (column instanceof Tensor) {
        row(leaf, column, count).copy_(part as Tensor);
        (part as Tensor).dispose();
      } else if (leaf.kind === 'number') column.push(leaf.listed ? (part as State[])[0] : part);
      else column.push(ownState(part));
    });
  }

  /** The model may have been moved to another device. */
  private follow(): void {
    if (this.where === this.model.device) return;
    this.clear();
    this.plan = planOf(this.model);
    this.where = this.model.device;
  }

  leave(slot: Slot): State {
    this.settle();
    this.eachLeaf((leaf, column) => {
      if (column instanceof Tensor) set(slot.own, leaf.path, row(leaf, column, slot.index).clone().persist());
      else if (leaf.kind === 'number') set(slot.own, leaf.path, numberOf(leaf, column, slot.index));
      else set(slot.own, leaf.path, column[slot.index]);
    });
    this.remove(slot);
    this.copies++;
    return slot.own.root;
  }

  copy(slot: Slot): State {
    const copy: Held = { root: skeleton(slot.own.root) };
    this.settle();
    this.eachLeaf((leaf, column) => {
      if (column instanceof Tensor) set(copy, leaf.path, row(leaf, column, slot.index).clone().persist());
      else if (leaf.kind === 'number') set(copy, leaf.path, numberOf(leaf, column, slot.index));
      else set(copy, leaf.path, shareState(column[slot.index]));
    });
    slot.shared = true;
    return copy.root;
  }

  abandon(slot: Slot): void {
    if (this.stepping) {
      slot.abandoned = true;
      return;
    }
    this.settle();
    this.eachLeaf((_, column) => {
      if (!(column instanceof Tensor)) disposeState(column[slot.index]);
    });
    this.remove(slot);
  }

  bytesOf(slot: Slot): number {
    return this.columns.reduce((sum, column) => {
      const bytes = column instanceof Tensor ? bytesOf(column) / this.capacity : bytesOf(column[slot.index]);
      return sum + bytes;
    }, 0);
  }

  /** Runs a step of all texts on their state; `untouched` says whether nothing but the last step has changed it. */
  async step<T>(run: (state: State, untouched: boolean) => Promise<T>): Promise<T> {
    const untouched = this.view !== null && !this.slots.some(({ shared }) => shared);
    this.view ??= this.makeView();
    for (const slot of this.slots) {
      if (slot.shared) this.ownRows(slot);
    }
    this.stepping = true;
    try {
      return await run(this.view.root, untouched);
    } finally {
      this.stepping = false;
      for (const slot of this.slots.filter(({ abandoned }) => abandoned)) this.abandon(slot);
    }
  }

  /** Gives memory back that fewer texts do not need. */
  fit(): void {
    if (4 * this.count > this.capacity) return;
    this.settle();
    this.resize(this.capacity >> 1);
  }

  private ownRows(slot: Slot): void {
    this.plan.leaves.forEach(({ kind }, i) => {
      const column = this.columns[i];
      if (kind === 'rows' && !(column instanceof Tensor)) column[slot.index] = ownState(column[slot.index]);
    });
    slot.shared = false;
  }

  private remove(slot: Slot): void {
    this.byMemory.delete(slot.memory);
    const last = this.slots.pop()!;
    if (last !== slot) {
      this.eachLeaf((leaf, column) => {
        if (column instanceof Tensor) row(leaf, column, slot.index).copy_(row(leaf, column, last.index));
        else column[slot.index] = column[last.index];
      });
      last.index = slot.index;
      this.slots[slot.index] = last;
    }
    for (const column of this.columns) if (!(column instanceof Tensor)) column.pop();
    // What one text leaves is there for the next one that comes alone, and calls that were recorded on it hold.
    if (this.count === 0 && this.capacity > 1) this.clear();
  }

  /** Gives all memory back, where no text is left. */
  clear(): void {
    this.resize(0);
    this.emptied();
  }

  /** Before the texts change: what steps have put in place of lists, and no view any more. */
  private settle(): void {
    const { view } = this;
    if (!view) return;
    this.view = null;
    this.plan.leaves.forEach(({ kind, path }, i) => {
      const part = get(view, path);
      if (kind === 'number') this.columns[i] = part as State[];
      else if (part instanceof Tensor) part.dispose();
    });
  }

  private makeView(): Held {
    const { count, capacity } = this;
    const parts = noGrad(() =>
      this.plan.leaves.map((leaf, i) => {
        const column = this.columns[i];
        if (!(column instanceof Tensor) || leaf.kind !== 'tensor') return column;
        return (count < capacity ? column.slice(leaf.dimension, 0, count) : column.detach()).persist();
      }),
    );
    return { root: this.plan.build(parts, count) };
  }

  private reserve(count: number): void {
    if (count > this.capacity) this.resize(Math.max(1, 2 * this.capacity));
  }

  private resize(capacity: number): void {
    if (capacity === this.capacity) return;
    this.columns = this.plan.leaves.map((leaf, i) => {
      const column = this.columns[i];
      if (leaf.kind !== 'tensor') return column;
      const resized = capacity > 0 ? this.withRoom(leaf, column, capacity) : [];
      if (column instanceof Tensor) column.dispose();
      return resized;
    });
    this.capacity = capacity;
  }

  /** A tensor with room for so many texts, which holds those of a column. */
  private withRoom({ dimension, like }: Leaf & { kind: 'tensor' }, column: Column, capacity: number): Tensor {
    const { shape, dtype, device } = like;
    const sizes = shape.map((d, at) => (at === dimension ? capacity : d));
    return noGrad(() =>
      scope(() => {
        const t = zeros(sizes, { dtype, device }).persist();
        const used = (of: Tensor): Tensor => of.slice(dimension, 0, this.count);
        if (column instanceof Tensor) used(t).copy_(used(column));
        return t;
      }),
    );
  }

  private eachLeaf(use: (leaf: Leaf, column: Column) => void): void {
    noGrad(() => scope(() => this.plan.leaves.forEach((leaf, i) => use(leaf, this.columns[i]))));
  }
}

function row(leaf: Leaf, column: Tensor, index: number): Tensor {
  return column.slice(leaf.kind === 'tensor' ? leaf.dimension : 0, index, index + 1);
}

function numberOf(leaf: Leaf & { kind: 'number' }, column: State[], index: number): State {
  return leaf.listed ? [column[index]] : column[index];
}

/** The objects and lists of a state, in which tensors are to be replaced. */
function skeleton(state: State): State {
  if (state === null || typeof state !== 'object' || state instanceof Tensor) return state;
  if (Array.isArray(state)) return state.map(skeleton);
  return Object.fromEntries(Object.entries(state).map(([name, part]) => [name, skeleton(part)]));
}
