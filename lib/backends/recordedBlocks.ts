// Blocks of memory that recordings of calls keep or use.
import type { Handle } from '../core';

/** The blocks of a device that recordings keep, and whether whoever had them has freed them. */
export class KeptBlocks {
  private readonly freed = new Map<number, boolean>();

  /** Whether a block that is being freed stays. */
  stays(id: Handle): boolean {
    if (this.freed.size === 0 || !this.freed.has(id as number)) return false;
    this.freed.set(id as number, true);
    return true;
  }

  /** Whether a block that is kept is free for the recording's own use. */
  isSpare(id: number): boolean {
    return this.freed.get(id) ?? false;
  }

  /** Keeps blocks until what comes back is called, which frees those that nobody else has. */
  keep(blocks: readonly number[], free: ReadonlySet<number>, release: (id: number) => void): () => void {
    for (const id of blocks) this.freed.set(id, free.has(id));
    return () => {
      for (const id of blocks) {
        const unused = this.freed.get(id);
        this.freed.delete(id);
        if (unused) release(id);
      }
    };
  }
}

/** The blocks of a device that recordings use: so long as none is freed, nobody has to look for theirs. */
export class WatchedBlocks {
  /** By how many recordings. */
  private readonly users = new Map<Handle, number>();
  /** How many were freed. */
  freed = 0;

  free(handle: Handle): void {
    if (this.users.size > 0 && this.users.has(handle)) this.freed++;
  }

  /** Watches blocks until what comes back is called. */
  watch(handles: readonly Handle[]): () => void {
    const { users } = this;
    for (const handle of handles) users.set(handle, (users.get(handle) ?? 0) + 1);
    return () => {
      for (const handle of handles) {
        const others = users.get(handle)! - 1;
        if (others > 0) users.set(handle, others);
        else users.delete(handle);
      }
    };
  }
}
