// Prompts as paths of blocks of tokens, with the states that were kept along them.
import type { Memory } from '../memory';

/** One block of a prompt behind others; the state after it, where it is kept. */
export class Block {
  private readonly children = new Map<number, Block[]>();
  memory: Memory | null = null;
  /** Of the state. */
  bytes = 0;
  /** How often the state was gone on from. */
  uses = 0;
  /** States of the least one go first. */
  value = 0;

  constructor(
    /** The block before it; null at the beginning of texts. */
    readonly before: Block | null,
    readonly ids: Int32Array,
    /** Tokens up to its end. */
    readonly tokens: number,
  ) {}

  /** The block behind this one with these ids, all of which are compared. */
  find(ids: Int32Array): Block | undefined {
    return this.children.get(hash(ids))?.find((block) => block.ids.every((id, i) => id === ids[i]));
  }

  /** The same; made where there is none. */
  reach(ids: Int32Array): Block {
    const found = this.find(ids);
    if (found) return found;
    const block = new Block(this, ids.slice(), this.tokens + ids.length);
    const key = hash(ids);
    this.children.set(key, [...(this.children.get(key) ?? []), block]);
    return block;
  }

  /** Whether it is still where `reach` finds it. */
  get alive(): boolean {
    return isAlive(this);
  }

  /** Forgets it, and those before it, where neither a state nor another block hangs on it. */
  prune(): void {
    prune(this);
  }

  /** Takes a block out from behind this one. */
  forget(block: Block): void {
    const key = hash(block.ids);
    const left = (this.children.get(key) ?? []).filter((each) => each !== block);
    if (left.length > 0) this.children.set(key, left);
    else this.children.delete(key);
  }

  /** Whether nothing hangs on it. */
  get empty(): boolean {
    return this.children.size === 0;
  }

  /** How many tokens need not be read where this state is there, beside those of the states before it. */
  get gain(): number {
    let before = this.before;
    while (before?.before && !before.memory) before = before.before;
    return this.tokens - (before?.tokens ?? 0);
  }
}

// Loops, since a path has as many blocks as a long prompt.

function isAlive(block: Block): boolean {
  for (; block.before !== null; block = block.before) if (block.before.find(block.ids) !== block) return false;
  return true;
}

function prune(block: Block): void {
  for (; block.before && !block.memory && block.empty; block = block.before) block.before.forget(block);
}

/** FNV-1a over the ids. */
function hash(ids: Int32Array): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < ids.length; i++) h = Math.imul(h ^ ids[i], 0x01000193);
  return h;
}
