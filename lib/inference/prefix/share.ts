// What one owner has in a cache of prompts' beginnings: the texts, the states along them, and which of these go first.
import type { Memory } from '../memory';
import { Block } from './tree';

export class Share {
  /** The beginnings of texts, apart from each other by what they were read with. */
  private readonly roots = new Map<string, Block>();
  private readonly kept = new Set<Block>();
  /** Of the states. */
  bytes = 0;
  /** What a state was worth that went for room. */
  private inflation = 0;

  /** Where texts begin that are read with this. */
  root(by: string): Block {
    const root = this.roots.get(by) ?? new Block(null, new Int32Array(), 0);
    this.roots.set(by, root);
    return root;
  }

  get states(): number {
    return this.kept.size;
  }

  /** Whether there is nothing of the owner's. */
  get empty(): boolean {
    return this.roots.size === 0;
  }

  /** Puts a state behind a block that has none. */
  add(block: Block, memory: Memory, bytes: number): void {
    Object.assign(block, { memory, bytes, uses: 0 });
    this.rate(block);
    this.kept.add(block);
    this.bytes += bytes;
  }

  /** Counts that a state was gone on from. */
  use(block: Block): void {
    block.uses++;
    this.rate(block);
  }

  private rate(block: Block): void {
    block.value = this.inflation + ((1 + block.uses) * block.gain) / block.bytes;
  }

  /** Frees the state that is worth least, beside one that has just come where there are others. */
  drop(but: Block): void {
    let least: Block | null = null;
    for (const block of this.kept) if (block !== but && (!least || block.value < least.value)) least = block;
    const block = least ?? but;
    this.inflation = Math.max(this.inflation, block.value);
    block.memory!.dispose();
    block.memory = null;
    this.bytes -= block.bytes;
    this.kept.delete(block);
    block.prune();
    this.prune();
  }

  /** Forgets beginnings that nothing hangs on. */
  prune(): void {
    for (const [by, root] of this.roots) if (root.empty) this.roots.delete(by);
  }

  dispose(): void {
    for (const block of this.kept) block.memory!.dispose();
  }
}
